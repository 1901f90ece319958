/* SPDX-License-Identifier: MIT
 *
 * config.c - reading settings with libconfig. Contract: config.h. Tests: tests/test_errors.c.
 *
 * libconfig accepts unknown keys and gives the same answer for a missing key and one of the wrong
 * type, so the tree is walked against the table: every setting of the file must be in the table,
 * every row of the table is then looked up and its type checked. Overrides are small config texts
 * of their own, walked the same way. All faults are gathered before any is reported.
 */
#include "host/run/config_table.h"

#include "host/base/file.h"
#include "host/base/vec.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <libconfig.h>

/* ---- faults ---------------------------------------------------------------------------- */

struct faults {
	struct text lines;
	size_t n;
};

/* Where a setting stands: "file:line", or "--set" for overrides. */
struct place {
	const char *file;
	unsigned line;
};

static void fault(struct faults *f, struct place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void fault(struct faults *f, struct place place, const char *format, ...)
{
	char line[1024];
	struct err ignored;
	va_list args;
	int n;

	n = place.line ? snprintf(line, sizeof line, "%s:%u: ", place.file, place.line)
		       : snprintf(line, sizeof line, "%s: ", place.file);
	va_start(args, format);
	vsnprintf(line + n, sizeof line - (size_t)n, format, args);
	va_end(args);
	if (f->n++ > 0)
		(void)vec_push(&f->lines, '\n', &ignored);
	(void)vec_append(&f->lines, line, strlen(line), &ignored);
}

static struct place place_of(const config_setting_t *s, const char *override)
{
	const char *file = config_setting_source_file(s);

	if (override)
		return (struct place){override, 0};
	return (struct place){file ? file : "?", (unsigned)config_setting_source_line(s)};
}

/* ---- looking rows up ------------------------------------------------------------------- */

static bool is_list(const config_setting_t *s)
{
	return config_setting_is_array(s) || config_setting_is_list(s);
}

/* What a setting of the file is, for "found ...". */
static const char *describe(const config_setting_t *s, char *buffer, size_t size)
{
	size_t n = 0;

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		snprintf(buffer, size, "%lld", config_setting_get_int64(s));
		break;
	case CONFIG_TYPE_FLOAT:
		snprintf(buffer, size, "%g", config_setting_get_float(s));
		break;
	case CONFIG_TYPE_STRING:
		snprintf(buffer, size, "\"%s\"", config_setting_get_string(s));
		break;
	case CONFIG_TYPE_BOOL:
		snprintf(buffer, size, "%s", config_setting_get_bool(s) ? "true" : "false");
		break;
	case CONFIG_TYPE_GROUP:
		snprintf(buffer, size, "a group");
		break;
	default:
		snprintf(buffer, size, "[");
		for (int i = 0; i < config_setting_length(s) && (n = strlen(buffer)) + 2 < size; i++) {
			snprintf(buffer + n, size - n, "%s", i ? ", " : "");
			n = strlen(buffer);
			describe(config_setting_get_elem(s, (unsigned)i), buffer + n, size - n);
		}
		n = strlen(buffer);
		snprintf(buffer + n, size - n, "]");
	}
	return buffer;
}

static void expected(const struct setting *row, char *buffer, size_t size)
{
	static const char *const kinds[] = {
		[SETTING_TEXT] = "a text",       [SETTING_INTEGER] = "an integer",
		[SETTING_REAL] = "a number",     [SETTING_BOOL] = "true or false",
		[SETTING_TEXTS] = "a list of texts", [SETTING_REALS] = "a list of numbers"};
	int n = snprintf(buffer, size, "%s", kinds[row->type]);

	if (row->choices) {
		n = snprintf(buffer, size, row->type == SETTING_TEXTS ? "a list of" : "one of");
		for (const char *const *c = row->choices; *c; c++)
			n += snprintf(buffer + n, size - (size_t)n, "%s %s", c > row->choices ? "," : "",
				*c);
	} else if (row->type == SETTING_INTEGER) {
		snprintf(buffer + n, size - (size_t)n, " from %.0f to %.0f", row->min, row->max);
	} else if (row->type == SETTING_REAL) {
		snprintf(buffer + n, size - (size_t)n, " from %g to %g", row->min, row->max);
	}
}

