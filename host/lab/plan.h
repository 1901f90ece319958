/* SPDX-License-Identifier: MIT
 *
 * plan.h - what a run will do, declared before it does any of it: what is attributed, what is
 * continued, what is written. --dry-run prints it, the checks before the first pass are made on it,
 * and what measures holds itself to it: prompts that nobody declared are neither attributed nor
 * continued.
 *
 * Each experiment declares its part (struct experiment.plan), most of it through the modules of
 * host/measure that will do the work: continuation_plan, effects_plan, ...
 */
#ifndef SAENGINE_PLAN_H
#define SAENGINE_PLAN_H

#include "host/lab/lab.h"

struct plan {
	const char *experiment; /* whose declarations are being taken; borrowed, as all texts */
	struct {
		struct plan_attribution {
			const char *experiment;
			struct prompt_ids prompts; /* owned */
			bool all_features;         /* effects of all, not of candidates alone */
			size_t k0;                 /* candidates per layer */
			size_t paths, points;      /* followed; on all of them together */
		} * data;
		size_t n, cap;
	} attributions; /* integrated gradients */
	struct {
		struct plan_generation {
			const char *experiment;
			struct prompt_ids prompts; /* owned */
			size_t times;              /* under so many conditions */
		} * data;
		size_t n, cap;
	} generations; /* replies of at most generate.max_new_tokens */
	struct {
		struct plan_room {
			const char *experiment, *what;
			const char *setting; /* that makes it large; NULL = none */
			struct plan_bytes {
				double least, most;
			} result, units; /* of the result file; of the units beside it */
			double summary;  /* at most */
		} * data;
		size_t n, cap;
	} rooms;           /* on disk */
	size_t sae_bytes;  /* of a whole SAE beside those of sae.path */
	size_t host_bytes; /* most that an experiment keeps in host memory, where that is much */
};

/* Accepts a zeroed plan. */
void plan_free(struct plan *plan);

/* ---- declaring: the lists are copied ------------------------------------------------------ */

int plan_attribute(struct plan *plan, const struct plan_attribution *what, struct err *err);
int plan_generate(struct plan *plan, const struct prompt_ids *prompts, size_t times,
	struct err *err);

/* ---- declaring room on disk: estimates ---------------------------------------------------- */

/* What the room is for, in messages: "replies", "generate.max_new_tokens". */
struct plan_what {
	const char *what, *setting;
};

/* The datasets of a section, written whole; those with words in their path `times` times. */
int plan_write(struct plan *plan, struct plan_what what, const struct dataset_section *s,
	const struct dataset_length *lengths, size_t times, struct err *err);

/* The same of datasets that grow by the rows of n_units units. */
int plan_write_rows(const struct lab *lab, struct plan *plan, struct plan_what what,
	const struct dataset_section *s, const struct dataset_length *lengths, size_t times,
	size_t n_units, struct err *err);

/* More in the result file, and in its summary. */
int plan_add(struct plan *plan, struct plan_what what, struct plan_bytes bytes, struct err *err);

/* n_units units with so many bytes of values together. */
int plan_units(struct plan *plan, struct plan_what what, size_t n_units, struct plan_bytes values,
	struct err *err);

/* The units of `times` stages that score the prompts: bytes of each prompt, and of each unit, at
 * most. */
int plan_stages(const struct lab *lab, struct plan *plan, struct plan_what what,
	const struct prompt_ids *prompts, double of_prompt, double of_unit, size_t times,
	struct err *err);

/* The units of n tasks that find so many numbers each, at most. */
int plan_tasks(struct plan *plan, struct plan_what what, size_t n, size_t width, struct err *err);

/* Batches of the prompts. */
int plan_batches(const struct lab *lab, const struct prompt_ids *prompts, size_t max_tokens,
	size_t max_prompts, size_t *n, struct err *err);

/* Tokens of the prompts behind their first `skip`. */
size_t plan_tokens(const struct lab *lab, const struct prompt_ids *prompts, size_t skip);

/* Active features of a token in all layers together, about at most. */
double plan_active_features(const struct lab *lab);

/* ---- before the first pass ---------------------------------------------------------------- */

/* Prints to standard output; computes and writes nothing. */
int plan_print(const struct lab *lab, struct err *err);

/* Whether all of it is possible: every prompt with its reply fits the context; the run fits the
 * memory, asked before any weight is read: mapped weights count as needed, for without room for
 * them every pass would read them from disk again; and what it writes fits the disk: refused where
 * the least does not, with a warning where the most does not. `fresh`: units that stand do not
 * count. Errors: ERR_CONFIG; ERR_DEVICE, ERR_OUTPUT with what is needed and what there is. */
int plan_check(const struct lab *lab, bool fresh, struct err *err);

/* ---- while it runs ------------------------------------------------------------------------ */

/* Whether these prompts were declared. Errors: ERR_INTERNAL. */
int plan_holds_attribution(const struct lab *lab, const struct prompt_ids *prompts,
	struct err *err);
int plan_holds_generation(const struct lab *lab, const struct prompt_ids *prompts, struct err *err);

#endif
