/* SPDX-License-Identifier: MIT
 *
 * decoder_match.h - which features of one SAE set are features of another: by the cosine of their
 * decoder rows, within a layer.
 */
#ifndef SAENGINE_DECODER_MATCH_H
#define SAENGINE_DECODER_MATCH_H

#include "host/method/features.h"

/* For each feature of `from` (of from_saes), the largest cosine of its decoder row with those of
 * the features of `to` in its layer (in_set, 0 when there is none), and with those of all features
 * of to_saes in its layer (in_sae). Host [from->n]; in_sae may be NULL. */
int decoder_match(size_t d_model, struct sae_set *from_saes, const struct feature_set *from,
	struct sae_set *to_saes, const struct feature_set *to, double *in_set, double *in_sae,
	struct err *err);

#endif
