/* SPDX-License-Identifier: MIT
 *
 * arch.h - the facts that distinguish one transformer from another, read from config.json. The
 * transformer itself (transformer.h) is one piece of code that follows them.
 */
#ifndef SAENGINE_ARCH_H
#define SAENGINE_ARCH_H

#include "host/base/err.h"
#include "host/model/rope.h"
#include "kernels/ops.h"

enum { ARCH_MAX_LAYERS = 128 };

/* Gemma 3 turns the heads of its windowed layers by other angles. */
enum arch_rope { ARCH_ROPE_GLOBAL, ARCH_ROPE_LOCAL, ARCH_N_ROPES };

struct arch {
	char model_type[32]; /* "gemma2", "llama", ... */
	size_t n_layer, d_model, n_head, n_kv_head, head_dim, d_ff, n_vocab;
	size_t max_position;

	struct norm norm; /* eps, and whether the weight is 1 + w */
	bool post_norms;  /* Gemma: norms also after attention and MLP, before adding */
	bool qk_norm;     /* each head's q and k normalised before rope */
	bool qkv_bias, o_bias;
	enum activation activation;
	bool scale_embedding;           /* by sqrt(d_model) */
	bool tied_embedding;            /* declared: the unembedding is the embedding */
	double attention_scale;         /* of q.k */
	double attention_softcap;       /* 0 = none */
	double final_softcap;           /* 0 = none */
	size_t window[ARCH_MAX_LAYERS]; /* per layer; 0 = sees everything before it */
	struct rope rope[ARCH_N_ROPES];
	enum arch_rope rope_of[ARCH_MAX_LAYERS];
	char unread_keys[256]; /* of config.json, that the family's code does not read either */
};

/* Reads FOLDER/config.json. `rope_original_context`, when not 0, replaces the value of a llama3
 * scaling (the released code's library computed with 2048). Errors: ERR_INPUT naming file and
 * key; an architecture that is not supported, with the list of those that are; quantized weights,
 * by their kind, wherever the folder declares them. */
int arch_read(struct arch *arch, const char *folder, double rope_original_context, struct err *err);

/* The same over the n bytes of a config; `name` is for messages. */
int arch_parse(struct arch *arch, const char *name, const char *bytes, size_t n,
	double rope_original_context, struct err *err);

#endif
