/* SPDX-License-Identifier: MIT
 *
 * sae_unused.c - features that are not finite, where they are allowed. Contract: sae_parts.h.
 * Tests: tests/test_sae.c.
 *
 * A feature is out of use when any of its values is not finite: of its encoder or decoder row,
 * bias, threshold, gain or shift, in the file or as it is kept. It is out of use as a whole,
 * whichever part is read later, so both matrices are gone through here before any is.
 */
#include "host/model/sae_parts.h"

#include "host/base/size.h"
#include "host/base/thread.h"
#include "host/formats/finite.h"
#include "host/model/sae_tensors.h"

#include <stdlib.h>
#include <string.h>

struct search {
	struct sae_tensors tensors;
	enum sae_dtype dtype;
	float *memory;            /* owned: b_dec, and the rows of the blocks */
	struct sae_block *blocks; /* [n_threads], owned */
	uint8_t *unused;          /* [d_sae], owned */
	size_t d_sae;
	_Atomic size_t n_unused;
};

static bool is_finite(const float *values, size_t n, bool rounded)
{
	bool finite = true;

	for (size_t i = 0; i < n; i++) {
		const float kept = rounded ? bf16_to_f32(f32_to_bf16(values[i])) : values[i];
		uint32_t bits;

		memcpy(&bits, &kept, sizeof bits);
		finite &= (bits & 0x7f800000u) != 0x7f800000u;
	}
	return finite;
}

/* Feature k of a block. */
static bool feature_is_finite(const struct sae_block *b, size_t k, size_t d, enum sae_dtype dtype)
{
	const float vectors[] = {b->b_enc[k], b->threshold[k], b->gain[k], b->shift[k]};
	const bool narrow = dtype != SAE_FLOAT32;

	return is_finite(b->W_enc_t + k * d, d, narrow) && is_finite(b->W_dec + k * d, d, narrow) &&
	       is_finite(vectors, 4, dtype == SAE_RELEASED);
}

static int search_open(struct search *s, struct sae_file *file, struct err *err)
{
	const size_t d = file->d_model, rows = SAE_BLOCK * d;
	const size_t n_threads = (size_t)file->n_threads;

	s->memory = malloc((d + 2 * rows * n_threads) * sizeof *s->memory);
	s->blocks = malloc(n_threads * sizeof *s->blocks);
	s->unused = calloc(file->d_sae, sizeof *s->unused);
	if (!s->memory || !s->blocks || !s->unused)
		return err_nomem(err, "blocks of SAE features",
			(d + 2 * rows * n_threads) * sizeof *s->memory);
	for (size_t t = 0; t < n_threads; t++) {
		s->blocks[t].W_enc_t = s->memory + d + 2 * rows * t;
		s->blocks[t].W_dec = s->blocks[t].W_enc_t + rows;
	}
	TRY(file->format->tensors(file, SAE_BOTH, &s->tensors, err));
	TRY(finite_check(&s->tensors.b_dec, file->path, file->n_threads, err));
	sae_tensors_b_dec(&s->tensors, s->memory);
	sae_tensors_walk(&s->tensors, SAE_BOTH, file->n_threads);
	return 0;
fail:
	return err->code;
}

static void search_block(void *context, size_t i, int thread)
{
	struct search *s = context;
	const size_t first = i * SAE_BLOCK, n = size_min(SAE_BLOCK, s->d_sae - first);
	struct sae_block *block = &s->blocks[thread];

	sae_tensors_read(&s->tensors, s->memory, SAE_BOTH, NULL, first, n, block);
	for (size_t k = 0; k < n; k++) {
		s->unused[first + k] = !feature_is_finite(block, k, s->tensors.d_model, s->dtype);
		s->n_unused += s->unused[first + k];
	}
}

int sae_unused_find(struct sae_file *file, enum sae_dtype dtype, struct err *err)
{
	struct search s = {.dtype = dtype, .d_sae = file->d_sae};

	err_clear(err);
	TRY(search_open(&s, file, err));
	threads_run((s.d_sae + SAE_BLOCK - 1) / SAE_BLOCK, file->n_threads, search_block, &s);
	file->n_unused = s.n_unused;
	if (file->n_unused == file->d_sae)
		err_set(err, ERR_INPUT,
			"%s: expected a feature whose values are all finite, found none among %zu",
			file->path, file->d_sae);
	if (file->n_unused > 0) {
		file->unused = s.unused;
		s.unused = NULL;
	}
fail:
	file->format->release(file);
	free(s.memory);
	free(s.blocks);
	free(s.unused);
	return err->code;
}
