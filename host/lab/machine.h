/* SPDX-License-Identifier: MIT
 *
 * machine.h - the device and what is loaded on it: model, tokenizer, SAEs.
 */
#ifndef SAENGINE_MACHINE_H
#define SAENGINE_MACHINE_H

#include "host/base/memory.h"
#include "host/config/config.h"
#include "host/model/model.h"
#include "host/model/model_folder.h"
#include "host/model/readout.h"
#include "host/model/sae.h"
#include "host/text/tokenizer.h"
#include "host/work/ranks.h"

struct machine {
	struct device *dev;
	struct model_folder folder;
	struct model *model;
	const char *tokenizer_folder; /* of the two; its chat template too */
	struct tokenizer *tok;
	struct sae_set *saes; /* NULL when the config names none */
	struct readout readout;
};

/* Opens all of it; nothing is computed. All ranks must be there, and settle what they have in
 * common first (agree.h). Errors: those of the parts. */
int machine_open(struct machine *m, const struct config *config, struct ranks *ranks,
	struct err *err);

/* The end of what ranks read together (weights.h): brings the SAEs when experiments will read them
 * whole, and leaves the others' devices. Errors: ERR_INPUT, ERR_DEVICE, ERR_STOPPED. */
int machine_finish_loading(struct machine *m, bool whole_saes, struct err *err);

/* Accepts a zeroed machine. */
void machine_close(struct machine *m);

/* sae.dtype, where it is auto what the device makes of it. Only m->dev need be there. */
enum sae_dtype machine_sae_dtype(const struct machine *m, const struct config *config);

/* What the config says of its SAEs. Texts borrowed. */
struct sae_options machine_sae_options(const struct machine *m, const struct config *config);

/* What the run may take in all of the memory that its device computes in, what it takes so far
 * included; and what it takes so far: mapped weights count. */
struct memory_left machine_memory(const struct machine *m, const struct config *config);
size_t machine_memory_in_use(const struct machine *m);

/* What whole SAEs may take of so much memory in all: sae.budget_gb, where it is 0 half of what is
 * not in use. */
size_t machine_sae_budget(const struct machine *m, const struct config *config, size_t memory);

#endif
