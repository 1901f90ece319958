/* SPDX-License-Identifier: MIT
 *
 * layout.h - which tensors a checkpoint of an architecture has: names, shapes, and where they go.
 * Tests: tests/test_model.c, tests/test_weights.c.
 */
#ifndef SAENGINE_LAYOUT_H
#define SAENGINE_LAYOUT_H

#include "host/model/arch.h"

struct file_tensor;
struct safetensors_folder;

/* Matrices are weights in the type of the checkpoint, [out, in]; norms are vectors. */
struct layer_weights {
	struct tensor attention_norm, q, k, v, o;
	struct tensor q_bias, k_bias, v_bias,
		o_bias;                    /* vectors; absent unless the family has them */
	struct tensor q_norm, k_norm;      /* [head_dim]; absent likewise */
	struct tensor post_attention_norm; /* Gemma only */
	struct tensor mlp_norm, gate, up, down;
	struct tensor post_mlp_norm; /* Gemma only */
	/* Rows of q, k and v, and their biases; of gate and up: one behind the other, so that one
	 * product does for all. Absent where they lie apart (model.h). */
	struct tensor qkv, qkv_bias, gate_up;
};

/* Where a model's tensors come from: a checkpoint's files, or what a benchmark makes up. */
struct tensor_source {
	/* The tensor of that name, NULL where there is none, borrowed until the next call; its data
	 * for as long as the model lives. rows and cols are the shape that the architecture wants
	 * (rows 1: a vector), for sources that make tensors to measure; what comes is checked. */
	const struct file_tensor *(*find)(void *context, const char *name, size_t rows,
		size_t cols);
	void *context; /* borrowed */
};

enum part { MATRIX, VECTOR };

/* One tensor of a layer: its name in the file and where it goes. Llama's
 * post_attention_layernorm is the norm before the MLP; Gemma's is the one after attention. */
struct binding {
	const char *name;
	size_t field; /* offset in struct layer_weights */
	enum part part;
	size_t rows, cols; /* VECTOR: rows 1 */
};

enum { MAX_BINDINGS = 24 };

size_t layer_bindings(const struct arch *arch, struct binding out[MAX_BINDINGS]);

/* A checkpoint's files as a source, for as long as they are open. */
struct tensor_source layout_files(const struct safetensors_folder *files);

/* What stands before "embed_tokens.weight" and the like: multimodal exports put more there. */
const char *layout_prefix(const struct arch *arch, const struct tensor_source *source);

/* The unembedding is beside the model, not in it. */
const char *layout_head(const struct arch *arch, const struct tensor_source *source);

/* Looks at every tensor of the files that is none of the model's. One of a layer that the model
 * does not have is ERR_INPUT: config.json and file disagree on the number of layers. The others are
 * counted, and the first named: "12: a, b, c, ..."; "" = none. */
int layout_unused(const struct arch *arch, const struct safetensors_folder *files, char *out,
	size_t size, struct err *err);

#endif
