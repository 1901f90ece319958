/* SPDX-License-Identifier: MIT
 *
 * lab.h - everything a run has opened, and what its experiments have found so far. An experiment
 * is a function of a lab.
 */
#ifndef SAENGINE_LAB_H
#define SAENGINE_LAB_H

#include "host/base/memory.h"
#include "host/method/features.h"
#include "host/method/indirect_effect.h"
#include "host/config/config.h"
#include "host/lab/inputs.h"
#include "host/work/progress.h"
#include "host/store/results.h"
#include "host/work/schedule.h"
#include "host/work/units.h"
#include "host/text/chat_template.h"
#include "host/text/prompts.h"

enum method {
	METHOD_COSSIM_AP,
	METHOD_AP,
	METHOD_COSSIM,
	METHOD_ACTDIFF,
	METHOD_RANDOM,
	N_METHODS
};

/* "cossim_ap", ...: in configs and result files. */
extern const char *const method_names[N_METHODS];

/* All prompts of all sets, numbered through; the tokens of each rendered whole. The sets are those
 * of the config, in its order; a judge's are the conditions whose generations it judges. */
struct prompt_table {
	size_t n_sets;
	struct prompt_set *sets; /* [n_sets] */
	const char **names;      /* [n_sets], texts borrowed from config or judged */
	size_t *first;           /* [n_sets + 1]: id of a set's first prompt */
	struct token_ids ids;    /* of all prompts end to end */
	size_t *start;           /* [n + 1] into ids */
	size_t n;
};

/* A list of prompt ids. */
struct prompt_ids {
	size_t *data; /* owned: free it */
	size_t n, cap;
};

struct direction {
	bool known;
	size_t layer; /* l* */
	float *v;     /* [d_model], owned: v_{l*}, not normalised */
};

/* What a method found. */
struct method_sets {
	bool known;
	struct feature_set global;
	struct feature_set *local; /* [n prompts of the table]; NULL = no local sets; a prompt that
				    * was not attributed has an empty one */
};

/* What the best features do, found by the categories experiment: those that are among the best of
 * every harm category stand for refusal, the rest of the best over all prompts for harm. */
struct roles {
	bool known;
	struct feature_set refusal, harm; /* F_R, F_H: owned */
};

/* One line of the summary. */
struct summary_row {
	char experiment[24], condition[64];
	size_t n_prompts;
	double refusal, p_refusal, kl, ce, ce_released; /* means; NaN = not measured */
	double jailbreak, p_yes; /* of a judge's run, which measures nothing else */
};

struct lab {
	const struct config *config;
	struct device *dev;
	struct model *model;
	struct tokenizer *tok;
	struct chat_template *chat;
	struct readout readout;
	struct sae_set *saes; /* NULL when the config names none */
	struct prompt_table prompts;
	struct judged *judged;    /* owned; NULL but for the judge (judged.h) */
	size_t n_prefix;          /* tokens that all prompts begin with */
	size_t n_released_prefix; /* of these, the ones the released code leaves out of its means */
	int32_t stop[CHAT_MAX_STOP];
	size_t n_stop;
	int32_t refusal_token;
	struct ranks *ranks;  /* borrowed */
	struct inputs inputs; /* files read; rank 0 only */
	struct units *units;  /* what stages keep their work in */
	struct results *results;
	struct stage_log stages; /* what each stage took */

	struct direction direction;
	struct method_sets sets[N_METHODS];
	struct roles roles;
	struct {
		struct summary_row *data;
		size_t n, cap;
	} summary;
};

/* `config` and `ranks` are borrowed until lab_close. Opens device, model, tokenizer, SAEs and
 * prompts; nothing is computed or written. Errors: those of the parts; missing inputs name where
 * the config says they are published. */
int lab_open(struct lab *lab, const struct config *config, struct ranks *ranks, struct err *err);

/* The end of what ranks read together (weights.h): brings the SAEs when experiments will read them
 * whole, and leaves the others' devices. Errors: ERR_INPUT, ERR_DEVICE, ERR_STOPPED. */
int lab_finish_loading(struct lab *lab, bool whole_saes, struct err *err);

