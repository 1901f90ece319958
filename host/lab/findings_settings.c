/* SPDX-License-Identifier: MIT
 *
 * findings_settings.c - how an earlier result file was made, beside its files: said, not refused,
 * since a direction found on one machine may be used on another. Contract: findings.h. Tests:
 * tests/test_run.c.
 */
#include "host/lab/findings.h"

#include "host/base/log.h"
#include "host/base/memstream.h"
#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/work/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "version.h"

/* What makes of a prompt what the model reads, and of an SAE's file features. */
static const char *const keys[] = {"model.template", "model.template_variables", "model.prefix",
	"model.suffix", "model.system", "model.prefill", "model.date", "model.bos",
	"model.rope_original_context", "sae.fold", NULL};

/* The attributes of the file that say how it was made; owned, NULL where it has none. */
struct made_with {
	const char *version, *commit, *arithmetic, *sae_dtype, *config;
};

static const char *read_one(struct results_reader *r, const char *name)
{
	struct err ignored;
	char *text = NULL;

	return results_read_attribute_text(r, "/", name, &text, &ignored) == 0 ? text : NULL;
}

static struct made_with read_made_with(struct results_reader *r)
{
	return (struct made_with){read_one(r, "engine_version"), read_one(r, "git_commit"),
		read_one(r, "arithmetic"), read_one(r, "sae_dtype"), read_one(r, "config")};
}

static void free_made_with(struct made_with *m)
{
	const char *const owned[] = {m->version, m->commit, m->arithmetic, m->sae_dtype, m->config};

	for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
		free((void *)owned[i]);
}

static bool is_key(const char *line, size_t n)
{
	for (const char *const *key = keys; *key; key++)
		if (strlen(*key) == n && memcmp(*key, line, n) == 0)
			return true;
	return false;
}

/* The lines of `keys`. */
static void print_settings(const struct config *c, FILE *to)
{
	char *text = NULL;
	size_t n = 0;
	FILE *memory = open_memstream(&text, &n);

	if (!memory)
		return;
	config_print_lines(c, memory);
	if (fclose(memory) == 0)
		for (char *line = text; *line; line += strcspn(line, "\n") + 1)
			if (is_key(line, strcspn(line, " \n")))
				fprintf(to, "%.*s\n", (int)strcspn(line, "\n"), line);
	free(text);
}

/* As lines "key = value"; of an older file's arithmetic nothing is known. NULL when out of memory.
 */
static char *lines_of(const struct made_with *m, const struct config *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	if (!to)
		return NULL;
	fprintf(to, "engine = %s (%s)\n", m->version, m->commit);
	if (m->arithmetic)
		fprintf(to, "arithmetic = %s\n", m->arithmetic);
	if (m->sae_dtype && *m->sae_dtype)
		fprintf(to, "sae_dtype = %s\n", m->sae_dtype);
	print_settings(c, to);
	return memstream_text(to, &text);
}

static void compare(const struct config *c, const struct made_with *there,
	const struct made_with *here)
{
	static const struct manifest_sides who = {"the file was made with", "this run has"};
	struct text differences = {0};
	struct config config = {0};
	struct err ignored;
	char *theirs = NULL, *ours = lines_of(here, c);

	if (config_parse(&config, c->sections, c->n_sections, c->from, there->config, NULL, 0,
		    &ignored) == 0)
		theirs = lines_of(there, &config);
	if (theirs && ours)
		manifest_compare(theirs, ours, who, &differences);
	if (differences.n > 0)
		log_warn("from: %s was made otherwise:%.*s", c->from,
			(int)size_min(differences.n, 3000), differences.data);
	config_free(&config);
	free(differences.data);
	free(theirs);
	free(ours);
}

int findings_compare_settings(const struct config *c, const struct machine *m, struct err *err)
{
	struct made_with there, here = {SAENGINE_VERSION, SAENGINE_COMMIT, NULL, NULL, NULL};
	struct results_reader *r;

	err_clear(err);
	if (!*c->from)
		return 0;
	if (results_open(&r, c->from, err))
		return err->code;
	there = read_made_with(r);
	results_reader_close(r);
	/* Of what the file does not say, or this run has not, nothing is compared. */
	here.arithmetic = there.arithmetic ? device_arithmetic(m->dev) : NULL;
	here.sae_dtype = m->saes && there.sae_dtype && *there.sae_dtype
				 ? sae_dtype_names[sae_set_dtype(m->saes)]
				 : there.sae_dtype;
	if (there.version && there.commit && there.config)
		compare(c, &there, &here);
	free_made_with(&there);
	return 0;
}
