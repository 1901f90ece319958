/* SPDX-License-Identifier: MIT
 *
 * small_model.c - Contract: small_model.h.
 */
#include "tests/small_model.h"

#include "tests/spoil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *small_folder(const char *name)
{
	static char paths[64][256];
	static size_t n;
	char *path = paths[n++ % 64];

	snprintf(path, 256, "%s/%s", test_scratch_folder(), name);
	mkdir(path, 0777);
	return path;
}

static FILE *begin(const char *folder, const char *file)
{
	char path[512];
	FILE *out;

	snprintf(path, sizeof path, "%s/%s", folder, file);
	out = fopen(path, "wb");
	if (!out) {
		perror(path);
		exit(1);
	}
	return out;
}

void small_write_text(const char *folder, const char *file, const char *text)
{
	FILE *out = begin(folder, file);

	fputs(text, out);
	fclose(out);
}

static size_t count(const struct small_tensor *t)
{
	return (t->rows ? t->rows : 1) * t->cols;
}

static void write_tensors(const char *folder, const char *file, enum dtype dtype,
	const struct small_tensor *tensors, size_t n)
{
	FILE *out = begin(folder, file), *memory;
	char *header = NULL;
	size_t length = 0, at = 0;
	const size_t width = dtype_bytes(dtype);
	const char *type = dtype == DTYPE_BF16 ? "BF16" : dtype == DTYPE_F16 ? "F16" : "F32";
	uint64_t bytes;

	memory = open_memstream(&header, &length);
	for (size_t i = 0; i < n; i++) {
		const struct small_tensor *t = &tensors[i];

		fprintf(memory, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "{", t->name,
			type);
		if (t->rows)
			fprintf(memory, "%zu,", t->rows);
		fprintf(memory, "%zu],\"data_offsets\":[%zu,%zu]}", t->cols, at,
			at + width * count(t));
		at += width * count(t);
	}
	fputs(n ? "}" : "{}", memory);
	fclose(memory);
	bytes = length;
	fwrite(&bytes, 8, 1, out);
	fwrite(header, 1, length, out);
	free(header);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < count(&tensors[i]); k++) {
			unsigned char value[8];

			fwrite(value, spoil_encode(dtype, tensors[i].first + (float)k / 64, value),
				1, out);
		}
	fclose(out);
}

void small_write_tensors(const char *folder, const char *file, const struct small_tensor *tensors,
	size_t n)
{
	write_tensors(folder, file, DTYPE_F32, tensors, n);
}

void small_write_model_in(const char *folder, enum dtype dtype, const char *more,
	const struct small_tensor *tensors, size_t n)
{
	static const struct {
		const char *name;
		size_t rows;
	} parts[] = {{"input_layernorm", 0}, {"self_attn.q_proj", SMALL_WIDTH},
		{"self_attn.k_proj", SMALL_WIDTH}, {"self_attn.v_proj", SMALL_WIDTH},
		{"self_attn.o_proj", SMALL_WIDTH}, {"mlp.gate_proj", SMALL_WIDTH},
		{"mlp.up_proj", SMALL_WIDTH}, {"mlp.down_proj", SMALL_WIDTH},
		{"post_attention_layernorm", 0}};
	struct small_tensor all[SMALL_TENSORS + 16];
	char names[SMALL_TENSORS][96], config[1024];
	size_t k = 0;

	snprintf(config, sizeof config,
		"{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":8,"
		"\"num_attention_heads\":2,\"num_hidden_layers\":2,\"vocab_size\":5,"
		"\"max_position_embeddings\":16%s}",
		more);
	small_write_text(folder, "config.json", config);
	all[k++] = (struct small_tensor){"model.embed_tokens.weight", SMALL_VOCAB, SMALL_WIDTH, 1};
	all[k++] = (struct small_tensor){"model.norm.weight", 0, SMALL_WIDTH, 1};
	for (size_t l = 0; l < SMALL_LAYERS; l++)
		for (size_t i = 0; i < sizeof parts / sizeof *parts; i++, k++) {
			snprintf(names[k], sizeof names[k], "model.layers.%zu.%s.weight", l,
				parts[i].name);
			all[k] = (struct small_tensor){names[k], parts[i].rows, SMALL_WIDTH,
				(float)k};
		}
	for (size_t i = 0; i < n; i++)
		all[k++] = tensors[i];
	write_tensors(folder, "model.safetensors", dtype, all, k);
}

void small_write_model(const char *folder, const char *more, const struct small_tensor *tensors,
	size_t n)
{
	small_write_model_in(folder, DTYPE_F32, more, tensors, n);
}

int small_open(struct model **model, struct device **dev, const char *folder, const char *adapter,
	struct err *err)
{
	*model = NULL;
	*err = (struct err){0};
	if (device_open(dev, "cpu", 1, err))
		return err->code;
	return model_open(model, *dev, folder, &(struct model_options){.adapter = adapter}, err);
}
