/* SPDX-License-Identifier: MIT
 *
 * controls.h - random sets of features to hold a chosen set against: as many in each layer, among
 * features that occur on the prompts, drawn many times.
 */
#ifndef SAENGINE_CONTROLS_H
#define SAENGINE_CONTROLS_H

#include "host/lab/lab.h"
#include "host/method/features.h"

/* draws: n_draws sets like `like`, none of whose features is in `like` or in `avoid` (may be
 * NULL). Draw i depends on config seed + i and the arguments alone. alive: host [n_layer, d_sae],
 * whether a feature occurs. The caller frees each with free(draws[i].data). Errors: memory. */
int controls_draw(const struct lab *lab, const struct feature_set *like,
	const struct feature_set *avoid, const uint8_t *alive, size_t n_draws,
	struct feature_set *draws, struct err *err);

#endif
