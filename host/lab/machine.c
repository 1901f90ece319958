/* SPDX-License-Identifier: MIT
 *
 * machine.c - Contract: machine.h.
 */
#include "host/lab/machine.h"

#include "host/base/file.h"
#include "host/base/size.h"
#include "host/lab/agree.h"
#include "host/work/weights.h"

#include <stdlib.h>
#include <string.h>

struct memory_left machine_memory(const struct machine *m, const struct config *config)
{
	struct memory_left left = memory_left();

	if (config->memory_gb > 0)
		return (struct memory_left){(size_t)(config->memory_gb * 0x1p30),
			"allowed by memory_gb"};
	if (device_free_memory(m->dev, &left.bytes))
		left.limit = "free on the device and in use by this run";
	left.bytes += size_min(device_allocated(m->dev), SIZE_MAX - left.bytes);
	if (device_is_host(m->dev)) {
		struct memory_left space = memory_left_of_space();

		space.bytes += size_min(machine_memory_in_use(m), SIZE_MAX - space.bytes);
		if (space.bytes < left.bytes)
			return space;
	}
	return left;
}

size_t machine_memory_in_use(const struct machine *m)
{
	return device_allocated(m->dev) +
	       (device_is_host(m->dev) ? m->model->bytes - m->model->merged_bytes : 0);
}

size_t machine_sae_budget(const struct machine *m, const struct config *config, size_t memory)
{
	if (config->sae.budget_gb > 0)
		return (size_t)(config->sae.budget_gb * 0x1p30);
	return (memory - size_min(memory, machine_memory_in_use(m))) / 2;
}

enum sae_dtype machine_sae_dtype(const struct machine *m, const struct config *config)
{
	for (int i = 0; i < N_SAE_DTYPES; i++)
		if (strcmp(config->sae.dtype, sae_dtype_names[i]) == 0)
			return (enum sae_dtype)i;
	return device_rounds_products(m->dev) ? SAE_BF16 : SAE_FLOAT32; /* auto */
}

struct sae_options machine_sae_options(const struct machine *m, const struct config *c)
{
	return (struct sae_options){.path = c->sae.path,
		.place = SITE_RESID_POST,
		.format = c->sae.format,
		.layer_folder = c->sae.layer_folder,
		.width = c->sae.width,
		.l0 = c->sae.l0,
		.fold = c->sae.fold,
		.dtype = machine_sae_dtype(m, c),
		.some_layers = strcmp(c->sae.layers, "found") == 0,
		.allow_unused = c->sae.allow_nonfinite_unused,
		.budget = machine_sae_budget(m, c, machine_memory(m, c).bytes)};
}

static int open_saes(struct machine *m, const struct config *c, struct err *err)
{
	const struct sae_options options = machine_sae_options(m, c);

	if (!*c->sae.path)
		return 0;
	return sae_set_open(&m->saes, m->dev, &options, m->model->arch.n_layer,
		m->model->arch.d_model, err);
}

/* An adapter's own, where it was saved with one; else its base's. */
static const char *find_tokenizer(const struct model_folder *folder)
{
	return folder->adapter && tokenizer_is_in(folder->adapter) ? folder->adapter : folder->base;
}

/* By then all ranks are there, and have the same device. */
static int open_device(struct machine *m, const struct config *c, struct ranks *ranks,
	struct err *err)
{
	const char *sae_dtype = "";
	struct err fault = {0};
	char device[256];

	if (agree_on_settings(ranks, c, device, sizeof device, err))
		return err->code;
	(void)device_open(&m->dev, device, ranks_threads(ranks, (int)c->threads), &fault);
	if (m->dev && *c->sae.path)
		sae_dtype = sae_dtype_names[machine_sae_dtype(m, c)];
	return agree_on_device(ranks, m->dev, sae_dtype, &fault, err);
}

int machine_open(struct machine *m, const struct config *c, struct ranks *ranks, struct err *err)
{
	struct model_options model = {.n_ctx = (size_t)c->model.n_ctx,
		.rope_original_context = c->model.rope_original_context};

	*m = (struct machine){0};
	err_clear(err);
	TRY(open_device(m, c, ranks, err));
	if (c->batch.invariant)
		device_make_invariant(m->dev);
	TRY(weights_join(m->dev, ranks, c, err));
	TRY(model_folder_find(&m->folder, c->model.path, c->model.base, err));
	model.adapter = m->folder.adapter;
	TRY(model_open(&m->model, m->dev, m->folder.base, &model, err));
	m->tokenizer_folder = find_tokenizer(&m->folder);
	TRY(tokenizer_open_folder(&m->tok, m->tokenizer_folder, err));
	TRY(open_saes(m, c, err));
	TRY(readout_init(&m->readout, m->model, err));
fail:
	return err->code;
}

int machine_finish_loading(struct machine *m, bool whole_saes, struct err *err)
{
	if (whole_saes && m->saes && sae_set_load_joined(m->saes, err))
		return err->code;
	return device_leave(m->dev, err);
}

void machine_close(struct machine *m)
{
	sae_set_close(m->saes);
	tokenizer_close(m->tok);
	readout_free(&m->readout);
	model_close(m->model);
	model_folder_free(&m->folder);
	device_close(m->dev);
	*m = (struct machine){0};
}
