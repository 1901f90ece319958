/* SPDX-License-Identifier: MIT
 *
 * reconstructed_direction.h - is the direction still there in what SAEs reconstruct?
 *
 *   v_l = mean over harmful - mean over harmless of x_l, v_hat_l the same of x_hat_l, at the last
 *   token of the prompts
 */
#ifndef SAENGINE_RECONSTRUCTED_DIRECTION_H
#define SAENGINE_RECONSTRUCTED_DIRECTION_H

#include "host/lab/lab.h"

/* cosine[l] = cos(v_hat_l, v_l), with the SAEs of the lab's machine. Host [n_layer]; NaN where
 * either is zero. All prompts of both sets count. `title` is for the progress lines. One pass and
 * one encoding of the last tokens per layer. */
int reconstructed_direction(struct lab *lab, const char *title, const char *harmful,
	const char *harmless, double *cosine, struct err *err);

#endif
