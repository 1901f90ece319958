/* SPDX-License-Identifier: MIT
 *
 * sae_check.h - do the SAEs belong to this model, place and fold? (sae.check)
 */
#ifndef SAENGINE_SAE_CHECK_H
#define SAENGINE_SAE_CHECK_H

#include "host/lab/lab.h"
#include "host/store/dataset.h"

extern const struct dataset_section sae_check_section;

/* Encodes resid_post of up to 32 of the config's prompts, spread evenly over all sets, behind the
 * template's prefix, and per layer with an SAE
 *   L0  = active features per token
 *   FVU = sum |x - x_hat|^2 / sum |x - mean x|^2
 * Prints both, writes /sae_check, and warns where L0 is off by more than a factor 3 from what
 * folder or config claim, or more than half of the variance is unexplained: published SAEs of the
 * residual stream leave 0.1 to 0.35, and their L0 differs by less than 2 between texts.
 * Errors: those of reading SAEs and of passes. */
int sae_check_run(struct lab *lab, struct err *err);

#endif
