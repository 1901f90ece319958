/* SPDX-License-Identifier: MIT
 *
 * observe.h - what chosen features and the next token do on a list of prompts under a condition:
 * one forward pass, nothing generated. What it saw at every token can be retained in later runs.
 */
#ifndef SAENGINE_OBSERVE_H
#define SAENGINE_OBSERVE_H

#include "host/measure/conditions.h"
#include "host/measure/scoring.h"

enum { OBSERVE_ALL = BATCH_OUT_ALL };

struct observe_request {
	const char *title; /* of the progress line; NULL = none, for one of many */
	const struct prompt_ids *prompts;
	const struct condition *condition;
	const struct feature_set *features; /* whose activations to read; NULL = none */
	size_t n_last;         /* at each prompt's last so many tokens; OBSERVE_ALL = all behind the
				* shared prefix, and those of the prefix */
	const int32_t *target; /* [n] token j of m = logit[j] - logit[refusal]; NULL = no m */
	bool edited;           /* activations after the edits of their own layer: what the model
				* goes on with; else before them, as a clamp reads them */
};

/* In the order of the prompts. Owned; observation_free. */
struct observation {
	size_t n, n_features;
	size_t *start;        /* [n + 1]: rows of prompt i are start[i] to start[i+1] - 1, its last
			       * tokens in order */
	float *activation;    /* [start[n], n_features] */
	float *prefix;        /* [n_prefix, n_features] with OBSERVE_ALL, else NULL; 0 in the last
			       * layer, which the prefix does not pass */
	int32_t *first_token; /* [n] the most probable next token */
	float *first_lead;    /* [n] by how many logits it leads the next one */
	float *refusal_lead;  /* [n] by how many, at least, it is the refusal token or is not: below
			       * readout_noise rounding may turn that round */
	double *p_refusal;    /* [n] probability of the refusal token */
	double *metric;       /* [n] m, logits; NaN without targets */
};

/* Errors: those of condition_open and of a pass. */
int observe(struct lab *lab, const struct observe_request *request, struct observation *out,
	struct err *err);

/* Accepts a zeroed struct. */
void observation_free(struct observation *o);

/* Mean of a feature over the rows of a prompt. */
double observation_mean(const struct observation *o, size_t prompt, size_t feature);

/* What was observed with OBSERVE_ALL, for condition.retained. of_prompt: the caller's memory of
 * lab->prompts->table.n pointers. All borrowed from `o` and `features`. */
struct recording observation_recording(const struct lab *lab, const struct observation *o,
	const struct feature_set *features, const struct prompt_ids *prompts,
	const float **of_prompt);

#endif
