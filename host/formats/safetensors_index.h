/* SPDX-License-Identifier: MIT
 *
 * safetensors_index.h - model.safetensors.index.json: which shard of a model holds which tensor.
 * Internal to host/formats; users include safetensors.h.
 */
#ifndef SAENGINE_SAFETENSORS_INDEX_H
#define SAENGINE_SAFETENSORS_INDEX_H

#include "host/formats/json.h"

struct safetensors_index {
	struct safetensors_listed {
		const char *tensor;
		const char *shard; /* a plain file name: no folder, no ".." */
	} * tensors;               /* [n], owned; texts borrowed from json */
	size_t n;
	json_t *json; /* owned */
};

/* Takes the document over, also when it fails; `path` is for messages. Errors: ERR_INPUT naming
 * file and tensor. */
int safetensors_index_read(struct safetensors_index *index, json_t *json, const char *path,
	struct err *err);

/* Accepts a zeroed index. */
void safetensors_index_free(struct safetensors_index *index);

#endif
