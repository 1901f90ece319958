/* SPDX-License-Identifier: MIT
 *
 * config_parts.h - what the files of this folder share. Nobody else includes it.
 */
#ifndef SAENGINE_CONFIG_PARTS_H
#define SAENGINE_CONFIG_PARTS_H

#include "host/base/vec.h"
#include "host/config/config.h"

#include <libconfig.h>

/* ---- tables: tables.c, but for rows ------------------------------------------------------ */

/* Of all runs: common.c. Values: struct config. */
extern const struct setting common_settings[];
extern const size_t n_common_settings;

/* Of every group prompts.NAME: common.c. Values: struct prompts_config. */
extern const struct setting prompts_settings[];
extern const size_t n_prompts_settings;

/* Settings that cannot change a result, NULL-terminated: a run goes on from the units of another
 * that differs in these alone. The last part of the key counts, so that `published` is all of
 * them. */
extern const char *const incidental_settings[];

/* The default that paper_compatible puts in place of a setting's own; NULL = it stays. Each is a
 * trap of the code released with arXiv:2505.23556, described in the setting's meaning. */
const char *setting_released_value(const struct setting *row);

/* A table and where its values are. */
struct setting_table {
	const struct setting *rows;
	size_t n;
	void *values;
};

/* The common table is number 0, those of the experiments follow in their order. */
size_t config_tables(const struct config *c);
struct setting_table config_table(const struct config *c, size_t t);

/* Zeroes the config and makes room for the values of the experiments; config_free frees it. */
int config_make_tables(struct config *c, const struct section *sections, size_t n_sections,
	struct err *err);

/* NULL when there is none of that key. */
const struct setting *find_row(const struct setting *rows, size_t n, const char *key);

/* ---- where keys stand: places.c; what is wrong: faults.c ----------------------------------- */

/* Where a setting stands: in a file, or in a --set. */
struct place {
	const char *file; /* or the text of the --set */
	unsigned line;    /* 0 = none */
	bool override;    /* whether it is a --set */
};

/* The keys that file and overrides give, in full ("prompts.NAME.file"), in their order. */
struct key {
	char *name; /* owned */
	struct place place;
};

struct keys {
	struct key *data; /* owned */
	size_t n, cap;
};

/* All that is wrong with a config, a line each. */
struct faults {
	const struct walk *walk; /* where keys stand */
	struct text lines;
	size_t n;
	struct err memory; /* with a code: some was lacking, and nothing that was taken is whole */
};

struct walk {
	struct config *config;
	struct faults *faults;
	const char *override; /* NULL for the file */
	struct keys *given;
	const config_t *tree; /* of the file */
	const char *path;
};

struct place place_of(const config_setting_t *s, const char *override);

int key_add(struct keys *keys, const char *key, struct place place, struct err *err);
void keys_free(struct keys *keys);

/* Where a key was given last; of a group, the first of its keys. NULL = it was not. */
const struct place *key_place(const struct keys *keys, const char *key);

/* For a key that is missing: where the innermost of its groups is that was given. */
struct place group_place(struct walk w, const char *key);

void fault(struct faults *f, struct place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* There was no memory for what is named. */
void fault_memory(struct faults *f, const char *what, size_t bytes);

/* libconfig's words for a text that it cannot read, and what to do where they do not tell. Returns
 * buffer. */
const char *parse_error(const config_t *tree, char *buffer, size_t size);

/* Whether that is for numbers of two types in one [ ]. */
bool mixes_types(const config_t *tree);

/* ---- keys: walk.c, unknown.c, defaults.c ----------------------------------------- */

/* Takes every setting of a group into its place; `prefix` is the group's key. */
void walk_group(struct walk w, const config_setting_t *group, const char *prefix);

/* Takes what a --set gives. */
void apply_override(struct walk w, const char *override);

/* Adds a fault that names the nearest key, if one is near: of all tables, and of a prompt set. */
void unknown_key(struct walk w, struct place place, const char *key);
void unknown_prompts_key(struct walk w, struct place place, const char *set, const char *key);

/* Once all is taken that is given: the rest is its defaults, or missing. */
void take_defaults(struct walk w);

/* ---- one value: value.c ---------------------------------------------------------- */

/* Stores a setting's value in its place in the struct at `base`, if it is of the row's type and
 * within its bounds; there is none where memory was lacking, which is noted as a fault. */
bool value_take(struct walk w, const struct setting *row, const config_setting_t *s, void *base);

/* In the syntax of the file, such that it is read back the same. */
void value_print(const struct setting *row, const void *base, FILE *to);

void value_free(const struct setting *row, void *base);

/* What is wrong with a setting that value_take refused: "expected ..., found ...". Returns buffer.
 */
const char *value_complaint(const struct setting *row, const struct config *c,
	const config_setting_t *s, char *buffer, size_t size);

/* ---- values in words: words.c ---------------------------------------------------- */

/* What a row accepts, for "expected ...". Returns buffer. */
const char *value_expected(const struct setting *row, const struct config *c, char *buffer,
	size_t size);

/* What a setting of the file is, for "found ...". Returns buffer. */
const char *value_found(const config_setting_t *s, char *buffer, size_t size);

/* One of the texts that a row accepts; NULL behind the last, and at once when any is. */
const char *value_choice(const struct setting *row, const struct config *c, size_t i);

/* Whether a list of the row may hold nothing: where its default does. */
bool may_be_empty(const struct setting *row);

/* ---- the text before it is parsed: source.c, literals.c -------------------------- */

/* What libconfig takes and should not, in the text at `place`, or in the file of that name where
 * `text` is NULL, and in all that these include: more than a config may be, what is no regular
 * file, a comment without an end. Numbers that libconfig cannot hold are added to the faults.
 * Errors: ERR_CONFIG; ERR_INPUT for files. */
int source_check(struct faults *f, struct place place, const char *text, struct err *err);

/* Adds a fault for each number of a text that libconfig cannot hold. */
void check_literals(struct faults *f, struct place place, const char *text);

/* Behind a comment or a quoted text that begins here; `text` itself where neither does. */
const char *skip_quiet(const char *text);

/* ---- settings against each other: check.c ---------------------------------------- */

/* Once every setting has its value: prompt sets that are named exist, the experiments of the run
 * have what they need. */
void check_whole(struct walk w);

#endif
