/* SPDX-License-Identifier: MIT
 *
 * encode.c - load (c): many rows encoded by all features of an SAE, as sparse rows on the device.
 * Rows are random, of the length that layer 0's residual stream has on average, of which the
 * thresholds are the quantile.
 */
#include "tests/loads/load.h"

#include "host/base/clock.h"
#include "host/model/transfer.h"
#include "tests/loads/random_saes.h"

#include <stdlib.h>
#include <string.h>

struct state {
	struct bench *b;
	const struct load_case *c;
	struct sae_set *saes;
	struct sae_weights sae;
	struct tensor x;
	struct sparse f;
};

static size_t bytes(const struct bench *b, const struct load_case *c)
{
	const size_t d = b->model->arch.d_model;

	/* 256 entries a row: an index and a value each. */
	return random_saes_bytes(d, c->d_sae, c->bf16) +
	       c->prompts * (d * sizeof(float) + 256 * (sizeof(int32_t) + sizeof(float)));
}

static int upload_rows(struct state *s, struct err *err)
{
	const size_t n = s->c->prompts, d = s->b->model->arch.d_model;
	float *x = malloc(n * d * sizeof *x);

	err_clear(err);
	s->x = (struct tensor){NULL, device_activation(s->b->dev), n, d};
	if (!x) {
		err_nomem(err, "rows", n * d * sizeof *x);
		goto fail;
	}
	for (size_t r = 0; r < n; r++)
		memcpy(x + r * d, stretch_from(&s->b->weights, r * d), d * sizeof *x);
	TRY(device_alloc(s->b->dev, tensor_bytes(s->x), &s->x.data, err));
	TRY(upload_floats(s->b->dev, x, s->x, err));
fail:
	free(x);
	return err->code;
}

static int open(struct bench *b, const struct load_case *c, void *state, struct err *err)
{
	struct state *s = state;
	const double deviation = 1;
	const double threshold = random_saes_threshold(&deviation, 1, c->d_sae, 100);

	s->b = b;
	s->c = c;
	s->f.dev = b->dev;
	bench_saes_close(b);
	TRY(random_saes_open(&s->saes, b->dev,
		&(struct random_saes){.n_layer = 1,
			.d_model = b->model->arch.d_model,
			.d_sae = c->d_sae,
			.threshold = &threshold,
			.numbers = &b->features,
			.bf16 = c->bf16,
			.budget = SIZE_MAX},
		err));
	TRY(sae_set_load(s->saes, 0, &s->sae, err));
	return upload_rows(s, err);
fail:
	return err->code;
}

static void close_state(void *state)
{
	struct state *s = state;

	sparse_free(&s->f);
	device_free(s->b->dev, s->x.data);
	sae_set_close(s->saes);
}

static int run(void *state, struct figures *out, struct err *err)
{
	struct state *s = state;
	const double start = clock_seconds();
	int32_t entries;

	TRY(sparse_encode(&s->f, &s->sae, s->x, err));
	TRY(device_download(s->b->dev, &entries, s->f.csr.indptr + s->f.csr.n_rows, sizeof entries,
		err));
	*out = (struct figures){.seconds = clock_seconds() - start, .n = s->x.rows};
	figures_add(out, "weight_bits", 8 * (double)dtype_bytes(s->sae.W_enc_t.dtype));
	figures_add(out, "l0", (double)entries / (double)s->x.rows);
	return bench_check_l0(out->more[1].value, err);
fail:
	return err->code;
}

const struct load load_encode = {'c', "SAE encoding", "row", bytes, sizeof(struct state), open, run,
	close_state};
