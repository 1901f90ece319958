/* SPDX-License-Identifier: MIT
 *
 * transformer_backward.c - gradients with respect to activations, down to a place in every layer.
 * Contract: transformer.h. Tests: tests/test_model.c (against autograd, and by finite differences).
 *
 * No weight gradients: per weight one product dy W, as large as the forward one. Walking down,
 * g is dL/d(residual stream); each branch adds to it what passed through its norm:
 *   g = g + norm'(x_mid) [ gate, up' ( act' ( Wdown' ( post_norm'(g) ) ) ) ]
 *   g = g + norm'(x_in)  [ q, k, v' ( attention' ( Wo' ( post_norm'(g) ) ) ) ]
 * where q' and k' undo rope, then the norm of each head if the model has one, then W.
 */
#include "host/model/transformer_parts.h"

/* The gradient that enters a branch: g itself, or g taken back through Gemma's post norm, as an
 * operand. */
static int enter_branch(struct workspace *ws, struct tensor branch_out, struct tensor norm_weight,
	struct tensor rstd, struct tensor g, struct tensor *entered, struct err *err)
{
	const struct model *m = ws->model;

	*entered = g;
	if (!m->arch.post_norms)
		return 0;
	*entered = tensor_rows(ws->dbranch, 0, g.rows);
	return op_rmsnorm_backward(m->dev, m->arch.norm, branch_out, norm_weight,
		tensor_rows(rstd, 0, g.rows), g, 0, *entered, err);
}

static int mlp_backward(struct workspace *ws, size_t layer, struct tensor g, struct err *err)
{
	const struct model *m = ws->model;
	const struct layer_weights *w = &m->layers[layer];
	const struct block *block = &ws->blocks[layer];
	const size_t n = g.rows;
	const struct slice gate = transformer_gate(ws, block->gate_up, n);
	const struct slice up = transformer_up(ws, block->gate_up, n);
	const struct tensor dact = tensor_rows(ws->dact, 0, n);
	const struct slice dgate = transformer_gate(ws, ws->dgate_up, n);
	const struct slice dup = transformer_up(ws, ws->dgate_up, n);
	const struct tensor dh = tensor_rows(ws->dh, 0, n);
	struct tensor dout;

	TRY(enter_branch(ws, tensor_rows(block->mlp_out, 0, n), w->post_mlp_norm,
		block->rstd_post_mlp, g, &dout, err));
	TRY(op_linear_backward(m->dev, dout, w->down, 0, dact, err));
	TRY(op_gated_backward(m->dev, m->arch.activation, gate, up, dact, dgate, dup, err));
	if (m->has_gate_up) {
		TRY(op_linear_backward(m->dev, dgate.of, w->gate_up, 0, dh, err));
	} else {
		TRY(op_linear_backward(m->dev, dgate.of, w->gate, 0, dh, err));
		TRY(op_linear_backward(m->dev, dup.of, w->up, 1, dh, err));
	}
	return op_rmsnorm_backward(m->dev, m->arch.norm, tensor_rows(block->x_mid, 0, n),
		w->mlp_norm, tensor_rows(block->rstd_mlp, 0, n), dh, 1, g, err);
fail:
	return err->code;
}

/* to[out_row[i]] += from[i], by way of `spare`. */
static int add_out_rows(const struct batch *b, struct tensor from, struct tensor spare,
	struct tensor to, struct err *err)
{
	struct device *dev = b->dev;

	TRY(op_gather_rows(dev, to, b->on_device.out_row, spare, err));
	TRY(op_axpy(dev, 1, from, spare, err));
	return op_scatter_rows(dev, spare, b->on_device.out_row, to, err);
fail:
	return err->code;
}

/* From the gradient of queries or keys to the gradient of h W, in place: rope's, then the norm's.
 */
static int unproject(const struct workspace *ws, size_t layer, struct tensor raw,
	struct tensor norm_weight, struct tensor rstd, const int32_t *pos, struct tensor d,
	struct err *err)
{
	const struct model *m = ws->model;
	const struct rope_table *rope = model_rope(m, layer);
	const size_t hd = m->arch.head_dim, n = d.rows * (d.cols / hd);

	TRY(op_rope(m->dev, hd, -1, rope->cosines, rope->sines, pos, d, err));
	if (m->arch.qk_norm)
		TRY(op_rmsnorm_backward(m->dev, m->arch.norm, tensor_view(raw, n, hd), norm_weight,
			tensor_rows(rstd, 0, n), tensor_view(d, n, hd), 0, tensor_view(d, n, hd),
			err));
	return 0;
fail:
	return err->code;
}

/* dh = [dq dk dv] Wqkv. */
static int projections_backward_at_once(struct workspace *ws, const struct pass *pass, size_t layer,
	struct tensor dq, struct tensor dk, struct tensor dv, struct tensor dh, struct err *err)
{
	const struct model *m = ws->model;
	const struct rope_table *rope = model_rope(m, layer);
	const struct tensor dqkv = tensor_rows(ws->dqkv, 0, dq.rows);
	const struct rope_call call = {.head_dim = m->arch.head_dim,
		.direction = -1,
		.cos_table = rope->cosines,
		.sin_table = rope->sines,
		.pos = pass->batch->on_device.pos,
		.q = tensor_whole(dq),
		.k = tensor_whole(dk),
		.v = tensor_whole(dv),
		.q_out = tensor_slice(dqkv, 0, dq.cols),
		.k_out = tensor_slice(dqkv, dq.cols, dk.cols),
		.v_out = tensor_slice(dqkv, dq.cols + dk.cols, dv.cols)};

