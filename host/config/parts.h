/* SPDX-License-Identifier: MIT
 *
 * parts.h - what the files of this folder share. Nobody else includes it.
 */
#ifndef SAENGINE_CONFIG_PARTS_H
#define SAENGINE_CONFIG_PARTS_H

#include "host/base/vec.h"
#include "host/config/settings.h"

#include <libconfig.h>

/* ---- faults: config.c ------------------------------------------------------------------- */

/* All that is wrong with a config, a line each. */
struct faults {
	struct text lines;
	size_t n;
};

/* Where a setting stands: "file:line", or "--set" for overrides. */
struct place {
	const char *file;
	unsigned line; /* 0 = none */
};

void fault(struct faults *f, struct place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- the file against the table: config.c ----------------------------------------------- */

struct walk {
	struct config *config;
	struct faults *faults;
	const char *override; /* NULL for the file */
	bool *given;          /* [n_config_settings] which rows have been set */
	const config_t *tree; /* of the file */
	const char *path;
};

struct place place_of(const config_setting_t *s, const char *override);

/* Where a key is, or, when it is missing, the innermost of its groups that the file has. */
struct place place_of_key(struct walk w, const char *key);

/* NULL when there is none of that key. */
const struct setting *find_row(const struct setting *rows, size_t n, const char *key);

/* ---- one value: value.c ---------------------------------------------------------- */

/* Stores a setting's value in its place in the struct at `base`, if it is of the row's type and
 * within its bounds. */
bool value_take(const struct setting *row, const config_setting_t *s, void *base);

/* In the syntax of the file, such that it is read back the same. */
void value_print(const struct setting *row, const void *base, FILE *to);

void value_free(const struct setting *row, void *base);

/* What a row accepts, for "expected ...". Returns buffer. */
const char *value_expected(const struct setting *row, char *buffer, size_t size);

/* What a setting of the file is, for "found ...". Returns buffer. */
const char *value_found(const config_setting_t *s, char *buffer, size_t size);

/* ---- settings against each other: check.c ---------------------------------------- */

/* Once every setting has its value: prompt sets that are named exist, the experiments of the run
 * have what they need. */
void check_whole(struct walk w);

#endif