/* Opens the units and begins the result file, or on ranks that do not write it, results that go
 * nowhere: from here on there is something to leave behind. `fresh`: as units_open. */
int lab_begin_results(struct lab *lab, bool fresh, struct err *err);

/* Room for n_sets sets. *t is zeroed first; lab_close frees it. */
int prompt_table_create(struct prompt_table *t, size_t n_sets, struct err *err);

/* sae.dtype, where it is auto what the device makes of it. */
enum sae_dtype lab_sae_dtype(const struct lab *lab);

/* What the config says of its SAEs. Texts borrowed. */
struct sae_options lab_sae_options(const struct lab *lab);

/* What the run may take in all of the memory that its device computes in, what it takes so far
 * included; and what it takes so far: mapped weights count. */
struct memory_left lab_memory(const struct lab *lab);
size_t lab_memory_in_use(const struct lab *lab);

/* Accepts a zeroed lab. Closes unfinished results without finishing them. */
void lab_close(struct lab *lab);

/* The tokens of a prompt, without its first `skip`. */
struct token_span lab_tokens(const struct lab *lab, size_t prompt, size_t skip);

/* The first tokens, which all prompts share. */
const int32_t *lab_prefix(const struct lab *lab);

/* Text, set name, and, NULL when the file gives none, right answer, category, context, adversarial
 * suffix and what stood before it, of a prompt. Borrowed. */
const char *lab_text(const struct lab *lab, size_t prompt);
const char *lab_answer(const struct lab *lab, size_t prompt);
const char *lab_category(const struct lab *lab, size_t prompt);
const char *lab_suffix(const struct lab *lab, size_t prompt);
const char *lab_base(const struct lab *lab, size_t prompt);
const char *lab_context(const struct lab *lab, size_t prompt);
const char *lab_set_name(const struct lab *lab, size_t prompt);

/* Appends what goes into the template: prompt_message. */
int lab_message(const struct lab *lab, size_t prompt, struct text *out, struct err *err);

/* Appends the ids of a set (asserted to exist: config_load checks names). */
int lab_set(const struct lab *lab, const char *name, struct prompt_ids *out, struct err *err);

/* Schedule over a list of prompts whose first `skip` tokens are shared; order holds indices into
 * the list. */
int lab_schedule(const struct lab *lab, const struct prompt_ids *prompts, size_t skip,
	size_t max_tokens, size_t max_prompts, struct schedule *out, struct err *err);

/* Spans of batch b of a schedule over `prompts`. out: [most_prompts]. Returns their number. */
size_t lab_batch(const struct lab *lab, const struct prompt_ids *prompts,
	const struct schedule *schedule, size_t b, size_t skip, struct token_span *out);

/* Takes direction and feature sets from an earlier result file (config `from`). Errors: ERR_INPUT
 * when they do not fit this model. */
int lab_load_findings(struct lab *lab, struct err *err);

/* Whether `experiment` will find what it needs when its turn comes: SAEs, and a direction, the sets
 * of a method or roles from an earlier experiment of the run or from a file. Errors: ERR_CONFIG. */
int lab_need_direction(const struct lab *lab, const char *experiment, struct err *err);
int lab_need_sets(const struct lab *lab, enum method method, const char *experiment,
	struct err *err);
int lab_need_roles(const struct lab *lab, const char *experiment, struct err *err);

/* When that turn has come: whether there are features of both roles. Errors: ERR_CONFIG. */
int lab_have_roles(const struct lab *lab, const char *experiment, struct err *err);

/* Writes what every result file holds: /prompts, shared scales, root attributes. */
int lab_write_frame(struct lab *lab, struct err *err);

/* Adds a row of the summary, or fills what a row of the same experiment and condition has not
 * measured yet. */
int lab_summarise(struct lab *lab, const struct summary_row *row, struct err *err);

/* Writes /summary and /provenance/stages, at the end of a run. */
int lab_write_summary(struct lab *lab, struct err *err);

/* Prints the table of conditions and the features of CosSim+AP. */
void lab_print_summary(const struct lab *lab);

#endif