static void wrong(struct faults *f, const struct setting *row, const char *key,
	const config_setting_t *s, const char *override)
{
	char what[512], found[256];

	expected(row, what, sizeof what);
	fault(f, place_of(s, override), "%s: expected %s, found %s", key, what,
		describe(s, found, sizeof found));
}

static bool one_of(const struct setting *row, const char *text)
{
	if (!row->choices)
		return true;
	for (const char *const *c = row->choices; *c; c++)
		if (strcmp(*c, text) == 0)
			return true;
	return false;
}

static void replace_text(char **value, const char *text)
{
	free(*value);
	*value = strdup(text);
}

static void clear_texts(struct text_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct text_list){0};
}

static bool is_number(const config_setting_t *s)
{
	return config_setting_is_number(s) == CONFIG_TRUE;
}

static double number_of(const config_setting_t *s)
{
	return config_setting_type(s) == CONFIG_TYPE_FLOAT ? config_setting_get_float(s)
							   : (double)config_setting_get_int64(s);
}

/* Element i of a list, or the setting itself when it is a single value. */
static const config_setting_t *element(const config_setting_t *s, size_t i)
{
	return is_list(s) ? config_setting_get_elem(s, (unsigned)i) : s;
}

static size_t elements(const config_setting_t *s)
{
	return is_list(s) ? (size_t)config_setting_length(s) : 1;
}

static bool take_texts(const struct setting *row, const config_setting_t *s,
	struct text_list *list)
{
	const size_t n = elements(s);

	for (size_t i = 0; i < n; i++) {
		const char *text = config_setting_get_string(element(s, i));

		if (config_setting_type(element(s, i)) != CONFIG_TYPE_STRING || !one_of(row, text))
			return false;
	}
	clear_texts(list);
	list->items = calloc(n + 1, sizeof *list->items);
	for (size_t i = 0; i < n && list->items; i++)
		list->items[list->n++] = strdup(config_setting_get_string(element(s, i)));
	return true;
}

static bool take_reals(const struct setting *row, const config_setting_t *s,
	struct real_list *list)
{
	const size_t n = elements(s);

	for (size_t i = 0; i < n; i++)
		if (!is_number(element(s, i)) || !isfinite(number_of(element(s, i))) ||
			number_of(element(s, i)) < row->min || number_of(element(s, i)) > row->max)
			return false;
	free(list->items);
	list->items = calloc(n + 1, sizeof *list->items);
	list->n = list->items ? n : 0;
	for (size_t i = 0; i < list->n; i++)
		list->items[i] = number_of(element(s, i));
	return true;
}

/* Stores a setting's value if it is of the row's type and within its bounds. */
static bool take(const struct setting *row, const config_setting_t *s, void *base)
{
	void *value = (char *)base + row->offset;
	const int type = config_setting_type(s);

	switch (row->type) {
	case SETTING_TEXT:
		if (type != CONFIG_TYPE_STRING || !one_of(row, config_setting_get_string(s)))
			return false;
		replace_text(value, config_setting_get_string(s));
		return true;
	case SETTING_INTEGER:
		if ((type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) ||
			number_of(s) < row->min || number_of(s) > row->max)
			return false;
		*(int64_t *)value = config_setting_get_int64(s);
		return true;
	case SETTING_REAL:
		if (!is_number(s) || !(number_of(s) >= row->min && number_of(s) <= row->max))
			return false;
		*(double *)value = number_of(s);
		return true;
	case SETTING_BOOL:
		if (type != CONFIG_TYPE_BOOL)
			return false;
		*(bool *)value = config_setting_get_bool(s);
		return true;
	case SETTING_TEXTS:
		return take_texts(row, s, value);
	case SETTING_REALS:
		return take_reals(row, s, value);
	}
	return false;
}

