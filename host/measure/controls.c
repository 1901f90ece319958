/* SPDX-License-Identifier: MIT
 *
 * controls.c - Contract: controls.h.
 */
#include "host/measure/controls.h"

#include <stdlib.h>
#include <string.h>

int controls_draw(const struct lab *lab, const struct feature_set *like,
	const struct feature_set *avoid, const uint8_t *alive, size_t n_draws,
	struct feature_set *draws, struct err *err)
{
	const size_t n_layer = lab->machine->model->arch.n_layer,
		     d_sae = sae_set_width(lab->machine->saes);
	uint8_t *allowed = malloc(n_layer * d_sae);

	err_clear(err);
	if (!allowed)
		return err_nomem(err, "random features", n_layer * d_sae);
	memcpy(allowed, alive, n_layer * d_sae);
	for (size_t i = 0; avoid && i < avoid->n; i++)
		allowed[(size_t)avoid->data[i].layer * d_sae + (size_t)avoid->data[i].id] = 0;
	for (size_t k = 0; k < n_draws; k++)
		TRY(feature_set_random(&draws[k], like, allowed, n_layer, d_sae,
			(uint64_t)lab->config->seed + k, err));
fail:
	free(allowed);
	return err->code;
}
