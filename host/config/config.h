/* SPDX-License-Identifier: MIT
 *
 * config.h - the settings of a run: those of all runs, as fields, and each experiment's own, which
 * only the experiment knows the fields of (settings.h).
 */
#ifndef SAENGINE_CONFIG_H
#define SAENGINE_CONFIG_H

#include "host/base/err.h"
#include "host/config/settings.h"

#include <stdio.h>

/* One named prompt set: the group prompts.NAME. */
struct prompts_config {
	char *name; /* owned, as all text here */
	char *file, *published;
	char *format, *text_field, *category_field, *context_field, *system_field, *suffix_field;
	bool context, system; /* whether those of the file are read */
	bool na_is_text;
	char *input, *last_reply;
	struct text_list where;
	char *take;
	int64_t limit;
	bool shuffle;
};

struct config {
	struct text_list experiment;
	char *output;
	char *from; /* an earlier result file to take direction and feature sets from, or, for the
		     * judge, generations; "" = none */
	int64_t from_k_star; /* of its sets only the so many best; 0 = all */
	char *device;
	int64_t threads, seed;
	bool profile, paper_compatible;
	double memory_gb;

	struct {
		char *path, *base, *published, *template, *prefix, *suffix, *system, *prefill,
			*date, *bos;
		struct text_list template_variables;
		int64_t n_ctx;
		double rope_original_context;
	} model;
	struct {
		char *path, *published, *neuronpedia, *format, *layer_folder, *layers, *width,
			*fold, *dtype;
		double l0, budget_gb;
		bool check, allow_nonfinite_unused;
	} sae;
	struct prompts_config *prompts; /* [n_prompts], owned */
	size_t n_prompts;

	struct {
		int64_t tokens;
		bool invariant;
	} batch;
	struct {
		int64_t max_new_tokens, prompts;
		struct text_list stop;
	} generate;
	struct {
		struct token_choice token;
		char *measure, *apostrophes;
		struct text_list substrings;
	} refusal;
	struct {
		char *harmful, *harmless; /* names of prompt sets */
	} direction;
	struct {
		struct text_list prompts, methods;
		int64_t k0, k_star, steps;
		char *ig_rule, *ig_endpoint, *ig_backward, *positions, *actdiff_positions;
		struct token_choice target;
	} attribution;
	struct {
		struct text_list prompts;
		char *harmless;
		struct real_list scale;
	} clamp;
	struct {
		struct text_list prompts;
	} dissect;
	struct {
		int64_t draws;
	} controls;
	struct {
		int64_t positions;
	} readings;
	struct {
		bool resid_post, features, gradients;
		char *dtype;
	} save;
	struct {
		char *merge;
		bool keep_units;
	} store;
	struct {
		char *weights;
		int64_t join_seconds;
	} ranks;

	const struct section *sections; /* [n_sections], borrowed: of all experiments there are */
	size_t n_sections;
	void **own; /* [n_sections] the values of each, owned */
};

/* Reads a file; `sections` are all experiments that a config may name. `overrides`: "key=value" of
 * --set, applied after the file, the value in the syntax of the file (text may go without quotes).
 * On error the text lists every fault of file and overrides, one per line: "file:line: key:
 * expected ..., found ...". Errors: ERR_CONFIG; ERR_INPUT when the file cannot be read. Accepts
 * overrides NULL when n_overrides is 0. */
int config_load(struct config *c, const struct section *sections, size_t n_sections,
	const char *path, const char *const *overrides, size_t n_overrides, struct err *err);

/* The same over the text of a config file; `name` is for messages. */
int config_parse(struct config *c, const struct section *sections, size_t n_sections,
	const char *name, const char *text, const char *const *overrides, size_t n_overrides,
	struct err *err);

/* Accepts a zeroed config. */
void config_free(struct config *c);

/* NULL when there is no set of that name. */
const struct prompts_config *config_prompts(const struct config *c, const char *name);

/* The values of an experiment's own settings, in the struct that its table describes. Borrowed. */
const void *config_own(const struct config *c, const char *experiment);

/* Whether an experiment is in the run. */
bool config_runs(const struct config *c, const char *experiment);

/* The factor of an experiment that clamps by one only: the first of clamp.scale. */
double config_scale(const struct config *c);

/* Whether a list holds a text. */
bool text_list_holds(const struct text_list *list, const char *item);

/* Every setting with its value, in the syntax of the file: what was run. */
void config_print(const struct config *c, FILE *to);

/* The settings that bear on the results, one line each: "attribution.k0 = 10". */
void config_print_lines(const struct config *c, FILE *to);

/* The reference of all settings, for --help-config. */
void config_print_help(const struct section *sections, size_t n_sections, FILE *to);

#endif
