/* SPDX-License-Identifier: MIT
 *
 * golden_model.h - the random models of tests/golden/models, open on a device, with what
 * transformers and a literal implementation of the method compute with them. The files' contents:
 * tests/golden/make_models.py.
 */
#ifndef SAENGINE_GOLDEN_MODEL_H
#define SAENGINE_GOLDEN_MODEL_H

#include "host/formats/safetensors.h"
#include "host/model/sae.h"
#include "host/model/transformer.h"
#include "kernels/backend.h"
#include "tests/device_fixture.h"

enum { N_GOLDEN_MODELS = 19, MAX_PROMPTS = 16 };

extern const char *const golden_models[N_GOLDEN_MODELS];

/* Models whose SAEs are top-k, gated or of normed input (tests/golden/make_saes.py). */
enum { N_GOLDEN_SAE_MODELS = 4 };

extern const char *const golden_sae_models[N_GOLDEN_SAE_MODELS];

/* LoRA adapters on some of them (tests/golden/make_adapters.py). */
enum { N_GOLDEN_ADAPTERS = 6 };

extern const struct golden_adapter {
	const char *name, *base;
} golden_adapters[N_GOLDEN_ADAPTERS];

struct golden {
	const char *name;
	char folder[512];
	struct device *dev;
	struct model *model;
	struct safetensors *expected;
	const int32_t *tokens, *lengths, *pair;
	size_t n_prompts, n_tokens;
	size_t first[MAX_PROMPTS + 1]; /* token index where a prompt starts */
	struct workspace *ws;          /* for backward, all prompts at once */
	struct kv_cache cache;
	struct batch batch;
	struct fixture f;
	struct err err;
};

/* backend NULL: the CPU device. Closes nothing on failure; the test ends anyway. */
int golden_open(struct golden *g, const char *name, const struct backend *backend);

/* The same of a model with an adapter on it; what is expected is peft's. */
int golden_open_adapted(struct golden *g, const struct golden_adapter *adapter,
	const struct backend *backend);
/* The SAEs beside it, of 24 features; the caller closes them. Returns the error's code, in g->err.
 */
int golden_open_saes(struct golden *g, struct sae_set **saes);

void golden_close(struct golden *g);

/* A tensor of expected.safetensors; fails the test when it is not there. */
const int32_t *golden_ints(struct golden *g, const char *name);
const float *golden_floats(struct golden *g, const char *name);
const float *golden_layer(struct golden *g, const char *kind, size_t layer);

/* All prompts in one packed batch, uploaded. */
int pack_all(struct golden *g, size_t n_out);

#endif
