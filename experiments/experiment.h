/* SPDX-License-Identifier: MIT
 *
 * experiment.h - what an experiment is: one value, in a file that reads like the method section of
 * the paper, arXiv:2505.23556. Everything that the rest of the engine wants to know of it is in the
 * value; nothing below this folder knows an experiment's name.
 *
 * A new one is a .c file with a value `experiment_NAME`, a line in registry.c and one in
 * CMakeLists.txt, a config and a test. CONTRIBUTING.md walks through it.
 */
#ifndef SAENGINE_EXPERIMENT_H
#define SAENGINE_EXPERIMENT_H

#include "host/lab/findings.h"
#include "host/lab/inputs.h"
#include "host/lab/lab.h"
#include "host/lab/plan.h"
#include "host/store/dataset.h"

/* What must be there when its turn comes: from an earlier experiment of the run, or from a file
 * (config `from`). */
enum need {
	NEED_DIRECTION = FIND_DIRECTION,
	NEED_SAES = 8,
	NEED_SETS = NEED_SAES | FIND_SETS,   /* those of cossim_ap */
	NEED_ROLES = NEED_SAES | FIND_ROLES, /* with features of both */
};

/* What it does, as far as that has to be known before it runs. */
enum use {
	USE_WHOLE_SAES = 1, /* not a few of their features */
};

struct experiment {
	const char *name; /* in configs and result files */
	const char *asks; /* its question */

	/* Its own settings (host/config/settings.h): every function is given their values. */
	const struct setting *settings;
	size_t n_settings, settings_size;
	void (*check_settings)(const struct config *config, const void *settings,
		struct faults *faults); /* as section.check; may be NULL */

	/* The datasets that it alone writes, for --help-results and results/README.md; NULL = those
	 * of host/measure alone. */
	const struct dataset_section *writes;

	unsigned needs;    /* enum need */
	unsigned takes;    /* enum finding: beside those it needs, what it uses where it is there */
	unsigned provides; /* enum finding */
	unsigned uses;     /* enum use */
	unsigned prompts;  /* enum common_prompts: what it reads of them */

	/* Prompts of its own in place of the config's; then it runs alone. NULL = the config's. */
	const struct prompt_source *source;

	/* Appends the files it reads beside those of every run; NULL = none. */
	int (*inputs)(const struct config *config, const void *settings, struct input_list *out,
		struct err *err);

	/* What it demands of its inputs beyond `needs`, before anything is computed or written.
	 * May be NULL. */
	int (*check)(const struct lab *lab, const struct findings *findings, const void *settings,
		struct err *err);

	/* Declares what it will attribute, continue and write (plan.h), where that is possible
	 * (`check` comes before). Of the findings it may ask which are expected. */
	int (*plan)(const struct lab *lab, const struct findings *findings, const void *settings,
		struct plan *out, struct err *err);

	int (*run)(struct lab *lab, struct findings *findings, const void *settings,
		struct err *err);

	/* What a reader of the terminal wants to see at the end; NULL = nothing. */
	void (*print)(const struct lab *lab, const struct findings *findings);
};

/* For `.settings` and the two beside it. */
#define SETTINGS_OF(rows, type) \
	.settings = rows, .n_settings = sizeof rows / sizeof *rows, .settings_size = sizeof(type)

/* The same where none is left and rows only say what keys of 0.1 are now. */
#define MOVED_ONLY(rows) .settings = rows, .n_settings = sizeof rows / sizeof *rows

#endif
