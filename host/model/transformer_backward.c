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

/* What leaves a branch: where its output and its norm are, and where the gradient that enters it on
 * the way back goes; nowhere if that is g itself. */
static void set_branch(const struct workspace *ws, struct branch_end_back *end,
	struct tensor branch, struct tensor norm_weight, struct tensor rstd)
{
	const struct model *m = ws->model;
	const size_t n = end->g.rows;

	if (!m->arch.post_norms && m->operand == device_activation(m->dev))
		return;
	end->dbranch = tensor_rows(ws->dbranch, 0, n);
	if (!m->arch.post_norms)
		return;
	end->branch = tensor_rows(branch, 0, n);
	end->w_branch = norm_weight;
	end->rstd_branch = tensor_rows(rstd, 0, n);
}

/* The gradient that enters the branch. */
static struct tensor entered(const struct branch_end_back *end)
{
	return end->dbranch.data ? end->dbranch : end->g;
}

/* From the gradient that enters the branch to dh. */
static int mlp_backward(struct workspace *ws, size_t layer, struct tensor dout, struct err *err)
{
	const struct model *m = ws->model;
	const struct layer_weights *w = &m->layers[layer];
	const struct block *block = &ws->blocks[layer];
	const size_t n = dout.rows;
	const struct slice gate = transformer_gate(ws, block->gate_up, n);
	const struct slice up = transformer_up(ws, block->gate_up, n);
	const struct tensor dact = tensor_rows(ws->dact, 0, n);
	const struct slice dgate = transformer_gate(ws, ws->dgate_up, n);
	const struct slice dup = transformer_up(ws, ws->dgate_up, n);
	const struct tensor dh = tensor_rows(ws->dh, 0, n);

	TRY(op_linear_backward(m->dev, dout, w->down, 0, dact, err));
	TRY(op_gated_backward(m->dev, m->arch.activation, gate, up, dact, dgate, dup, err));
	if (m->has_gate_up)
		return op_linear_backward(m->dev, dgate.of, w->gate_up, 0, dh, err);
	TRY(op_linear_backward(m->dev, dgate.of, w->gate, 0, dh, err));
	return op_linear_backward(m->dev, dup.of, w->up, 1, dh, err);
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

/* From the gradient that enters the branch to dh, of all rows; on return *g, that of the stream,
 * has them too. */
static int attention_part_backward(struct workspace *ws, const struct pass *pass, size_t layer,
	struct tensor dout, struct tensor *g, struct err *err)
{
	const struct model *m = ws->model;
	const struct attention a = transformer_attention(&m->arch, layer);
	const struct keys keys = transformer_keys(pass, layer);
	const struct batch *b = pass->batch;
	const struct block *block = &ws->blocks[layer];
	const bool narrows = transformer_narrows(ws, b, layer);
	const size_t n = dout.rows;
	const struct rows rows = narrows ? batch_out_rows(b) : batch_rows(b);
	const struct tensor dattended = tensor_rows(ws->dattended, 0, n);
	const struct tensor dq = tensor_rows(ws->dq, 0, n);
	const struct tensor dk = tensor_rows(ws->k, 0, b->n_rows);
	const struct tensor dv = tensor_rows(ws->v, 0, b->n_rows);
	const struct tensor dh = tensor_rows(ws->dh, 0, b->n_rows);

	TRY(op_linear_backward(m->dev, dout, m->layers[layer].o, 0, dattended, err));
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
	return 0;
fail:
	return err->code;
}

/* ---- between branches ------------------------------------------------------------------- */

/* At resid_post of a layer, from what stands behind it to its MLP's branch. Edits whose way back is
 * more than a factor come between the two halves. */
static int leave_site(const struct pass *pass, const struct gradient *gradient, struct site site,
	struct branch_end_back *end, struct err *err)
{
	struct device *dev = pass->batch->dev;
	struct branch_end_back behind = *end, before = *end;

	if (gradient->place == site.place) {
		end->gradient = behind.gradient = gradient->out[site.layer];
		end->weight = behind.weight = gradient->weight;
	}
	if (edits_scale_gradient(pass->edits, pass->n_edits, site, &end->keep))
		return op_end_branch_backward(dev, end, err);
	behind.dbranch.data = NULL;
	before.dh.data = NULL;
	before.beta = 1;
	TRY(op_end_branch_backward(dev, &behind, err));
	TRY(edits_backward(dev, pass->edits, pass->n_edits, site, end->g, err));
	return op_end_branch_backward(dev, &before, err);
fail:
	return err->code;
}

/* Layer l's resid_post, and the norm behind it; dh is the gradient of that norm. */
static struct branch_end_back end_behind(const struct workspace *ws, size_t l, struct tensor g,
	struct tensor dh)
{
	const struct model *m = ws->model;
	const bool last = l + 1 == m->arch.n_layer;
	const struct block *next = &ws->blocks[last ? l : l + 1];

	return (struct branch_end_back){.norm = m->arch.norm,
		.g = g,
		.beta = last ? 0 : 1,
		.dh = tensor_rows(dh, 0, g.rows),
		.x_out = tensor_rows(last ? ws->x_last : next->x_in, 0, g.rows),
		.w_next = last ? m->final_norm : m->layers[l + 1].attention_norm,
		.rstd_next = tensor_rows(last ? ws->rstd_final : next->rstd_attention, 0, g.rows),
		.keep = 1};
}

/* The same between a layer's two branches. */
static struct branch_end_back end_between(const struct workspace *ws, size_t l, struct tensor g)
{
	const struct block *block = &ws->blocks[l];

	return (struct branch_end_back){.norm = ws->model->arch.norm,
		.g = g,
		.beta = 1,
		.dh = tensor_rows(ws->dh, 0, g.rows),
		.x_out = tensor_rows(block->x_mid, 0, g.rows),
		.w_next = ws->model->layers[l].mlp_norm,
		.rstd_next = tensor_rows(block->rstd_mlp, 0, g.rows),
		.keep = 1};
}

/* From behind a layer's resid_post to behind the one below it. */
static int layer_backward(struct workspace *ws, const struct pass *pass,
	const struct gradient *gradient, size_t l, struct branch_end_back *end, struct tensor *g,
	struct err *err)
{
	const struct model *m = ws->model;
	const struct layer_weights *w = &m->layers[l];
	const struct block *block = &ws->blocks[l];
	struct branch_end_back between = end_between(ws, l, *g);

	set_branch(ws, end, block->mlp_out, w->post_mlp_norm, block->rstd_post_mlp);
	TRY(leave_site(pass, gradient, (struct site){l, SITE_RESID_POST}, end, err));
	TRY(mlp_backward(ws, l, entered(end), err));
	set_branch(ws, &between, block->attention_out, w->post_attention_norm,
		block->rstd_post_attention);
	TRY(op_end_branch_backward(m->dev, &between, err));
	return attention_part_backward(ws, pass, l, entered(&between), g, err);
fail:
	return err->code;
}

int backward(struct workspace *ws, const struct pass *pass, struct tensor dy,
	const struct gradient *gradient, struct err *err)
{
	const struct model *m = ws->model;
	const size_t n_layer = m->arch.n_layer;
	struct tensor g = tensor_rows(ws->g, 0, ws->n_out);
	struct branch_end_back end;

	if (!ws->size.for_backward || !pass->batch->packed)
		return err_set(err, ERR_INTERNAL,
			"backward: expected a workspace for backward and a packed batch");
	end = end_behind(ws, n_layer - 1, g, dy);
	for (size_t l = n_layer; l-- > 1;) {
		if (layer_backward(ws, pass, gradient, l, &end, &g, err))
			return err->code;
		end = end_behind(ws, l - 1, g, ws->dh);
	}
	if (gradient->place != SITE_RESID_POST)
		return 0;
	end.gradient = gradient->out[0]; /* nothing below the first resid_post is asked for */
	end.weight = gradient->weight;
	return op_end_branch_backward(m->dev, &end, err);
}
