/* SPDX-License-Identifier: MIT
 *
 * fuzz_config.c - a config file; a line that begins with "--set " and those behind it are
 * overrides. What is accepted, printed as a config, is accepted again and prints the same.
 *
 * Texts with the word "include" are left out: libconfig would read other files.
 */
#include "experiments/registry.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { OVERRIDES_MAX = 4 };

/* libconfig 1.5 loses the buffer of a string that is not closed: a few bytes of a run that ends. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so";
}

static int parse(struct config *c, const char *name, const char *text, const char *const *overrides,
	size_t n, struct err *err)
{
	size_t n_sections;
	const struct section *sections = registry_sections(&n_sections);

	return config_parse(c, sections, n_sections, name, text, overrides, n, err);
}

static char *print(const struct config *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	MUST(to);
	config_print(c, to);
	fclose(to);
	return text;
}

static void check_printed(const struct config *c)
{
	struct config again;
	struct err err = {0};
	char *once = print(c), *twice;

	if (parse(&again, "printed", once, NULL, 0, &err)) {
		fprintf(stderr, "%s\n%s\n", err.text, once);
		abort();
	}
	twice = print(&again);
	MUST(strcmp(once, twice) == 0);
	config_free(&again);
	free(once);
	free(twice);
}

/* Cuts the overrides off the text. */
static size_t split(char *text, const char *overrides[OVERRIDES_MAX])
{
	char *at = strncmp(text, "--set ", 6) == 0 ? text : strstr(text, "\n--set ");
	size_t n = 0;

	while (at && n < OVERRIDES_MAX) {
		*at = '\0';
		overrides[n] = at + (at == text ? 6 : 7);
		at = strstr(overrides[n], "\n--set ");
		n++;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = size ? strndup((const char *)data, size) : strdup("");
	const char *overrides[OVERRIDES_MAX];
	struct config c;
	struct err err = {0};
	size_t n;
	int rc;

	MUST(text);
	if (!strstr(text, "include")) {
		n = split(text, overrides);
		rc = parse(&c, "input", text, overrides, n, &err);
		MUST_EXPLAIN(rc, err);
		if (rc == 0)
			check_printed(&c);
		config_free(&c);
	}
	free(text);
	return 0;
}
