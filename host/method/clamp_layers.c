/* SPDX-License-Identifier: MIT
 *
 * clamp_layers.c - Contract: clamp_layers.h. Tests: tests/test_method.c.
 */
#include "host/method/clamp_layers.h"

#include "host/base/size.h"
#include "host/base/vec.h"

int clamp_layers_init(struct clamp_layers *layers, struct device *dev, size_t n, struct err *err)
{
	*layers = (struct clamp_layers){.dev = dev, .n = n};
	layers->layer = calloc(n, sizeof *layers->layer);
	layers->clamps = calloc(n, sizeof *layers->clamps);
	if (!layers->layer || !layers->clamps)
		return err_nomem(err, "a clamp", n * sizeof *layers->layer);
	return 0;
}

void clamp_layers_free(struct clamp_layers *layers)
{
	for (size_t l = 0; layers->layer && l < layers->n; l++) {
		free(layers->layer[l].ids.data);
		sae_few_free(&layers->layer[l].few);
		device_free(layers->dev, layers->layer[l].memory);
	}
	free(layers->layer);
	free(layers->clamps);
	*layers = (struct clamp_layers){0};
}

int clamp_layers_add(struct clamp_layers *layers, struct feature f, struct err *err)
{
	if (f.layer < 0 || (size_t)f.layer >= layers->n)
		return err_set(err, ERR_INPUT, "feature %d of layer %d: expected a layer below %zu",
			f.id, f.layer, layers->n);
	return vec_push(&layers->layer[f.layer].ids, f.id, err);
}

int clamp_layers_select(struct clamp_layers *layers, struct sae_set *saes, struct err *err)
{
	for (size_t l = 0; l < layers->n; l++) {
		struct clamp_layer *layer = &layers->layer[l];

		if (layer->ids.n > 0)
			TRY(sae_set_select(saes, l, layer->ids.data, layer->ids.n, &layer->few,
				err));
	}
	return 0;
fail:
	return err->code;
}

int clamp_layers_reserve(struct clamp_layers *layers, size_t l, struct clamp_room room,
	struct err *err)
{
	struct clamp_layer *layer = &layers->layer[l];

	if (room.lists <= layer->room.lists && room.entries <= layer->room.entries)
		return 0;
	room.lists = size_max(room.lists, layer->room.lists);
	room.entries = size_max(room.entries, layer->room.entries);
	device_free(layers->dev, layer->memory);
	layer->memory = NULL;
	layer->room = (struct clamp_room){0};
	if (device_alloc(layers->dev, (room.lists + 1 + 3 * room.entries) * sizeof(int32_t),
		    &layer->memory, err))
		return err->code;
	layer->room = room;
	return 0;
}

int clamp_layers_upload(struct clamp_layers *layers, size_t l, const int32_t *words, size_t n_lists,
	size_t n_entries, const int32_t *list_of_row, struct err *err)
{
	struct clamp_layer *layer = &layers->layer[l];
	struct device *dev = layers->dev;
	const int32_t *entries = words + n_lists + 1;
	const size_t bytes = n_entries * sizeof *words;
	int32_t *start, *slot;
	float *scale, *offset;

	TRY(clamp_layers_reserve(layers, l, (struct clamp_room){n_lists, n_entries}, err));
	start = layer->memory;
	slot = start + layer->room.lists + 1;
	scale = (float *)(slot + layer->room.entries);
	offset = scale + layer->room.entries;
	TRY(device_upload(dev, start, words, (n_lists + 1) * sizeof *words, err));
	TRY(device_upload(dev, slot, entries, bytes, err));
	TRY(device_upload(dev, scale, entries + n_entries, bytes, err));
	TRY(device_upload(dev, offset, entries + 2 * n_entries, bytes, err));
	layers->clamps[l] = (struct clamp){.few = &layer->few,
		.lists = {n_lists, start, slot, scale, offset},
		.n_entries = n_entries,
		.list_of_row = list_of_row};
	return 0;
fail:
	return err->code;
}
