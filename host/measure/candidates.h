/* SPDX-License-Identifier: MIT
 *
 * candidates.h - F0: per layer, the K0 features whose decoder rows are nearest to the direction.
 */
#ifndef SAENGINE_CANDIDATES_H
#define SAENGINE_CANDIDATES_H

#include "host/lab/lab.h"
#include "host/method/features.h"

struct candidates {
	float *cosines; /* [n_layer, d_sae] cos(W_dec[i], v_{l*}), owned; NaN in
			 * layers without an SAE */
	size_t n_layer, d_sae;
	struct feature_set set; /* F0, layer by layer, best first within a layer */
	size_t undecided;       /* of these, those that the next of their layer could stand for:
				 * their cosines differ by less than rounding moves (ties.h) */
};

/* Whether there will be K* candidates to choose from. Asked before anything is computed.
 * Errors: ERR_CONFIG. */
int candidates_check(const struct lab *lab, struct err *err);

/* How many there are with so many per layer. 0 without SAEs. */
size_t candidates_count(const struct lab *lab, size_t k0);

/* Among the features of the machine's SAEs, which are there. v: [d_model]. Says how many rounding
 * could exchange; `who` begins the line. */
int candidates_find(struct candidates *out, const struct lab *lab, const char *who, const float *v,
	size_t k0, struct err *err);

/* Accepts a zeroed struct. */
void candidates_free(struct candidates *c);

/* The K* candidates of the highest score, score[k] that of candidate k; those among them whose
 * score is 0 are left out, since only their numbers would have chosen them. Appends to *set, which
 * is empty. */
int candidates_best(const struct candidates *c, const float *score, size_t k_star,
	struct feature_set *set, struct err *err);

#endif
