/* SPDX-License-Identifier: MIT
 *
 * sae_few.c - a few features of a layer's SAE, encoded by themselves or, with top_k, picked from
 * all. Contract: sae.h. Tests: tests/test_sae.c, tests/test_method.c.
 */
#include "host/model/sae.h"
#include "host/model/sae_parts.h"

/* The whole encoder of a layer, beside the few, where only all features tell which are on. */
static int add_encoder(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	struct sae_few *few, struct err *err)
{
	const size_t d_sae = set->files[layer].d_sae;
	size_t bytes;
	void *on_device;

	TRY(sae_set_read(set, layer, NULL, d_sae, SAE_ENCODER, &few->encoder, &few->encoder_memory,
		&bytes, err));
	TRY(device_alloc(set->dev, n * sizeof *ids, &on_device, err));
	few->ids = on_device;
	return device_upload(set->dev, few->ids, ids, n * sizeof *ids, err);
fail:
	return err->code;
}

int sae_set_select(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	struct sae_few *out, struct err *err)
{
	const struct sae_file *file = &set->files[layer];
	size_t bytes;

	*out = (struct sae_few){.dev = set->dev, .scratch = &set->scratch};
	for (size_t k = 0; k < n; k++)
		if (!file->path)
			return err_set(err, ERR_INPUT,
				"feature %d of layer %zu: expected a layer with an SAE, found none",
				ids[k], layer);
		else if (ids[k] < 0 || (size_t)ids[k] >= file->d_sae)
			return err_set(err, ERR_INPUT,
				"%s: expected feature ids below %zu, its width, found %d",
				file->path, file->d_sae, ids[k]);
		else if (sae_set_is_unused(set, layer, (size_t)ids[k]))
			return err_set(err, ERR_INPUT,
				"%s: expected features that are in use, found %d, of which a value is "
				"not finite (sae.allow_nonfinite_unused)",
				file->path, ids[k]);
	TRY(sae_set_read(set, layer, ids, n, SAE_BOTH, &out->weights, &out->memory, &bytes, err));
	if (file->top_k > 0 && n > 0)
		TRY(add_encoder(set, layer, ids, n, out, err));
	return 0;
fail:
	sae_few_free(out);
	return err->code;
}

int sae_few_encode(const struct sae_few *few, struct tensor x, struct tensor f, struct err *err)
{
	struct sparse *all = &few->scratch->sparse;

	if (few->weights.top_k == 0)
		return op_sae_encode_selected(few->dev, &few->weights, x, f, err);
	TRY(sparse_encode(all, &few->encoder, x, err));
	return op_csr_select(few->dev, &all->csr, few->ids, f, err);
fail:
	return err->code;
}

int sae_few_given(const struct sae_few *few, struct tensor x, struct tensor *f, struct err *err)
{
	struct sae_scratch *s = few->scratch;

	*f = (struct tensor){0};
	if (few->weights.top_k == 0)
		return 0;
	f->dtype = device_activation(few->dev);
	f->rows = x.rows;
	f->cols = few->weights.W_enc_t.rows;
	if (tensor_bytes(*f) > s->f_bytes) {
		device_free(few->dev, s->f);
		s->f = NULL;
		s->f_bytes = 0;
		TRY(device_alloc(few->dev, tensor_bytes(*f), &s->f, err));
		s->f_bytes = tensor_bytes(*f);
	}
	f->data = s->f;
	return sae_few_encode(few, x, *f, err);
fail:
	return err->code;
}

static int weights_key(const struct sae_weights *w, struct launch_key *key, struct err *err)
{
	const struct tensor tensors[] = {w->W_enc_t, w->b_enc, w->threshold, w->gain, w->shift,
		w->W_dec, w->b_dec};

	for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
		TRY(launch_key_add_tensor(key, tensors[i], err));
	TRY(launch_key_add(key, w->input, err));
	TRY(launch_key_add(key, w->top_k, err));
	return launch_key_add(key, w->group_width, err);
fail:
	return err->code;
}

int sae_few_key(const struct sae_few *few, struct launch_key *key, struct err *err)
{
	const struct sae_scratch *s = few->scratch;

	TRY(weights_key(&few->weights, key, err));
	if (few->weights.top_k == 0)
		return 0;
	TRY(weights_key(&few->encoder, key, err));
	TRY(launch_key_add_address(key, few->ids, err));
	TRY(launch_key_add_address(key, s->f, err));
	TRY(launch_key_add_address(key, s->sparse.csr.indptr, err));
	TRY(launch_key_add_address(key, s->sparse.csr.indices, err));
	TRY(launch_key_add_tensor(key, s->sparse.csr.values, err));
	return launch_key_add(key, s->sparse.csr.capacity, err);
fail:
	return err->code;
}

void sae_few_free(struct sae_few *few)
{
	if (few->dev) {
		device_free(few->dev, few->memory);
		device_free(few->dev, few->encoder_memory);
		device_free(few->dev, few->ids);
	}
	*few = (struct sae_few){0};
}
