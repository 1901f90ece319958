/* SPDX-License-Identifier: MIT
 *
 * settings.h - what a setting is: a row of a table with its key, type, bounds, default and meaning.
 * Parsing, --help-config, --dry-run and the provenance in result files all read these rows.
 *
 * The table of all runs is common.c, its values are struct config. An experiment has a table of its
 * own, with values in a struct of its own:
 *
 *	struct prune_settings {
 *		double tolerance;
 *	};
 *	#define SETTINGS struct prune_settings
 *	static const struct setting settings[] = {
 *		REAL("prune.tolerance", tolerance, "0.05", 0, 1, "loss of complying prompts ..."),
 *		MOVED("prune.scale", "clamp.scale"),
 *	};
 */
#ifndef SAENGINE_SETTINGS_H
#define SAENGINE_SETTINGS_H

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_list {
	char **items; /* owned */
	size_t n;
};

struct real_list {
	double *items; /* owned */
	size_t n;
};

/* A token, as the one that a text becomes or by its id. */
struct token_choice {
	char *text; /* owned; NULL where the id is given */
	int64_t id;
};

enum setting_type {
	SETTING_TEXT,        /* char * */
	SETTING_INTEGER,     /* int64_t */
	SETTING_REAL,        /* double */
	SETTING_BOOL,        /* bool */
	SETTING_TOKEN,       /* struct token_choice: a text, or an integer */
	SETTING_TEXTS,       /* struct text_list: a list, or one text */
	SETTING_TOKENS,      /* struct text_list: texts and ids, these as their digits; or one */
	SETTING_REALS,       /* struct real_list: a list, or one number */
	SETTING_INTEGERS,    /* struct real_list of whole numbers: a list, or one */
	SETTING_PROMPTS,     /* char *: the name of a prompt set, which must exist */
	SETTING_PROMPT_SETS, /* struct text_list of such names */
	SETTING_EXPERIMENTS, /* struct text_list of names of experiments */
	SETTING_MOVED        /* no value: the key of an earlier version, moved or gone */
};

/* A list whose default is empty may be empty, any other holds at least one value. It holds each
 * value once, unless it is paired. */
struct setting {
	const char *key; /* dotted path from the root; in prompt sets, the key itself */
	enum setting_type type;
	size_t offset;              /* of the value in the struct of the table's values */
	const char *default_value;  /* in the syntax of the file; NULL = must be given. MOVED: the
				     * key of today, NULL = gone, and `meaning` says why */
	double min, max;            /* numbers; both included */
	const char *const *choices; /* texts; NULL-terminated, NULL = any */
	const char *meaning;
	/* Prompt sets: whether they are not read under these values, so that they need not exist;
	 * NULL = they always are. */
	bool (*unread)(const void *values);
	bool paired; /* lists: matched with another by position */
};

/* Rows of a table whose values are in the struct that SETTINGS names. */
// clang-format off
#define TEXT(key, field, value, choices, meaning) \
	{key, SETTING_TEXT, offsetof(SETTINGS, field), value, 0, 0, choices, meaning, NULL, false}
#define TEXTS(key, field, value, choices, meaning) \
	{key, SETTING_TEXTS, offsetof(SETTINGS, field), value, 0, 0, choices, meaning, NULL, false}
#define TOKENS(key, field, value, meaning) \
	{key, SETTING_TOKENS, offsetof(SETTINGS, field), value, 0, 0, NULL, meaning, NULL, false}
#define INTEGER(key, field, value, min, max, meaning) \
	{key, SETTING_INTEGER, offsetof(SETTINGS, field), value, min, max, NULL, meaning, NULL, false}
#define INTEGERS(key, field, value, min, max, meaning) \
	{key, SETTING_INTEGERS, offsetof(SETTINGS, field), value, min, max, NULL, meaning, NULL, false}
#define REAL(key, field, value, min, max, meaning) \
	{key, SETTING_REAL, offsetof(SETTINGS, field), value, min, max, NULL, meaning, NULL, false}
#define REALS(key, field, value, min, max, meaning) \
	{key, SETTING_REALS, offsetof(SETTINGS, field), value, min, max, NULL, meaning, NULL, false}
#define BOOL(key, field, value, meaning) \
	{key, SETTING_BOOL, offsetof(SETTINGS, field), value, 0, 0, NULL, meaning, NULL, false}
#define TOKEN(key, field, value, meaning) \
	{key, SETTING_TOKEN, offsetof(SETTINGS, field), value, 0, 0, NULL, meaning, NULL, false}
#define PROMPTS(key, field, value, unread, meaning) \
	{key, SETTING_PROMPTS, offsetof(SETTINGS, field), value, 0, 0, NULL, meaning, unread, false}
#define PROMPT_SETS(key, field, value, unread, meaning) \
	{key, SETTING_PROMPT_SETS, offsetof(SETTINGS, field), value, 0, 0, NULL, meaning, unread, false}
#define PAIRED_SETS(key, field, value, meaning) \
	{key, SETTING_PROMPT_SETS, offsetof(SETTINGS, field), value, 0, 0, NULL, meaning, NULL, true}
#define MOVED(key, today) {key, SETTING_MOVED, 0, today, 0, 0, NULL, NULL, NULL, false}
#define GONE(key, why) {key, SETTING_MOVED, 0, NULL, 0, 0, NULL, why, NULL, false}
// clang-format on

/* The bounds of a number that has none: -BIG, BIG. */
#define BIG DBL_MAX

struct config;
struct faults;

/* Prompt sets that settings of all runs name, and that several experiments read. */
enum common_prompts {
	PROMPTS_CONTRASTED = 1, /* direction.harmful, direction.harmless */
	PROMPTS_ACTDIFF = 2,    /* direction.harmless, with the method actdiff */
	PROMPTS_ATTRIBUTED = 4, /* attribution.prompts */
	PROMPTS_CLAMPED = 8,    /* clamp.prompts */
	PROMPTS_HARMLESS = 16,  /* clamp.harmless */
	PROMPTS_DISSECTED = 32, /* dissect.prompts */
};

/* What the config knows of an experiment. */
struct section {
	const char *name; /* what `experiment` lists, and the group of its settings */
	const struct setting *rows;
	size_t n_rows;
	size_t size;      /* of the struct of its values */
	bool needs_saes;  /* sae.path must be given */
	unsigned prompts; /* enum common_prompts: which must exist */
	/* Its settings against each other and against those of all runs, when it is in the run:
	 * faults go through config_fault. Of what was given wrongly texts are NULL and lists empty.
	 * May be NULL. */
	void (*check)(const struct config *c, const void *values, struct faults *faults);
};

/* Adds a fault to a key, at its place: "file:line: key: expected ..., found ...", the format giving
 * what follows the key. Of a key that was not given the message says that it is the default. */
void config_fault(struct faults *f, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* For the check of an experiment that does without SAEs too: a fault for each of these keys,
 * NULL-terminated, that is of features and was given where sae.path was not. Who gives it as ""
 * has said that there are none. */
void config_need_features(const struct config *c, struct faults *f, const char *const *keys);

#endif
