/* SPDX-License-Identifier: MIT
 *
 * sae_set.c - what an open set of SAEs says of itself. Contract: sae.h. Tests: tests/test_sae.c.
 */
#include "host/model/sae_parts.h"

#include "host/base/file.h"
#include "host/model/sae.h"

#include <stdio.h>

const char *const sae_dtype_names[N_SAE_DTYPES] =
	{[SAE_FLOAT32] = "float32", [SAE_BF16] = "bf16", [SAE_RELEASED] = "released"};

struct site sae_set_reads(const struct sae_set *set, size_t layer)
{
	return set->files[layer].reads;
}

struct site sae_set_writes(const struct sae_set *set, size_t layer)
{
	return set->files[layer].writes;
}

size_t sae_set_layers(const struct sae_set *set)
{
	return set->n_layer;
}

size_t sae_set_width(const struct sae_set *set)
{
	return set->d_sae;
}

bool sae_set_has(const struct sae_set *set, size_t layer)
{
	return set->files[layer].path != NULL;
}

const char *sae_set_format(const struct sae_set *set)
{
	return set->format->name;
}

enum sae_dtype sae_set_dtype(const struct sae_set *set)
{
	return set->dtype;
}

const char *sae_set_path(const struct sae_set *set, size_t layer)
{
	return set->files[layer].path;
}

const char *sae_set_says_site(const struct sae_set *set, size_t layer)
{
	return set->files[layer].said.by;
}

const char *sae_set_says_model(const struct sae_set *set, size_t layer)
{
	return set->files[layer].said.model;
}

bool sae_set_config_path(const struct sae_set *set, size_t layer, char *path, size_t n)
{
	const struct sae_file *file = &set->files[layer];
	char found[SAE_PATH];

	if (!file->path || !set->format->config_name)
		return false;
	sae_config_path(file, found);
	snprintf(path, n, "%s", found);
	return file_exists(found);
}

size_t sae_set_count(const struct sae_set *set)
{
	size_t n = 0;

	for (size_t l = 0; l < set->n_layer; l++)
		n += sae_set_has(set, l);
	return n;
}

bool sae_set_top_k(const struct sae_set *set)
{
	bool any = false;

	for (size_t l = 0; l < set->n_layer; l++)
		any |= set->files[l].top_k > 0;
	return any;
}

bool sae_set_is_unused(const struct sae_set *set, size_t layer, size_t feature)
{
	return set->files[layer].unused && set->files[layer].unused[feature];
}

size_t sae_set_n_unused(const struct sae_set *set, size_t layer)
{
	return set->files[layer].n_unused;
}

double sae_set_claimed_l0(const struct sae_set *set, size_t layer)
{
	return set->files[layer].claimed_l0;
}