/* ---- unknown keys ---------------------------------------------------------------------- */

/* Edit distance, for suggestions. Keys are short. */
static size_t distance(const char *a, const char *b)
{
	size_t row[128];
	const size_t n = strlen(b);

	if (n >= 127 || strlen(a) >= 127)
		return 127;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			const size_t change = diagonal + (a[i] != b[j]);
			size_t best = change;

			diagonal = row[j + 1];
			best = diagonal + 1 < best ? diagonal + 1 : best;
			row[j + 1] = row[j] + 1 < best ? row[j] + 1 : best;
		}
	}
	return row[n];
}

static const struct setting *find_row(const struct setting *rows, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].key, key) == 0)
			return &rows[i];
	return NULL;
}

/* `full` is the key as the message gives it, `key` as the rows spell theirs. */
static void unknown(struct faults *f, struct place place, const char *full, const char *key,
	const struct setting *rows, size_t n)
{
	const char *nearest = NULL;
	size_t best = strlen(key) / 3 + 2; /* farther apart is no misspelling */

	for (size_t i = 0; i < n; i++) {
		const size_t d = distance(key, rows[i].key);

		if (d < best) {
			best = d;
			nearest = rows[i].key;
		}
	}
	if (nearest)
		fault(f, place, "unknown key %s; did you mean %s?", full, nearest);
	else
		fault(f, place, "unknown key %s (see --help-config)", full);
}

/* ---- the walk -------------------------------------------------------------------------- */

struct walk {
	struct config *config;
	struct faults *faults;
	const char *override; /* NULL for the file */
	bool *given;          /* [n_config_settings] which rows have been set */
	const config_t *tree; /* of the file */
	const char *path;
};

/* Where a key is missing: the line of its innermost group that the file has. */
static struct place place_of_missing(struct walk w, const char *key)
{
	char group[256];

	snprintf(group, sizeof group, "%s", key);
	for (char *dot; (dot = strrchr(group, '.'));) {
		const config_setting_t *s;

		*dot = '\0';
		s = config_lookup(w.tree, group);
		if (s)
			return place_of(s, NULL);
	}
	return (struct place){w.path, 0};
}

static struct prompts_config *prompts_named(struct config *c, const char *name)
{
	struct prompts_config *grown;

	for (size_t i = 0; i < c->n_prompts; i++)
		if (strcmp(c->prompts[i].name, name) == 0)
			return &c->prompts[i];
	grown = realloc(c->prompts, (c->n_prompts + 1) * sizeof *grown);
	if (!grown)
		return NULL;
	c->prompts = grown;
	c->prompts[c->n_prompts] = (struct prompts_config){.name = strdup(name)};
	return &c->prompts[c->n_prompts++];
}

static void walk_prompt_set(struct walk w, const config_setting_t *group)
{
	const char *name = config_setting_name(group);
	struct prompts_config *p;

	if (!config_setting_is_group(group)) {
		fault(w.faults, place_of(group, w.override), "prompts.%s: expected a group, { file = "
			"\"...\"; }", name);
		return;
	}
	p = prompts_named(w.config, name);
	for (int i = 0; p && i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		const struct setting *row =
			find_row(prompts_settings, n_prompts_settings, config_setting_name(s));
		char key[256];

		snprintf(key, sizeof key, "prompts.%s.%s", name, config_setting_name(s));
		if (!row)
			unknown(w.faults, place_of(s, w.override), key, config_setting_name(s),
				prompts_settings, n_prompts_settings);
		else if (!take(row, s, p))
			wrong(w.faults, row, key, s, w.override);
		else
			p->given |= UINT64_C(1) << (row - prompts_settings);
	}
}

static bool is_group_prefix(const char *key)
{
	const size_t n = strlen(key);

	for (size_t i = 0; i < n_config_settings; i++)
		if (strncmp(config_settings[i].key, key, n) == 0 && config_settings[i].key[n] == '.')
			return true;
	return false;
}

