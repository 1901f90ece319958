/* SPDX-License-Identifier: MIT
 *
 * golden_model.c - Contract: golden_model.h.
 */
#include "tests/golden_model.h"

#if defined(TEST_EMU) || defined(TEST_CUDA)
#include "kernels/cuda/cuda.h"
#endif

#include <stdio.h>
#include <stdlib.h>

const char *const golden_models[N_GOLDEN_MODELS] = {"gemma2_a", "gemma2_b", "gemma2_c", "gemma3_a",
	"gemma3_b", "gemma3_c", "llama_a", "llama_b", "llama_c", "llama_d", "mistral_a",
	"mistral_b", "mistral_c", "qwen2_a", "qwen2_b", "qwen2_c", "qwen3_a", "qwen3_b", "qwen3_c"};

const char *const golden_sae_models[N_GOLDEN_SAE_MODELS] = {"sae_topk", "sae_gated", "sae_sphere",
	"sae_standardized"};

const struct golden_adapter golden_adapters[N_GOLDEN_ADAPTERS] = {{"list", "llama_a"},
	{"all_linear", "gemma2_b"}, {"pattern", "qwen2_a"}, {"embedding", "gemma3_c"},
	{"layers", "llama_b"}, {"head", "llama_c"}};

static const void *golden_tensor(struct golden *g, const char *name)
{
	const struct file_tensor *t = safetensors_find(g->expected, name);

	if (!t) {
		fprintf(stderr, "%s/expected.safetensors has no %s\n", g->folder, name);
		exit(1);
	}
	return t->data;
}

const int32_t *golden_ints(struct golden *g, const char *name)
{
	return golden_tensor(g, name);
}

const float *golden_floats(struct golden *g, const char *name)
{
	return golden_tensor(g, name);
}

const float *golden_layer(struct golden *g, const char *kind, size_t layer)
{
	char name[64];

	snprintf(name, sizeof name, "%s.%zu", kind, layer);
	return golden_tensor(g, name);
}

/* `adapter`: its folder, or NULL. */
static int open_model(struct golden *g, const char *name, const char *adapter,
	const struct backend *backend)
{
	char path[600];

	*g = (struct golden){.name = name};
#if defined(TEST_EMU) || defined(TEST_CUDA) /* in place of the CPU's kernels */
	if (!backend)
		backend = &cuda_exact_checked_backend;
#endif
	TRY(backend ? device_open_backend(&g->dev, backend, 1, &g->err)
		    : device_open(&g->dev, "cpu", 2, &g->err));
	snprintf(g->folder, sizeof g->folder, "%s/tests/golden/models/%s", test_source_root(),
		name);
	TRY(model_open(&g->model, g->dev, g->folder, &(struct model_options){.adapter = adapter},
		&g->err));
	snprintf(path, sizeof path, "%s/expected.safetensors", adapter ? adapter : g->folder);
	TRY(safetensors_open(&g->expected, path, &g->err));
	g->tokens = golden_ints(g, "tokens");
	g->lengths = golden_ints(g, "lengths");
	g->pair = golden_ints(g, "pair");
	g->n_prompts = safetensors_find(g->expected, "lengths")->shape[0];
	g->n_tokens = safetensors_find(g->expected, "tokens")->shape[0];
	for (size_t p = 0; p < g->n_prompts; p++)
		g->first[p + 1] = g->first[p] + (size_t)g->lengths[p];
	TRY(workspace_create(&g->ws, g->model,
		(struct workspace_size){g->n_tokens, g->n_tokens, true}, &g->err));
	TRY(kv_cache_init(&g->cache, g->model, g->n_tokens + 200, &g->err));
	TRY(batch_init(&g->batch, g->dev, g->n_tokens, MAX_PROMPTS, &g->err));
	fixture_init(&g->f, g->dev, 1);
	return 0;
fail:
	return g->err.code;
}

int golden_open(struct golden *g, const char *name, const struct backend *backend)
{
	return open_model(g, name, NULL, backend);
}

int golden_open_adapted(struct golden *g, const struct golden_adapter *adapter,
	const struct backend *backend)
{
	char folder[512];
	int rc;

	snprintf(folder, sizeof folder, "%s/tests/golden/adapters/%s", test_source_root(),
		adapter->name);
	rc = open_model(g, adapter->base, folder, backend);
	g->name = adapter->name;
	return rc;
}

void golden_close(struct golden *g)
{
	fixture_free(&g->f);
	batch_free(&g->batch);
	kv_cache_free(&g->cache);
	workspace_free(g->ws);
	safetensors_close(g->expected);
	model_close(g->model);
	device_close(g->dev);
}

int pack_all(struct golden *g, size_t n_out)
{
	batch_clear(&g->batch, 0);
	for (size_t p = 0; p < g->n_prompts; p++)
		batch_pack(&g->batch, g->tokens + g->first[p], (size_t)g->lengths[p], n_out,
			(int32_t)p);
	return batch_upload(&g->batch, &g->err);
}

int golden_open_saes(struct golden *g, struct sae_set **saes)
{
	char path[600];
	const bool gemma = strncmp(g->name, "gemma", 5) == 0;
	const struct sae_options options = {.path = path,
		.format = "auto",
		.layer_folder = "",
		.width = gemma ? "24" : "1x",
		.l0 = 7,
		.fold = "authors",
		.budget = 1 << 20};

	snprintf(path, sizeof path, "%s/saes", g->folder);
	return sae_set_open(saes, g->dev, &options, g->model->arch.n_layer, g->model->arch.d_model,
		&g->err);
}
