/* SPDX-License-Identifier: MIT
 *
 * clamp_layers.h - what the plans of clamping share: the features of every layer on the device,
 * and the lists that op_clamp_features reads, filled anew for each batch.
 */
#ifndef SAENGINE_CLAMP_LAYERS_H
#define SAENGINE_CLAMP_LAYERS_H

#include "host/method/features.h"

struct clamp_room {
	size_t lists, entries; /* of all lists */
};

struct clamp_layer {
	struct {
		int32_t *data;
		size_t n, cap;
	} ids; /* a slot is a place in it */
	struct sae_few few;
	void *memory;           /* owned, device: the lists */
	struct clamp_room room; /* in it */
};

struct clamp_layers {
	struct device *dev;
	size_t n;
	struct clamp_layer *layer; /* [n] */
	struct clamp *clamps;      /* [n] for an EDIT_CLAMP; those of empty layers stay zero */
};

/* To be freed also after an error. Errors: memory. */
int clamp_layers_init(struct clamp_layers *layers, struct device *dev, size_t n, struct err *err);

/* Accepts a zeroed struct. */
void clamp_layers_free(struct clamp_layers *layers);

/* Appends a feature to its layer's ids. Errors: ERR_INPUT when there is no such layer. */
int clamp_layers_add(struct clamp_layers *layers, struct feature f, struct err *err);

/* Loads the encoder and decoder rows of all ids. Errors: those of sae_set_select. */
int clamp_layers_select(struct clamp_layers *layers, struct sae_set *saes, struct err *err);

/* Room in layer l for so much: as long as it serves, the lists of one batch after the other are at
 * the same addresses. Errors: device. */
int clamp_layers_reserve(struct clamp_layers *layers, size_t l, struct clamp_room room,
	struct err *err);

/* Makes clamps[l] of lists given on the host as words of four bytes, end to end: start
 * [n_lists + 1], slot [n_entries], and as floats scale [n_entries] and offset [n_entries]. Takes
 * the room that they need. list_of_row: device, borrowed; NULL = a list per sequence. Errors:
 * memory, device. */
int clamp_layers_upload(struct clamp_layers *layers, size_t l, const int32_t *words, size_t n_lists,
	size_t n_entries, const int32_t *list_of_row, struct err *err);

#endif