static void walk_group(struct walk w, const config_setting_t *group, const char *prefix)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		const struct setting *row;
		char key[256];

		snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "",
			config_setting_name(s));
		row = find_row(config_settings, n_config_settings, key);
		if (row) {
			if (!take(row, s, w.config))
				wrong(w.faults, row, key, s, w.override);
			w.given[row - config_settings] = true;
		} else if (strcmp(key, "prompts") == 0 && config_setting_is_group(s)) {
			for (int j = 0; j < config_setting_length(s); j++)
				walk_prompt_set(w, config_setting_get_elem(s, (unsigned)j));
		} else if (config_setting_is_group(s) && is_group_prefix(key)) {
			walk_group(w, s, key);
		} else {
			unknown(w.faults, place_of(s, w.override), key, key, config_settings,
				n_config_settings);
		}
	}
}

/* "a.b.c=value" as a config text: a:{b:{c=value;};}; */
static void override_text(const char *override, bool quoted, char *out, size_t size)
{
	const char *equals = strchr(override, '=');
	size_t n = 0, depth = 0;

	for (const char *p = override; p < equals && n + 4 < size; p++) {
		if (*p == '.') {
			n += (size_t)snprintf(out + n, size - n, ":{");
			depth++;
		} else if (*p != ' ') {
			out[n++] = *p;
		}
	}
	n += (size_t)snprintf(out + n, size - n, quoted ? "=\"%s\";" : "=%s;", equals + 1);
	while (depth-- > 0 && n + 3 < size)
		n += (size_t)snprintf(out + n, size - n, "};");
}

static void apply_override(struct walk w, const char *override)
{
	char text[4096], label[512];
	config_t tree;
	bool parsed = false;

	snprintf(label, sizeof label, "--set %s", override);
	w.override = label;
	if (!strchr(override, '=') || strlen(override) > sizeof text / 2) {
		fault(w.faults, (struct place){label, 0}, "expected key=value");
		return;
	}
	config_init(&tree);
	for (int quoted = 0; quoted <= 1 && !parsed; quoted++) {
		override_text(override, quoted, text, sizeof text);
		parsed = config_read_string(&tree, text) == CONFIG_TRUE;
	}
	if (parsed)
		walk_group(w, config_root_setting(&tree), "");
	else
		fault(w.faults, (struct place){label, 0}, "expected key=value");
	config_destroy(&tree);
}

/* Defaults come through the same door, as overrides nobody typed. */
static void apply_default(struct walk w, const struct setting *row)
{
	const char *released = w.config->paper_compatible ? setting_released_value(row) : NULL;
	char text[4096];
	config_t tree;

	config_init(&tree);
	snprintf(text, sizeof text, "value=%s;", released ? released : row->default_value);
	if (config_read_string(&tree, text) != CONFIG_TRUE ||
		!take(row, config_lookup(&tree, "value"), w.config))
		fault(w.faults, (struct place){"default", 0}, "%s: %s", row->key, row->default_value);
	config_destroy(&tree);
}

/* ---- what must be given ----------------------------------------------------------------- */

static void check_prompt_set_complete(struct walk w, struct prompts_config *p)
{
	for (size_t i = 0; i < n_prompts_settings; i++) {
		const struct setting *row = &prompts_settings[i];
		char text[256];
		config_t tree;

		if (p->given >> i & 1)
			continue;
		if (!row->default_value) {
			snprintf(text, sizeof text, "prompts.%s.%s", p->name, row->key);
			fault(w.faults, place_of_missing(w, text), "missing key %s: %s", text,
				row->meaning);
			continue;
		}
		config_init(&tree);
		snprintf(text, sizeof text, "value=%s;", row->default_value);
		if (config_read_string(&tree, text) == CONFIG_TRUE)
			take(row, config_lookup(&tree, "value"), p);
		config_destroy(&tree);
	}
}

