/* SPDX-License-Identifier: MIT
 *
 * ties.h - decisions that rounding alone could turn round: how far it moves what they are made by,
 * and the lines that say how many there are.
 *
 * Sums of another batch size have another order, so the last bits of all results hang on it. What
 * is chosen by numbers that differ by less could have been chosen otherwise, and the run says so.
 * With batch.invariant nothing moves, and nothing is said; what the result file holds of it counts
 * all the same, since another processor rounds otherwise.
 */
#ifndef SAENGINE_TIES_H
#define SAENGINE_TIES_H

#include "host/lab/lab.h"
#include "host/method/features.h"

/* One line, by printf's format, of `n` decisions that hang on rounding; none where n is 0. */
void ties_tell(const struct lab *lab, size_t n, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Of the cosine of a decoder row and the direction: 2^-20. An activation is off by some 2^-19 of
 * itself, which the mean over prompts makes smaller, and the subtraction of two means larger, by
 * their length over the direction's; of what turns the direction one row sees a share of
 * 1 / sqrt(d_model). On the small models other batches, threads and levels of instructions move a
 * cosine by 6e-8, which is 2^-24; by 6e-7 in the one layer whose direction is short beside the
 * means. Where products round to bfloat16 2^-12, by argument: 2^-9 of activations, four times
 * as long as the direction, over the roots of 100 prompts and of 1000 components, are 2^-15. */
struct score_noise ties_of_cosine(const struct lab *lab);

/* Of mean effects and activations of all features, next to the least that is chosen: 2^-15 of them.
 * On the small models other batches and levels of instructions move those of one prompt by 2e-5,
 * means over prompts by 1e-6. Where products round to bfloat16 2^-6: ten steps of 2^-9. Of
 * candidates more is known: effects.h. */
struct score_noise ties_of_effect(const struct lab *lab);

/* Whether a lead in logits is below readout_noise (readout.h); how many of n are. */
bool ties_is_narrow(const struct lab *lab, double lead);
size_t ties_count_leads(const struct lab *lab, const float *lead, size_t n);

/* The line on targets: tokens j of the metric that are the most probable ones of a run. */
void ties_tell_targets(const struct lab *lab, const char *who, const float *lead, size_t n);

#endif
