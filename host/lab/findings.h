/* SPDX-License-Identifier: MIT
 *
 * findings.h - feature sets in result files: written by one run, read by the next.
 *
 *   /feature_sets/METHOD/global/{layer,feature,cosine,score}   [rank], best first
 *   /feature_sets/METHOD/local/{layer,feature,score}           [prompt, rank]; -1 and NaN beyond
 *                                                              the end of a shorter set
 *   /feature_sets/{refusal,harm}/global/...                    roles, likewise
 */
#ifndef SAENGINE_FINDINGS_H
#define SAENGINE_FINDINGS_H

#include "host/lab/lab.h"

/* Writes lab->sets[method]; local sets of `prompts` in that order. */
int findings_write_sets(struct lab *lab, enum method method, const struct prompt_ids *prompts,
	struct err *err);

/* Writes lab->roles, empty ones left out, as /feature_sets/{refusal,harm}/global. */
int findings_write_roles(struct lab *lab, struct err *err);

#endif