static void check_where(struct walk w, const struct prompts_config *p)
{
	char key[256];

	snprintf(key, sizeof key, "prompts.%s.where", p->name);
	for (size_t i = 0; i < p->where.n; i++) {
		const config_setting_t *s = config_lookup(w.tree, key);

		if (p->where.items[i][0] == '=' || !strchr(p->where.items[i], '='))
			fault(w.faults, s ? place_of(s, NULL) : place_of_missing(w, key),
				"%s: expected \"FIELD=VALUE\", found \"%s\"", key, p->where.items[i]);
	}
}

static void need_prompts(struct walk w, const char *key, const char *name)
{
	const config_setting_t *s = config_lookup(w.tree, key);

	if (name && !config_prompts(w.config, name))
		fault(w.faults, s ? place_of(s, NULL) : place_of_missing(w, key),
			"%s: there is no prompt set \"%s\"; add prompts.%s = { file = \"...\"; }", key,
			name, name);
}

static void need_prompt_lists(struct walk w, const char *key, const struct text_list *names)
{
	for (size_t i = 0; i < names->n; i++)
		need_prompts(w, key, names->items[i]);
}

/* Prompts continued under their own features are attributed in the same run, if any are. */
static void need_local_sets(struct walk w)
{
	const struct config *c = w.config;
	const config_setting_t *s = config_lookup(w.tree, "jailbreak.prompts");

	if (!text_list_holds(&c->experiment, "attribution") ||
		!text_list_holds(&c->jailbreak.scopes, "local"))
		return;
	for (size_t i = 0; i < c->jailbreak.prompts.n; i++)
		if (!text_list_holds(&c->attribution.prompts, c->jailbreak.prompts.items[i]))
			fault(w.faults, s ? place_of(s, NULL) : place_of_missing(w, "jailbreak.prompts"),
				"jailbreak.prompts: \"%s\" has no local features; add it to "
				"attribution.prompts, or leave \"local\" out of jailbreak.scopes",
				c->jailbreak.prompts.items[i]);
}

/* Settings whose group is the experiment that reads the prompt sets they name. */
static const char *const names_of_prompts[] = {"exact_patching.prompts", "low_cosine.prompts",
	"low_cosine.harmless", "interactions.prompts", "prune.prompts", "feature_graph.prompts",
	"sae_compare.prompts", "sae_compare.harmful", "sae_compare.harmless", "sweep_kstar.prompts",
	"sweep_kstar.harmless", "categories.prompts", "conditional.prompts", "suffix.prompts",
	"jailbreaks.adversarial", "jailbreaks.plain", "probe.train_harmful", "probe.train_benign",
	"probe.test_harmful", "probe.test_benign", "coherence.questions"};

static void need_prompts_of(struct walk w, const char *key)
{
	const struct setting *row = find_row(config_settings, n_config_settings, key);
	const void *value = (const char *)w.config + row->offset;
	char experiment[64];

	snprintf(experiment, sizeof experiment, "%.*s", (int)strcspn(key, "."), key);
	if (!text_list_holds(&w.config->experiment, experiment))
		return;
	if (row->type == SETTING_TEXTS)
		need_prompt_lists(w, key, value);
	else
		need_prompts(w, key, *(char *const *)value);
}

