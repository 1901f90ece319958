/* SPDX-License-Identifier: MIT
 *
 * adapter.h - a LoRA adapter as peft saves it, adapter_config.json and adapter_model.safetensors:
 * which tensors of a model it changes, and how.
 *
 *   y = W x + s B (A x) = (W + s B A) x,   s = alpha / r, or alpha / sqrt(r) with use_rslora
 *
 * The changed matrix is made once, at load, in float32, and kept so: rounded to a checkpoint's
 * bfloat16 it would lose what is smaller than 1/256 of W, which the product of the two, as peft
 * computes it while an adapter is not merged, does not lose. Tests: tests/test_adapter.c, against
 * peft.
 */
#ifndef SAENGINE_ADAPTER_H
#define SAENGINE_ADAPTER_H

#include "host/base/err.h"
#include "host/formats/file_tensor.h"
#include "host/model/module_pattern.h"

struct adapter;

struct adapter_change {
	const struct file_tensor *whole; /* in place of the base's tensor; NULL = none */
	bool declared;                   /* else `whole` may only repeat the base's */
	const struct file_tensor *a,
		*b; /* linear: A [r, cols], B [rows, r]; of the embedding, lying
		     * the other way: A [r, rows], B [cols, r]; NULL = none */
	double scale;
};

/* Whether the folder has an adapter_config.json. */
bool adapter_exists(const char *folder);

/* base_model_name_or_path of the folder's adapter, for the caller to free; NULL where it names
 * none. Errors: ERR_INPUT. */
int adapter_base(const char *folder, char **base, struct err *err);

/* *out is owned, close it. Errors: ERR_INPUT: another kind than LoRA, and what of LoRA is not done
 * or not known (DoRA, biases of B, initialisations that change the base, ...), by its key. */
int adapter_open(struct adapter **out, const char *folder, struct err *err);

/* Accepts NULL. */
void adapter_close(struct adapter *adapter);

/* What is done to a tensor [rows, cols] (a vector: rows 1) of the language model, whose name is
 * without what stands before "layers", "embed_tokens", "lm_head", "norm":
 * "layers.3.mlp.up_proj.weight". Tensors of *out are borrowed from the adapter. Errors: ERR_INPUT:
 * config and file disagree on whether the module is changed; shapes. */
int adapter_find(struct adapter *adapter, const char *name, enum module_kind kind, size_t rows,
	size_t cols, struct adapter_change *out, struct err *err);

/* When all tensors of the model have been asked for: ERR_INPUT if the adapter has one for none of
 * them, or names a module that it does not have. A vision tower's do not count. */
int adapter_check_used(const struct adapter *adapter, struct err *err);

/* out [rows, cols] = W + scale B A in float32; W is F32, BF16 or F16. Errors: ERR_DEVICE. */
int adapter_merge(const struct file_tensor *w, const struct adapter_change *change,
	enum module_kind kind, int n_threads, float *out, struct err *err);

/* "LoRA of r 16, alpha 32, scale 2: 224 matrices changed, 2 replaced": after adapter_check_used. */
void adapter_describe(const struct adapter *adapter, char *out, size_t size);

/* The two files, for provenance; borrowed. */
const char *adapter_config_path(const struct adapter *adapter);
const char *adapter_weights_path(const struct adapter *adapter);

/* Whether both of a model's tied matrices are to be changed alike (ensure_weight_tying). */
bool adapter_ties(const struct adapter *adapter);

#endif