	if (op_rope_keys(m->dev, &call, err))
		return err->code;
	return op_linear_backward(m->dev, dqkv, m->layers[layer].qkv, 0, dh, err);
}

/* dh = dk Wk + dv Wv + dq Wq, all rows; dq may be of the out rows only. */
static int projections_backward(struct workspace *ws, const struct pass *pass, size_t layer,
	struct tensor dq, struct tensor dk, struct tensor dv, struct tensor dh, struct err *err)
{
	const struct model *m = ws->model;
	const struct layer_weights *w = &m->layers[layer];
	const struct block *block = &ws->blocks[layer];
	const struct batch *b = pass->batch;
	const bool narrows = transformer_narrows(ws, b, layer);
	const int32_t *pos = narrows ? b->on_device.out_pos : b->on_device.pos;

	if (m->has_qkv && !narrows)
		return projections_backward_at_once(ws, pass, layer, dq, dk, dv, dh, err);
	TRY(unproject(ws, layer, block->q_raw, w->q_norm, block->rstd_q, pos, dq, err));
	TRY(unproject(ws, layer, block->k_raw, w->k_norm, block->rstd_k, b->on_device.pos, dk,
		err));
	TRY(op_linear_backward(m->dev, dk, w->k, 0, dh, err));
	TRY(op_linear_backward(m->dev, dv, w->v, 1, dh, err));
	if (narrows) {
		const struct tensor dh_out = tensor_rows(ws->dh_out, 0, b->n_out);

		TRY(op_linear_backward(m->dev, dq, w->q, 0, dh_out, err));
		return add_out_rows(b, dh_out, tensor_rows(ws->x_out, 0, b->n_out), dh, err);
	}
	return op_linear_backward(m->dev, dq, w->q, 1, dh, err);
fail:
	return err->code;
}

/* On return *g has all rows of the batch: the gradient before the block. */
static int attention_part_backward(struct workspace *ws, const struct pass *pass, size_t layer,
	struct tensor *g, struct err *err)
{
	const struct model *m = ws->model;
	const struct layer_weights *w = &m->layers[layer];
	const struct attention a = transformer_attention(&m->arch, layer);
	const struct keys keys = transformer_keys(pass, layer);
	const struct batch *b = pass->batch;
	const struct block *block = &ws->blocks[layer];
	const bool narrows = transformer_narrows(ws, b, layer);
	const size_t n = g->rows;
	const struct rows rows = narrows ? batch_out_rows(b) : batch_rows(b);
	const struct tensor dattended = tensor_rows(ws->dattended, 0, n);
	const struct tensor dq = tensor_rows(ws->dq, 0, n);
	const struct tensor dk = tensor_rows(ws->k, 0, b->n_rows);
	const struct tensor dv = tensor_rows(ws->v, 0, b->n_rows);
	const struct tensor dh = tensor_rows(ws->dh, 0, b->n_rows);
	struct tensor dout;

	TRY(enter_branch(ws, tensor_rows(block->attention_out, 0, n), w->post_attention_norm,
		block->rstd_post_attention, *g, &dout, err));
	TRY(op_linear_backward(m->dev, dout, w->o, 0, dattended, err));
	TRY(op_attention_backward(m->dev, &a, tensor_rows(block->q, 0, n), rows, &keys,
		tensor_rows(block->attended, 0, n), tensor_rows(block->lse, 0, n), dattended, dq,
		dk, dv, err));
	TRY(projections_backward(ws, pass, layer, dq, dk, dv, dh, err));
	if (narrows) { /* the stream itself continues only through the out rows */
		const struct tensor g_out = tensor_rows(ws->dh_out, 0, n);

		TRY(op_copy(m->dev, *g, g_out, err));
		*g = tensor_rows(ws->g, 0, b->n_rows);
		TRY(op_scale(m->dev, 0, *g, err));
		TRY(op_scatter_rows(m->dev, g_out, b->on_device.out_row, *g, err));
	}
	return op_rmsnorm_backward(m->dev, m->arch.norm, tensor_rows(block->x_in, 0, b->n_rows),
		w->attention_norm, tensor_rows(block->rstd_attention, 0, b->n_rows), dh, 1, *g,
		err);
fail:
	return err->code;
}

int backward(struct workspace *ws, const struct pass *pass, struct tensor dy,
	const struct gradient *gradient, struct err *err)
{
	const struct model *m = ws->model;
	const struct batch *b = pass->batch;
	struct tensor g = tensor_rows(ws->g, 0, ws->n_out);

	if (!ws->size.for_backward || !b->packed)
		return err_set(err, ERR_INTERNAL,
			"backward: expected a workspace for backward and a packed batch");
	TRY(op_rmsnorm_backward(m->dev, m->arch.norm, tensor_rows(ws->x_last, 0, ws->n_out),
		m->final_norm, tensor_rows(ws->rstd_final, 0, ws->n_out), dy, 0, g, err));
	for (size_t l = m->arch.n_layer; l-- > 0;) {
		const struct site site = {l, SITE_RESID_POST};

		if (gradient->place == site.place)
			TRY(op_axpy(m->dev, gradient->weight, g, gradient->out[l], err));
		if (l == 0)
			break; /* nothing below the first resid_post is asked for */
		TRY(edits_backward(m->dev, pass->edits, pass->n_edits, site, g, err));
		TRY(mlp_backward(ws, l, g, err));
		TRY(attention_part_backward(ws, pass, l, &g, err));
	}
	return 0;
fail:
	return err->code;
}