/* The prompt sets that the experiments of this run read. */
static void check_prompt_sets(struct walk w)
{
	const struct config *c = w.config;

	for (size_t i = 0; i < c->n_prompts; i++) {
		check_prompt_set_complete(w, &w.config->prompts[i]);
		check_where(w, &w.config->prompts[i]);
	}
	if (text_list_holds(&c->experiment, "direction")) {
		need_prompts(w, "direction.harmful", c->direction.harmful);
		need_prompts(w, "direction.harmless", c->direction.harmless);
		if (c->direction.layer < 0) {
			need_prompts(w, "direction.harmful_val", c->direction.harmful_val);
			need_prompts(w, "direction.harmless_val", c->direction.harmless_val);
		}
	}
	if (text_list_holds(&c->experiment, "attribution")) {
		need_prompt_lists(w, "attribution.prompts", &c->attribution.prompts);
		if (text_list_holds(&c->attribution.methods, "actdiff"))
			need_prompts(w, "attribution.harmless", c->attribution.harmless);
	}
	if (text_list_holds(&c->experiment, "jailbreak")) {
		need_prompt_lists(w, "jailbreak.prompts", &c->jailbreak.prompts);
		need_local_sets(w);
	}
	if (text_list_holds(&c->experiment, "induce"))
		need_prompts(w, "induce.prompts", c->induce.prompts);
	if (text_list_holds(&c->experiment, "coherence"))
		need_prompts(w, "coherence.prompts", c->coherence.prompts);
	if (text_list_holds(&c->experiment, "sweep_kstar") ||
		text_list_holds(&c->experiment, "sae_compare"))
		need_prompt_lists(w, "attribution.prompts", &c->attribution.prompts);
	for (size_t i = 0; i < sizeof names_of_prompts / sizeof *names_of_prompts; i++)
		need_prompts_of(w, names_of_prompts[i]);
}

/* Experiments that need nothing of SAEs. */
static bool runs_without_saes(const char *experiment)
{
	return strcmp(experiment, "direction") == 0 || strcmp(experiment, "jailbreak") == 0 ||
		strcmp(experiment, "coherence") == 0 || strcmp(experiment, "judge") == 0;
}

static bool needs_saes(const struct config *c)
{
	for (size_t i = 0; i < c->experiment.n; i++)
		if (!runs_without_saes(c->experiment.items[i]))
			return true;
	return false;
}

static bool is_sha256(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64;
}

/* Where a key is, or should be. */
static struct place place_of_key(struct walk w, const char *key)
{
	const config_setting_t *s = config_lookup(w.tree, key);

	return s ? place_of(s, NULL) : place_of_missing(w, key);
}

/* The judge is a run of its own: another model, and prompts that come from a result file. Texts
 * that were given but are none are NULL here. */
static void check_judge(struct walk w)
{
	const struct config *c = w.config;

	if (!text_list_holds(&c->experiment, "judge"))
		return;
	if (c->experiment.n > 1)
		fault(w.faults, place_of_key(w, "experiment"),
			"experiment: expected judge alone, for its model is not the one that is judged");
	if (c->from && !*c->from)
		fault(w.faults, place_of_key(w, "from"),
			"missing key from: the result file whose generations to judge");
	if (c->judge.template && !*c->judge.template)
		fault(w.faults, place_of_key(w, "judge.template"), "missing key judge.template: %s",
			find_row(config_settings, n_config_settings, "judge.template")->meaning);
	if (c->judge.sha256 && *c->judge.sha256 && !is_sha256(c->judge.sha256))
		fault(w.faults, place_of_key(w, "judge.sha256"),
			"judge.sha256: expected 64 hexadecimal digits, found \"%s\"", c->judge.sha256);
	if (c->n_prompts > 0)
		fault(w.faults, place_of_key(w, "prompts"),
			"prompts: expected none, for judge takes its prompts from the file of \"from\"");
}

static void check_complete(struct walk w)
{
	for (size_t i = 0; i < n_config_settings; i++) {
		const struct setting *row = &config_settings[i];

		if (w.given[i])
			continue;
		if (row->default_value)
			apply_default(w, row);
		else
			fault(w.faults, place_of_missing(w, row->key), "missing key %s: %s",
				row->key, row->meaning);
	}
	check_prompt_sets(w);
	check_judge(w);
	if (w.config->sae.path && !*w.config->sae.path && needs_saes(w.config))
		fault(w.faults, place_of_missing(w, "sae.path"), "missing key sae.path: %s",
			find_row(config_settings, n_config_settings, "sae.path")->meaning);
}

