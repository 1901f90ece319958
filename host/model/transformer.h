/* SPDX-License-Identifier: MIT
 *
 * transformer.h - one pass of a batch through a model, forward and back to the sites of its layers.
 *
 * The model is immutable; a workspace holds the scratch of one pass at a time, a key-value cache
 * what sequences have left behind. Nothing is allocated during a pass.
 */
#ifndef SAENGINE_TRANSFORMER_H
#define SAENGINE_TRANSFORMER_H

#include "host/model/edits.h"
#include "host/model/model.h"

/* Keys and values of every layer, operands [n_rows, n_kv_head * head_dim] each. Also the form in
 * which a shared prefix is kept. */
struct kv_cache {
	struct device *dev;
	size_t n_rows;
	struct tensor *k, *v; /* [n_layer] */
	void *memory;         /* owned, device */
};

int kv_cache_init(struct kv_cache *cache, const struct model *m, size_t n_rows, struct err *err);
size_t kv_cache_bytes(const struct model *m, size_t n_rows);

/* Accepts a zeroed cache. */
void kv_cache_free(struct kv_cache *cache);

struct workspace;

struct workspace_size {
	size_t rows;       /* most rows of a pass */
	size_t out;        /* most out rows */
	bool for_backward; /* keeps what backward reads */
};

/* *out is owned, free it. Errors: ERR_DEVICE. */
int workspace_create(struct workspace **out, const struct model *m, struct workspace_size size,
	struct err *err);
size_t workspace_bytes(const struct model *m, struct workspace_size size);

/* Accepts NULL. */
void workspace_free(struct workspace *ws);

/* What a pass computes. All borrowed; the batch is uploaded. */
struct pass {
	const struct batch *batch;
	struct kv_cache *cache;        /* receives keys and values of the batch's rows */
	const struct kv_cache *prefix; /* keys of positions below batch->n_prefix; NULL if 0 */
	const struct edit *edits;
	size_t n_edits;
	const struct tap *taps;
	size_t n_taps;
};

/* Runs all blocks. Afterwards workspace_out is valid.
 * Errors: ERR_DEVICE with layer, sequence label and position when the residual stream or the final
 * norm is not finite; whatever the ops report. */
int forward(struct workspace *ws, const struct pass *pass, struct err *err);

/* What forward_start begins with; to be asked also before a recorded pass is replayed. The batch on
 * the host tells. Errors: ERR_INPUT for a prompt beyond the context or a token that the model
 * lacks; ERR_INTERNAL for a batch that does not fit. */
int forward_check(const struct workspace *ws, const struct pass *pass, struct err *err);

/* The two halves of forward: asking for everything, which may be recorded (device_graph_begin) when
 * an equal pass has run before, and then never waits for the device; and waiting for it and
 * reporting what is not finite. With `next` [n_out] given, what stands in workspace_next comes to
 * the host in the same transfer; a number below 0 there is a row whose logits are not finite
 * (op_argmax), and an error likewise. */
int forward_start(struct workspace *ws, const struct pass *pass, struct err *err);
int forward_finish(struct workspace *ws, const struct batch *batch, int32_t *next, struct err *err);

/* Room for one number per out row, in device memory. */
int32_t *workspace_next(const struct workspace *ws);

/* The final norm of the out rows, [n_out, d_model], until the next forward. Unembedding it
 * (readout.h) gives logits. */
struct tensor workspace_out(const struct workspace *ws);

/* Where backward leaves gradients: out[l] += weight dL/dx, x at `place` of layer l after its edits,
 * for every l. out: [n_layer] tensors with the rows of the pass in that layer (all; in the last
 * layer the out rows). Borrowed. */
struct gradient {
	enum site_place place;
	const struct tensor *out;
	double weight;
};

/* Gradients with respect to activations only, of the last forward of a workspace for backward,
 * given dy = dL/d(workspace_out). The pass must be packed; dy is consumed. Weights receive no
 * gradient, the prefix none either: it lies before every row. */
int backward(struct workspace *ws, const struct pass *pass, struct tensor dy,
	const struct gradient *gradient, struct err *err);

/* Runs n prefix tokens through the model under the given edits, leaving their keys and values in
 * `prefix`, which must have n rows. Taps and mix targets have no rows in the last layer, of which
 * only keys and values are computed. */
int prefix_run(struct workspace *ws, const int32_t *tokens, size_t n, const struct edit *edits,
	size_t n_edits, const struct tap *taps, size_t n_taps, struct kv_cache *prefix,
	struct err *err);

#endif
