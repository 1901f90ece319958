/* SPDX-License-Identifier: MIT
 *
 * config.h - the settings of a run. One table (common.c) of key, type, bounds, default and
 * meaning drives parsing, --help-config, --dry-run and the provenance in result files.
 */
#ifndef SAENGINE_CONFIG_H
#define SAENGINE_CONFIG_H

#include "host/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct text_list {
	char **items; /* owned */
	size_t n;
};

struct real_list {
	double *items; /* owned */
	size_t n;
};

/* One named prompt set: the group prompts.NAME. */
struct prompts_config {
	char *name; /* owned, as all text here */
	char *file, *published;
	char *format, *text_field, *category_field, *context_field, *suffix_field;
	bool context; /* whether those of the file are read */
	struct text_list where;
	char *category; /* "" = all */
	char *take;
	int64_t limit;
	bool shuffle;
	uint64_t given; /* bit i: the file gave row i of prompts_settings */
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
		char *path, *published, *template, *prefix, *suffix, *system, *bos;
		int64_t n_ctx;
		double rope_original_context;
	} model;
	struct {
		char *path, *published, *neuronpedia, *format, *layer_folder, *layers, *width,
			*fold, *dtype;
		double l0, budget_gb;
		bool check;
	} sae;
	struct prompts_config *prompts; /* [n_prompts], owned */
	size_t n_prompts;

	struct {
		int64_t tokens;
	} batch;
	struct {
		int64_t max_new_tokens, prompts;
		char *stop;
	} generate;
	struct {
		char *token;
		struct text_list substrings;
	} refusal;
	struct {
		char *harmful, *harmless, *harmful_val, *harmless_val;
		int64_t layer; /* -1 = chosen by score */
		int64_t positions;
		bool filter;
	} direction;
	struct {
		struct text_list prompts, methods;
		int64_t k0, k_star, steps;
		char *harmless, *ig_rule, *ig_endpoint, *positions, *actdiff_positions, *target;
		bool save_per_token;
	} attribution;
	struct {
		struct text_list prompts, scopes;
		struct real_list scale;
	} jailbreak;
	struct {
		char *prompts;
		struct text_list methods;
		struct real_list value;
	} induce;
	struct {
		char *prompts;
		struct text_list methods, questions;
	} coherence;
	struct {
		char *harmless;
		struct text_list prompts;
		struct real_list k_star, scale, k0;
	} sweep_kstar;
	struct {
		char *prompts;
		struct text_list names;
		double scale;
		int64_t draws;
		bool generate;
	} categories;
	struct {
		struct text_list prompts;
		double scale;
		int64_t draws, positions;
	} conditional;
	struct {
		char *prompts;
		double scale;
		int64_t draws, positions;
	} suffix;
	struct {
		struct text_list adversarial, plain;
		int64_t positions;
	} jailbreaks;
	struct {
		char *train_harmful, *train_benign;
		struct text_list test_harmful, test_benign;
		double validation, rate, decay;
		int64_t epochs, draws, positions;
	} probe;
	struct {
		struct text_list prompts, paths, rules;
		struct real_list steps;
		int64_t contexts;
	} exact_patching;
	struct {
		struct text_list prompts;
		char *harmless;
		struct real_list scale;
		double max_cosine;
		int64_t draws;
	} low_cosine;
	struct {
		struct text_list prompts;
		double scale;
		int64_t draws, positions;
	} interactions;
	struct {
		struct text_list prompts;
		double scale, tolerance;
		int64_t draws;
	} prune;
	struct {
		struct text_list prompts;
		char *method;
		double scale;
		int64_t draws;
	} feature_graph;
	struct {
		char *path, *published, *format, *width;
		double l0, match;
		char *prompts, *harmful, *harmless;
		int64_t draws;
	} sae_compare;
	struct {
		char *kind, *template, *context_template, *published, *sha256, *context_sha256;
		char *yes, *no;
		struct text_list generations;
		int64_t max_tokens;
	} judge;
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
	} ranks;
};

/* `overrides`: "key=value" of --set, applied after the file, the value in the syntax of the file
 * (text may go without quotes). On error the text lists every fault of file and overrides, one
 * per line: "file:line: key: expected ..., found ...". Errors: ERR_CONFIG; ERR_INPUT when the
 * file cannot be read. Accepts overrides NULL when n_overrides is 0. */
int config_load(struct config *c, const char *path, const char *const *overrides,
	size_t n_overrides, struct err *err);

/* The same over the text of a config file; `name` is for messages. */
int config_parse(struct config *c, const char *name, const char *text, const char *const *overrides,
	size_t n_overrides, struct err *err);

/* Accepts a zeroed config. */
void config_free(struct config *c);

/* NULL when there is no set of that name. */
const struct prompts_config *config_prompts(const struct config *c, const char *name);

/* Whether a list holds a text. */
bool text_list_holds(const struct text_list *list, const char *item);

/* Every setting with its value, in the syntax of the file: what was run. */
void config_print(const struct config *c, FILE *to);

/* The settings that bear on the results, one line each: "attribution.k0 = 10". */
void config_print_lines(const struct config *c, FILE *to);

/* The reference of all settings, for --help-config. */
void config_print_help(FILE *to);

#endif