/* Of the file, or of the text where there is one. */
static int read_tree(config_t *tree, const char *path, const char *text, struct err *err)
{
	if (!text && !file_exists(path))
		return err_set(err, ERR_INPUT, "%s: no such config file", path);
	if ((text ? config_read_string(tree, text) : config_read_file(tree, path)) == CONFIG_TRUE)
		return 0;
	return err_set(err, ERR_CONFIG, "%s:%d: %s",
		config_error_file(tree) ? config_error_file(tree) : path, config_error_line(tree),
		config_error_text(tree));
}

static int load(struct config *c, const char *path, const char *file_text,
	const char *const *overrides, size_t n_overrides, struct err *err)
{
	struct faults faults = {0};
	bool *given = calloc(n_config_settings, sizeof *given);
	config_t tree;
	const struct walk w = {c, &faults, NULL, given, &tree, path};
	int rc = 0;

	*c = (struct config){0};
	config_init(&tree);
	if (!given) {
		rc = err_nomem(err, path, n_config_settings);
	} else if ((rc = read_tree(&tree, path, file_text, err)) == 0) {
		walk_group(w, config_root_setting(&tree), "");
		for (size_t i = 0; i < n_overrides; i++)
			apply_override(w, overrides[i]);
		check_complete(w);
		if (faults.n > 0)
			rc = err_set(err, ERR_CONFIG, "%.*s", (int)faults.lines.n,
				faults.lines.data);
	}
	config_destroy(&tree);
	free(faults.lines.data);
	free(given);
	if (rc)
		config_free(c);
	return rc;
}

int config_load(struct config *c, const char *path, const char *const *overrides,
	size_t n_overrides, struct err *err)
{
	return load(c, path, NULL, overrides, n_overrides, err);
}

int config_parse(struct config *c, const char *name, const char *text,
	const char *const *overrides, size_t n_overrides, struct err *err)
{
	return load(c, name, text, overrides, n_overrides, err);
}

/* ---- the rest -------------------------------------------------------------------------- */

static void free_row(const struct setting *row, void *base)
{
	void *value = (char *)base + row->offset;

	if (row->type == SETTING_TEXT)
		free(*(char **)value);
	else if (row->type == SETTING_TEXTS)
		clear_texts(value);
	else if (row->type == SETTING_REALS)
		free(((struct real_list *)value)->items);
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < n_config_settings; i++)
		free_row(&config_settings[i], c);
	for (size_t i = 0; i < c->n_prompts; i++) {
		for (size_t j = 0; j < n_prompts_settings; j++)
			free_row(&prompts_settings[j], &c->prompts[i]);
		free(c->prompts[i].name);
	}
	free(c->prompts);
	*c = (struct config){0};
}

const struct prompts_config *config_prompts(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_prompts; i++)
		if (strcmp(c->prompts[i].name, name) == 0)
			return &c->prompts[i];
	return NULL;
}

bool text_list_holds(const struct text_list *list, const char *item)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->items[i], item) == 0)
			return true;
	return false;
}

static void print_text(const char *text, FILE *to)
{
	fputc('"', to);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', to);
		fputc(*text, to);
	}
	fputc('"', to);
}

/* A float that libconfig reads back as a float. */
static void print_real(double value, FILE *to)
{
	char text[40];

	snprintf(text, sizeof text, "%.17g", value);
	fprintf(to, "%s%s", text, strpbrk(text, ".eni") ? "" : ".0");
}

static void print_value(const struct setting *row, const void *base, FILE *to)
{
	const void *value = (const char *)base + row->offset;
	const struct text_list *texts = value;
	const struct real_list *reals = value;

	switch (row->type) {
	case SETTING_TEXT:
		print_text(*(char *const *)value, to);
		break;
	case SETTING_INTEGER:
		fprintf(to, "%lld", (long long)*(const int64_t *)value);
		break;
	case SETTING_REAL:
		print_real(*(const double *)value, to);
		break;
	case SETTING_BOOL:
		fputs(*(const bool *)value ? "true" : "false", to);
		break;
	case SETTING_TEXTS:
		fputc('[', to);
		for (size_t i = 0; i < texts->n; i++) {
			fputs(i ? ", " : "", to);
			print_text(texts->items[i], to);
		}
		fputc(']', to);
		break;
	case SETTING_REALS:
		fputc('[', to);
		for (size_t i = 0; i < reals->n; i++) {
			fputs(i ? ", " : "", to);
			print_real(reals->items[i], to);
		}
		fputc(']', to);
		break;
	}
}

