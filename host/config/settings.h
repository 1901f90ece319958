/* SPDX-License-Identifier: MIT
 *
 * settings.h - the table of settings and what a row of it is.
 */
#ifndef SAENGINE_SETTINGS_H
#define SAENGINE_SETTINGS_H

#include "host/config/config.h"

enum setting_type {
	SETTING_TEXT,
	SETTING_INTEGER,
	SETTING_REAL,
	SETTING_BOOL,
	SETTING_TEXTS, /* a list, or one text */
	SETTING_REALS  /* a list, or one number */
};

struct setting {
	const char *key; /* dotted path from the root; in prompt sets, the key itself */
	enum setting_type type;
	size_t offset;              /* of its value in struct config or struct prompts_config */
	const char *default_value;  /* in the syntax of the file; NULL = must be given */
	double min, max;            /* numbers; both included */
	const char *const *choices; /* texts; NULL-terminated, NULL = any */
	const char *meaning;
};

extern const struct setting config_settings[];
extern const size_t n_config_settings;

/* Settings that cannot change a result, NULL-terminated: a run goes on from the units of another
 * that differs in these alone. The last part of the key counts, so that `published` is all of
 * them. */
extern const char *const incidental_settings[];

/* The default that paper_compatible puts in place of a setting's own; NULL = it stays. Each is a
 * trap of the code released with arXiv:2505.23556, described in the setting's meaning. */
const char *setting_released_value(const struct setting *row);

/* Of every group prompts.NAME. */
extern const struct setting prompts_settings[];
extern const size_t n_prompts_settings;

#endif
