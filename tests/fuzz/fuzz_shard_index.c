/* SPDX-License-Identifier: MIT
 *
 * fuzz_shard_index.c - the index of a model's shards. Whatever is accepted names files beside the
 * index and no others, one for every tensor of the document, in its order.
 */
#include "host/formats/safetensors_index.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* The index lists the tensors of its document, all of them and in order. */
static void check_listed(const struct safetensors_index *index)
{
	const char *tensor;
	json_t *map = json_object_get(index->json, "weight_map"), *shard;
	size_t i = 0;

	MUST(index->n == json_object_size(map));
	json_object_foreach(map, tensor, shard)
	{
		const struct safetensors_listed *listed = &index->tensors[i++];

		MUST(strcmp(listed->tensor, tensor) == 0);
		MUST(strlen(listed->shard) == json_string_length(shard));
		MUST(memcmp(listed->shard, json_string_value(shard), json_string_length(shard)) ==
			0);
		MUST(*listed->shard && !strchr(listed->shard, '/') && !strchr(listed->shard, '\\'));
		MUST(!strstr(listed->shard, ".."));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct safetensors_index index = {0};
	struct err err = {0};
	json_t *json;
	int rc = json_parse(&json, "input", size ? (const char *)data : "", size, &err);

	MUST_EXPLAIN(rc, err);
	if (rc)
		return 0;
	rc = safetensors_index_read(&index, json, "input", &err);
	MUST_EXPLAIN(rc, err);
	if (rc == 0)
		check_listed(&index);
	else
		MUST(!index.json && !index.tensors);
	safetensors_index_free(&index);
	return 0;
}