/* The group of a dotted key: its length up to the last dot, 0 at the top. */
static size_t group_length(const char *key)
{
	const char *dot = strrchr(key, '.');

	return dot ? (size_t)(dot - key) : 0;
}

void config_print(const struct config *c, FILE *to)
{
	const char *open = "";
	size_t n_open = 0;

	for (size_t i = 0; i < n_config_settings; i++) {
		const char *key = config_settings[i].key;
		const size_t n = group_length(key);

		if (n != n_open || strncmp(key, open, n) != 0) {
			fputs(n_open ? "};\n" : "", to);
			if (n)
				fprintf(to, "%.*s = {\n", (int)n, key);
			open = key;
			n_open = n;
		}
		fprintf(to, "%s%s = ", n ? "\t" : "", key + n + (n > 0));
		print_value(&config_settings[i], c, to);
		fputs(";\n", to);
	}
	fputs(n_open ? "};\n" : "", to);
	fputs("prompts = {\n", to);
	for (size_t i = 0; i < c->n_prompts; i++) {
		fprintf(to, "\t%s = {", c->prompts[i].name);
		for (size_t j = 0; j < n_prompts_settings; j++) {
			fprintf(to, " %s = ", prompts_settings[j].key);
			print_value(&prompts_settings[j], &c->prompts[i], to);
			fputc(';', to);
		}
		fputs(" };\n", to);
	}
	fputs("};\n", to);
}

static bool is_incidental(const char *key)
{
	const char *last = key + group_length(key) + (group_length(key) > 0);

	for (const char *const *i = incidental_settings; *i; i++)
		if (strcmp(last, *i) == 0)
			return true;
	return false;
}

void config_print_lines(const struct config *c, FILE *to)
{
	for (size_t i = 0; i < n_config_settings; i++) {
		if (is_incidental(config_settings[i].key))
			continue;
		fprintf(to, "%s = ", config_settings[i].key);
		print_value(&config_settings[i], c, to);
		fputc('\n', to);
	}
	for (size_t i = 0; i < c->n_prompts; i++) {
		for (size_t j = 0; j < n_prompts_settings; j++) {
			if (is_incidental(prompts_settings[j].key))
				continue;
			fprintf(to, "prompts.%s.%s = ", c->prompts[i].name, prompts_settings[j].key);
			print_value(&prompts_settings[j], &c->prompts[i], to);
			fputc('\n', to);
		}
	}
}

static void print_row_help(const struct setting *row, const char *prefix, FILE *to)
{
	char what[512];

	expected(row, what, sizeof what);
	fprintf(to, "%s%s\n    %s\n    %s", prefix, row->key, row->meaning, what);
	if (row->default_value && setting_released_value(row))
		fprintf(to, "; default %s, with paper_compatible %s\n\n", row->default_value,
			setting_released_value(row));
	else if (row->default_value)
		fprintf(to, "; default %s\n\n", row->default_value);
	else
		fputs("; must be given\n\n", to);
}

void config_print_help(FILE *to)
{
	fputs("Settings of a config file (libconfig syntax: key = value; groups in braces; "
	      "@include \"file\").\nA dotted key a.b is b inside the group a.\n\n", to);
	for (size_t i = 0; i < n_config_settings; i++)
		print_row_help(&config_settings[i], "", to);
	for (size_t i = 0; i < n_prompts_settings; i++)
		print_row_help(&prompts_settings[i], "prompts.NAME.", to);
}
