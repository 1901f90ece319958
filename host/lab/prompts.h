/* SPDX-License-Identifier: MIT
 *
 * prompts.h - what the model is asked: all prompts of the run, as texts and as tokens, and the
 * template around each. They are the sets of the config or what an experiment brings instead.
 */
#ifndef SAENGINE_LAB_PROMPTS_H
#define SAENGINE_LAB_PROMPTS_H

#include "host/lab/inputs.h"
#include "host/lab/machine.h"
#include "host/lab/stop_tokens.h"
#include "host/model/generate.h"
#include "host/text/chat_template.h"
#include "host/text/prompts.h"
#include "host/work/schedule.h"

/* All prompts of all sets, numbered through; the tokens of each rendered whole. */
struct prompt_table {
	size_t n_sets;
	struct prompt_set *sets; /* [n_sets] owned */
	const char **names;      /* [n_sets], texts borrowed from the config or the source */
	size_t *first;           /* [n_sets + 1]: id of a set's first prompt */
	struct token_ids ids;    /* of all prompts end to end */
	size_t *start;           /* [n + 1] into ids */
	size_t n;
};

struct prompts;

/* Prompts that an experiment brings in place of the config's sets: a judge's are the requests and
 * replies of an earlier file. */
struct prompt_source {
	const char *what; /* a set of them, for the plan: "replies" */
	/* *context is what the other functions get; owned, `close` frees it. May set what stands
	 * around each prompt, before the template is opened. */
	int (*open)(void **context, const struct config *config, struct chat_options *chat,
		struct err *err);
	/* Fills p->table, which is empty, once the template is there. */
	int (*read)(void *context, const struct machine *m, struct prompts *p, struct err *err);
	/* Appends a prompt as the model reads it; and what it was made with, for the plan. */
	int (*render)(const void *context, const struct prompts *p, size_t prompt, struct text *out,
		struct err *err);
	const char *(*template_name)(const void *context);
	void (*close)(void *context); /* accepts NULL */
};

/* Itself, and behind a prompt with a space and without, and where a text begins. */
enum { REFUSAL_SPELLINGS = 4 };

struct prompts {
	struct prompt_table table;
	struct chat_template *chat;
	size_t n_prefix;          /* tokens that all prompts begin with */
	size_t n_template_prefix; /* tokens of the template's prefix alone: as many, or more */
	size_t n_released_prefix; /* of these, the ones the released code leaves out of its means */
	struct stop_tokens stop;  /* what ends a reply */
	int32_t refusal_token;    /* -1 where nothing is refused: prompts of a source */
	/* The tokens that spell its word, with and without a space before it, itself first. */
	int32_t refusal_spellings[REFUSAL_SPELLINGS];
	size_t n_refusal_spellings;
	int32_t target_token;               /* of attribution.target; -1 = none is named */
	const struct prompt_source *source; /* NULL: those of the config */
	void *context;                      /* of the source, owned */
};

/* A list of prompt ids. */
struct prompt_ids {
	size_t *data; /* owned: free it */
	size_t n, cap;
};

/* All but the tokens that the config names. `source` may be NULL. Errors: those of the parts;
 * prompts longer than the context. */
int prompts_open(struct prompts *p, const struct config *config, const struct machine *m,
	const struct prompt_source *source, struct err *err);

/* The tokens that the config names: of a text, the one that the tokenizer makes of it behind each
 * of the prompts. None where prompts are a source's. Errors: ERR_CONFIG with the key where it is
 * not one token of its own, or another one behind another prompt; an id outside the vocabulary. */
int prompts_find_tokens(struct prompts *p, const struct config *config, const struct machine *m,
	struct err *err);

/* Accepts a zeroed struct. */
void prompts_close(struct prompts *p);

/* Appends the file that the chat template was read from, if there is one; its path is borrowed from
 * p. */
int prompts_inputs(const struct prompts *p, struct input_list *more, struct err *err);

/* Room for n_sets sets. *t is zeroed first; prompts_close frees it. */
int prompt_table_create(struct prompt_table *t, size_t n_sets, struct err *err);

/* The tokens of a prompt, without its first `skip`. */
struct token_span prompts_tokens(const struct prompts *p, size_t prompt, size_t skip);

/* The first tokens, which all prompts share: p->n_prefix. */
const int32_t *prompts_prefix(const struct prompts *p);

/* Text, set name, and, NULL when the file gives none, right answer, category, context, system
 * text, conversation, adversarial suffix and what stood before it, and the field that gave it, of a
 * prompt. Borrowed. */
const char *prompts_text(const struct prompts *p, size_t prompt);
const char *prompts_set_name(const struct prompts *p, size_t prompt);
const char *prompts_answer(const struct prompts *p, size_t prompt);
const char *prompts_category(const struct prompts *p, size_t prompt);
const char *prompts_context(const struct prompts *p, size_t prompt);
const char *prompts_system(const struct prompts *p, size_t prompt);
const char *prompts_messages(const struct prompts *p, size_t prompt);
const char *prompts_suffix(const struct prompts *p, size_t prompt);
const char *prompts_base(const struct prompts *p, size_t prompt);
const char *prompts_field(const struct prompts *p, size_t prompt);

/* Appends a line of what a set is, zero-terminated: its name and number, where it comes from and,
 * of a file, which field was taken and which records were not. */
int prompts_describe(const struct prompts *p, const struct config *config, size_t set,
	struct text *out, struct err *err);

/* Appends a prompt as the model reads it. */
int prompts_render(const struct prompts *p, size_t prompt, struct text *out, struct err *err);

/* Appends the ids of a set, or of several (asserted to exist: config_load checks names). */
int prompts_of_set(const struct prompts *p, const char *name, struct prompt_ids *out,
	struct err *err);
int prompts_of_sets(const struct prompts *p, const struct text_list *names, struct prompt_ids *out,
	struct err *err);

/* Appends up to `most` of all ids, evenly spread. */
int prompts_spread(const struct prompts *p, size_t most, struct prompt_ids *out, struct err *err);

/* Schedule over a list of prompts whose first `skip` tokens are shared; order holds indices into
 * the list. */
int prompts_schedule(const struct prompts *p, const struct prompt_ids *ids, size_t skip,
	size_t max_tokens, size_t max_prompts, struct schedule *out, struct err *err);

/* Spans of batch b of a schedule over `ids`. out: [most_prompts]. Returns their number. */
size_t prompts_batch(const struct prompts *p, const struct prompt_ids *ids,
	const struct schedule *schedule, size_t b, size_t skip, struct token_span *out);

#endif
