/* SPDX-License-Identifier: MIT
 *
 * transformer.c - the forward pass. Contract: transformer.h. The backward pass is
 * transformer_backward.c. Tests: tests/test_model.c (against transformers).
 *
 *   x = E[token] (times sqrt(d) for Gemma)
 *   per block:  q, k, v = norm(x) Wq, Wk, Wv      (Gemma 3, Qwen 3: q, k = norm of each head)
 *               a = attention(q, k, v) Wo         x = x + a   (Gemma: x + norm(a))
 *               m = (act(gate) up) Wdown          x = x + m   (Gemma: x + norm(m))
 *               x = edits(x)                      <- SITE_RESID_POST
 *   y = norm(x)
 *
 * In the last block only keys and values need every row; the rest is done for the out rows.
 */
#include "host/model/transformer_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory ---------------------------------------------------------------------------- */

struct cache_layout {
	struct kv_cache *cache;
	enum dtype type;
	size_t n_layer, width;
};

static void layout_cache(void *object, struct carver *c)
{
	struct cache_layout *l = object;

	for (size_t i = 0; i < l->n_layer; i++) {
		l->cache->k[i] = carve_typed(c, l->type, l->cache->n_rows, l->width);
		l->cache->v[i] = carve_typed(c, l->type, l->cache->n_rows, l->width);
	}
}

int kv_cache_init(struct kv_cache *cache, const struct model *m, size_t n_rows, struct err *err)
{
	struct cache_layout layout = {cache, m->operand, m->arch.n_layer,
		m->arch.n_kv_head * m->arch.head_dim};

	*cache = (struct kv_cache){.dev = m->dev, .n_rows = n_rows};
	cache->k = calloc(2 * m->arch.n_layer, sizeof *cache->k);
	if (!cache->k)
		return err_nomem(err, "a key-value cache", 2 * m->arch.n_layer * sizeof *cache->k);
	cache->v = cache->k + m->arch.n_layer;
	return carve_allocate(m->dev, layout_cache, &layout, &cache->memory, err);
}

size_t kv_cache_bytes(const struct model *m, size_t n_rows)
{
	return 2 * m->arch.n_layer * n_rows * m->arch.n_kv_head * m->arch.head_dim *
	       dtype_bytes(m->operand);
}

void kv_cache_free(struct kv_cache *cache)
{
	free(cache->k);
	if (cache->dev)
		device_free(cache->dev, cache->memory);
	*cache = (struct kv_cache){0};
}

/* The buffers of one block; unless for_backward, one set serves all blocks. */
static void layout_block(const struct workspace *ws, struct block *b, struct carver *c)
{
	const struct arch *a = &ws->model->arch;
	const size_t n = ws->size.rows, d = a->d_model, q = a->n_head * a->head_dim;

	b->x_mid = ws->size.for_backward ? carve(c, n, d) : b->x_in;
	b->q = carve(c, n, q);
	/* Backward takes differences of what it has of it. */
	b->attended = ws->size.for_backward ? carve(c, n, q)
					    : carve_typed(c, ws->model->operand, n, q);
	b->gate_up = carve_typed(c, ws->model->operand, n, 2 * a->d_ff);
	b->attention_out = carve(c, n, d);
	b->mlp_out = carve(c, n, d);
	if (!ws->size.for_backward)
		return;
	b->lse = carve(c, n, a->n_head);
	b->rstd_attention = carve(c, n, 1);
	b->rstd_post_attention = carve(c, n, 1);
	b->rstd_mlp = carve(c, n, 1);
	b->rstd_post_mlp = carve(c, n, 1);
	if (!a->qk_norm)
		return;
	b->q_raw = carve(c, n, q);
	b->k_raw = carve(c, n, a->n_kv_head * a->head_dim);
	b->rstd_q = carve(c, n * a->n_head, 1);
	b->rstd_k = carve(c, n * a->n_kv_head, 1);
}

static void layout_workspace(void *object, struct carver *c)
{
	struct workspace *ws = object;
	const struct arch *a = &ws->model->arch;
	const size_t n = ws->size.rows, d = a->d_model, kv = a->n_kv_head * a->head_dim;
	const enum dtype operand = ws->model->operand;

	for (size_t l = 0; l < a->n_layer; l++) {
		if (l > 0 && !ws->size.for_backward) {
			ws->blocks[l] = ws->blocks[0];
			continue;
		}
		ws->blocks[l].x_in = carve(c, n, d);
		layout_block(ws, &ws->blocks[l], c);
	}
	ws->x_last = ws->size.for_backward ? carve(c, n, d) : ws->blocks[0].x_in;
	ws->h = carve_typed(c, operand, n, d);
	ws->h_out = carve_typed(c, operand, ws->size.out, d);
	ws->x_out = carve(c, ws->size.out, d);
	ws->act = !ws->size.for_backward && !ws->model->has_gate_up && operand == c->activation
			  ? tensor_view(ws->blocks[0].gate_up, n, a->d_ff)
			  : carve_typed(c, operand, n, a->d_ff);
	ws->qkv = carve(c, n, (ws->model->has_qkv ? a->n_head * a->head_dim : 0) + 2 * kv);
	ws->k = tensor_view(ws->qkv, n, kv);
	ws->v = ws->k;
	if (ws->v.data)
		ws->v.data = (char *)ws->k.data + tensor_bytes(ws->k);
	ws->y = carve(c, ws->size.out, d);
	ws->bad = carve_ints(c, a->n_layer + 1 + ws->size.out);
	ws->next = ws->bad ? ws->bad + a->n_layer + 1 : NULL;
	if (!ws->size.for_backward)
		return;
	ws->rstd_final = carve(c, ws->size.out, 1);
	ws->g = carve(c, n, d);
	ws->dh = carve(c, n, d);
	ws->dbranch = operand == c->activation ? ws->dh : carve_typed(c, operand, n, d);
	ws->dh_out = carve(c, ws->size.out, d);
	ws->dq = carve(c, n, a->n_head * a->head_dim);
	ws->dqkv = carve_typed(c, operand, ws->model->has_qkv ? n : 0,
		a->n_head * a->head_dim + 2 * kv);
	ws->dattended = carve(c, n, a->n_head * a->head_dim);
	ws->dact = carve_typed(c, operand, n, a->d_ff);
	ws->dgate_up = carve_typed(c, operand, n, 2 * a->d_ff);
}

static int workspace_init(struct workspace *ws, const struct model *m, struct workspace_size size,
	struct err *err)
{
	*ws = (struct workspace){.model = m, .size = size};
	ws->blocks = calloc(m->arch.n_layer, sizeof *ws->blocks);
	ws->bad_host = calloc(m->arch.n_layer + 1 + size.out, sizeof *ws->bad_host);
	if (!ws->blocks || !ws->bad_host)
		return err_nomem(err, "a workspace", m->arch.n_layer * sizeof *ws->blocks);
	return 0;
}

size_t workspace_bytes(const struct model *m, struct workspace_size size)
{
	struct workspace ws;
	struct err err;
	size_t bytes = 0;

	if (workspace_init(&ws, m, size, &err) == 0)
		bytes = carve_count(m->dev, layout_workspace, &ws);
	free(ws.blocks);
	free(ws.bad_host);
	return bytes;
}

int workspace_create(struct workspace **out, const struct model *m, struct workspace_size size,
	struct err *err)
{
	struct workspace *ws = malloc(sizeof *ws);

	*out = NULL;
	if (!ws)
		return err_nomem(err, "a workspace", sizeof *ws);
	TRY(workspace_init(ws, m, size, err));
	TRY(carve_allocate(m->dev, layout_workspace, ws, &ws->memory, err));
	*out = ws;
	return 0;
fail:
	workspace_free(ws);
	return err->code;
}

void workspace_free(struct workspace *ws)
{
	if (!ws)
		return;
	device_free(ws->model->dev, ws->memory);
	free(ws->blocks);
	free(ws->bad_host);
	free(ws);
}

struct tensor workspace_out(const struct workspace *ws)
{
	return tensor_rows(ws->y, 0, ws->n_out);
}

/* ---- one block ------------------------------------------------------------------------- */

struct attention transformer_attention(const struct arch *a, size_t layer)
{
	return (struct attention){a->n_head, a->n_kv_head, a->head_dim, a->attention_scale,
		a->attention_softcap, a->window[layer]};
}

struct keys transformer_keys(const struct pass *pass, size_t layer)
{
	const struct batch *b = pass->batch;
	const struct tensor k = pass->cache->k[layer], v = pass->cache->v[layer];
	struct keys keys = {.k = tensor_rows(k, 0, b->n_cache_rows),
		.v = tensor_rows(v, 0, b->n_cache_rows),
		.start = b->on_device.cache_start,
		.n_seq = b->n_seqs};

	keys.prefix_k = pass->prefix ? pass->prefix->k[layer] : (struct tensor){0};
	keys.prefix_v = pass->prefix ? pass->prefix->v[layer] : (struct tensor){0};
	if (!pass->prefix) { /* no rows, but of the right kind */
		keys.prefix_k = tensor_rows(k, 0, 0);
		keys.prefix_v = tensor_rows(v, 0, 0);
	}
	return keys;
}

bool transformer_narrows(const struct workspace *ws, const struct batch *b, size_t layer)
{
	return layer + 1 == ws->model->arch.n_layer && b->n_out < b->n_rows;
}

/* The first n rows of a buffer; an absent buffer stays absent. */
static struct tensor first(struct tensor t, size_t n)
{
	return t.data ? tensor_rows(t, 0, n) : t;
}

/* Queries or keys before rope: out = norm(h W + bias), the norm of each head and only where the
 * model has one; `raw` and `rstd` keep what backward needs (absent: out serves). */
struct projection {
	struct tensor W, bias, norm;
	struct tensor raw, rstd;
};

static int project(const struct workspace *ws, const struct projection *p, struct tensor h,
	struct tensor out, struct err *err)
{
	const struct model *m = ws->model;
	const size_t hd = m->arch.head_dim, n = out.rows * (out.cols / hd);
	const struct tensor raw = p->raw.data ? tensor_rows(p->raw, 0, out.rows) : out;

	TRY(op_linear(m->dev, h, p->W, p->bias, raw, err));
	if (!m->arch.qk_norm)
		return 0;
	return op_rmsnorm(m->dev, m->arch.norm, tensor_view(raw, n, hd), p->norm,
		tensor_view(out, n, hd), first(p->rstd, n), err);
fail:
	return err->code;
}

/* q, k and v side by side, by one product. */
static int project_all(struct workspace *ws, size_t layer, struct tensor h, struct rope_call *call,
	struct err *err)
{
	const struct arch *a = &ws->model->arch;
	const struct layer_weights *w = &ws->model->layers[layer];
	const size_t q = a->n_head * a->head_dim, kv = a->n_kv_head * a->head_dim;
	const struct tensor qkv = first(ws->qkv, h.rows);

	call->q = tensor_slice(qkv, 0, q);
	call->k = tensor_slice(qkv, q, kv);
	call->v = tensor_slice(qkv, q + kv, kv);
	return op_linear(ws->model->dev, h, w->qkv, w->qkv_bias, qkv, err);
}

/* By products of their own, k and v where they stay if that can be, q in q_out; of the out rows,
 * rotated already, where the layer narrows. */
static int project_each(struct workspace *ws, const struct pass *pass, size_t layer,
	struct tensor h, struct rope_call *call, struct err *err)
{
	const struct model *m = ws->model;
	const struct layer_weights *w = &m->layers[layer];
	const struct block *block = &ws->blocks[layer];
	const struct batch *b = pass->batch;
	const bool in_cache = b->packed && call->k_out.of.dtype == device_activation(m->dev);
	const struct tensor k = first(in_cache ? call->k_out.of : ws->k, h.rows);
	const struct tensor v = first(in_cache ? call->v_out.of : ws->v, h.rows);
	const struct projection to_q = {w->q, w->q_bias, w->q_norm, block->q_raw, block->rstd_q};
	const struct projection to_k = {w->k, w->k_bias, w->k_norm, block->k_raw, block->rstd_k};

	call->k = tensor_whole(k);
	call->v = tensor_whole(v);
	TRY(project(ws, &to_k, h, k, err));
	TRY(op_linear(m->dev, h, w->v, w->v_bias, v, err));
	if (transformer_narrows(ws, b, layer)) {
		const struct tensor q_out = call->q_out.of, h_out = first(ws->h_out, q_out.rows);

		TRY(op_gather_rows(m->dev, h, b->on_device.out_row, h_out, err));
		TRY(project(ws, &to_q, h_out, q_out, err));
		return op_rope(m->dev, call->head_dim, 1, call->cos_table, call->sin_table,
			b->on_device.out_pos, q_out, err);
	}
	call->q = call->q_out;
	return project(ws, &to_q, h, call->q_out.of, err);
fail:
	return err->code;
}

/* From h, the norm of all rows, to q, rotated, and to keys and values in the cache. Where the layer
 * narrows, q is of the out rows. */
static int queries_and_keys(struct workspace *ws, const struct pass *pass, size_t layer,
	struct tensor q, struct err *err)
{
	const struct model *m = ws->model;
	const struct rope_table *rope = model_rope(m, layer);
	const struct batch *b = pass->batch;
	const bool at_once = m->has_qkv && !transformer_narrows(ws, b, layer);
	const struct tensor h = first(ws->h, b->n_rows);
	struct rope_call call = {.head_dim = m->arch.head_dim,
		.direction = 1,
		.cos_table = rope->cosines,
		.sin_table = rope->sines,
		.pos = b->on_device.pos,
		.q_out = tensor_whole(q),
		.cache_row = b->packed ? NULL : b->on_device.cache_row,
		.k_out = tensor_whole(pass->cache->k[layer]),
		.v_out = tensor_whole(pass->cache->v[layer])};

	TRY(at_once ? project_all(ws, layer, h, &call, err)
		    : project_each(ws, pass, layer, h, &call, err));
	return op_rope_keys(m->dev, &call, err);
fail:
	return err->code;
}

/* Leaves x_mid, and its norm in h. */
static int attention_part(struct workspace *ws, const struct pass *pass, size_t layer,
	struct err *err)
{
	const struct model *m = ws->model;
	const struct layer_weights *w = &m->layers[layer];
	const struct attention a = transformer_attention(&m->arch, layer);
	const struct keys keys = transformer_keys(pass, layer);
	const struct batch *b = pass->batch;
	const struct block *block = &ws->blocks[layer];
	const bool narrows = transformer_narrows(ws, b, layer);
	const struct rows rows = narrows ? batch_out_rows(b) : batch_rows(b);
	const struct tensor q = first(block->q, rows.n), out = first(block->attention_out, rows.n);
	const struct tensor attended = first(block->attended, rows.n);
	struct branch_end end = {.norm = m->arch.norm,
		.branch = out,
		.w_branch = w->post_attention_norm,
		.rstd_branch = first(block->rstd_post_attention, rows.n),
		.x_in = first(block->x_in, b->n_rows),
		.x_out = first(block->x_mid, rows.n),
		.w_next = w->mlp_norm,
		.h = first(ws->h, rows.n),
		.rstd_next = first(block->rstd_mlp, rows.n)};

	TRY(queries_and_keys(ws, pass, layer, q, err));
	TRY(op_attention(m->dev, &a, q, rows, &keys, attended, first(block->lse, rows.n), err));
	TRY(op_linear(m->dev, attended, w->o, w->o_bias, out, err));
	if (narrows) {
		const struct tensor gathered = first(ws->x_out, rows.n);

		TRY(op_gather_rows(m->dev, end.x_in, b->on_device.out_row, gathered, err));
		end.x_in = gathered;
	}
	return op_end_branch(m->dev, &end, err);
fail:
	return err->code;
}

struct slice transformer_gate(const struct workspace *ws, struct tensor both, size_t n)
{
	const size_t d_ff = ws->model->arch.d_ff;

	return ws->model->has_gate_up ? tensor_slice(tensor_rows(both, 0, n), 0, d_ff)
				      : tensor_whole(tensor_view(both, n, d_ff));
}

struct slice transformer_up(const struct workspace *ws, struct tensor both, size_t n)
{
	const size_t d_ff = ws->model->arch.d_ff;

	return ws->model->has_gate_up
		       ? tensor_slice(tensor_rows(both, 0, n), d_ff, d_ff)
		       : tensor_whole(tensor_rows(tensor_view(both, 2 * n, d_ff), n, n));
}

/* From x_mid's norm in h to the branch's output. */
static int mlp_part(struct workspace *ws, size_t layer, size_t n, struct err *err)
{
	const struct model *m = ws->model;
	const struct layer_weights *w = &m->layers[layer];
	const struct block *block = &ws->blocks[layer];
	const struct tensor h = first(ws->h, n), act = first(ws->act, n);
	const struct slice gate = transformer_gate(ws, block->gate_up, n);
	const struct slice up = transformer_up(ws, block->gate_up, n);

	if (m->has_gate_up) {
		TRY(op_linear(m->dev, h, w->gate_up, (struct tensor){0}, gate.of, err));
	} else {
		TRY(op_linear(m->dev, h, w->gate, (struct tensor){0}, gate.of, err));
		TRY(op_linear(m->dev, h, w->up, (struct tensor){0}, up.of, err));
	}
	TRY(op_gated(m->dev, m->arch.activation, gate, up, act, err));
	return op_linear(m->dev, act, w->down, (struct tensor){0}, first(block->mlp_out, n), err);
fail:
	return err->code;
}

/* ---- taps and checks ------------------------------------------------------------------- */

static bool encodes(const struct tap *tap)
{
	return tap->kind == TAP_FEATURES || tap->kind == TAP_FEATURES_UNEDITED;
}

static bool after_edits(const struct tap *tap)
{
	return tap->kind != TAP_ACTIVATION_UNEDITED && tap->kind != TAP_FEATURES_UNEDITED;
}

static int fill_tap(struct workspace *ws, const struct tap *tap, const struct batch *b,
	struct site site, struct tensor x, struct err *err)
{
	struct device *dev = ws->model->dev;
	const struct tensor out = tap->out[site.layer];

	if (tap->out_rows_only && x.rows != b->n_out) {
		const bool of_x = encodes(tap) || tap->kind == TAP_SCALE;
		const struct tensor gathered = of_x ? tensor_rows(ws->x_out, 0, b->n_out) : out;

		TRY(op_gather_rows(dev, x, b->on_device.out_row, gathered, err));
		x = gathered;
	}
	if (encodes(tap))
		return sae_few_encode(&tap->few[site.layer], x, out, err);
	if (tap->kind == TAP_SCALE)
		return op_sae_scale(dev, tap->few[site.layer].weights.input, x, out, err);
	return x.data == out.data ? 0 : op_copy(dev, x, out, err);
fail:
	return err->code;
}

static int serve_tap(struct workspace *ws, const struct tap *tap, const struct batch *b,
	struct site site, struct tensor x, struct err *err)
{
	if (!tap->out[site.layer].data)
		return 0;
	TRY(fill_tap(ws, tap, b, site, x, err));
	return tap->served ? tap->served(tap->context, site.layer, err) : 0;
fail:
	return err->code;
}

static int serve_taps(struct workspace *ws, const struct pass *pass, struct site site, bool edited,
	struct tensor x, struct err *err)
{
	for (size_t i = 0; i < pass->n_taps; i++) {
		const struct tap *tap = &pass->taps[i];

		if (tap->place == site.place && after_edits(tap) == edited &&
			serve_tap(ws, tap, pass->batch, site, x, err))
			return err->code;
	}
	return 0;
}

/* All that a pass wants of a site, now that x has been computed there. */
static int serve_site(struct workspace *ws, const struct pass *pass, struct site site,
	struct rows rows, struct tensor x, struct err *err)
{
	struct device *dev = ws->model->dev;

	TRY(serve_taps(ws, pass, site, false, x, err));
	TRY(edits_apply(dev, pass->edits, pass->n_edits, site, rows, x, err));
	return serve_taps(ws, pass, site, true, x, err);
fail:
	return err->code;
}

int32_t *workspace_next(const struct workspace *ws)
{
	return ws->next;
}

/* The first out row whose final norm or next token tells that something is not finite. Idle rows
 * are the last. */
static int check_out_rows(const struct workspace *ws, const struct batch *b, const int32_t *next,
	struct err *err)
{
	const int32_t y = ws->bad_host[ws->model->arch.n_layer];
	const size_t n = b->n_out - b->n_idle;

	if (y >= 0 && (size_t)y < n)
		return batch_not_finite("the final norm", b->label[b->out_seq[y]], b->out_pos[y],
			err);
	for (size_t i = 0; next && i < n; i++)
		if (next[i] < 0) /* op_argmax */
			return batch_not_finite("a logit", b->label[b->out_seq[i]], b->out_pos[i],
				err);
	return 0;
}

int forward_finish(struct workspace *ws, const struct batch *b, int32_t *next, struct err *err)
{
	const size_t n_layer = ws->model->arch.n_layer, n_next = next ? b->n_out : 0;

	if (device_download(ws->model->dev, ws->bad_host, ws->bad,
		    (n_layer + 1 + n_next) * sizeof(int32_t), err))
		return err->code;
	if (next)
		memcpy(next, ws->bad_host + n_layer + 1, n_next * sizeof *next);
	for (size_t l = 0; l < n_layer; l++) {
		const bool narrows = transformer_narrows(ws, b, l);
		const size_t n = (narrows ? b->n_out : b->n_rows) - b->n_idle;
		const int32_t row = ws->bad_host[l]; /* the first */

		if (row < 0 || (size_t)row >= n)
			continue;
		return batch_not_finite(site_name((struct site){l, SITE_RESID_POST}).text,
			b->label[narrows ? b->out_seq[row] : b->seq[row]],
			narrows ? b->out_pos[row] : b->pos[row], err);
	}
	return check_out_rows(ws, b, next, err);
}

/* ---- the pass -------------------------------------------------------------------------- */

/* A batch too large is our bug; a prompt too long, or a token the model lacks, is the user's. */
int forward_check(const struct workspace *ws, const struct pass *pass, struct err *err)
{
	const struct batch *b = pass->batch;
	const struct model *m = ws->model;

	if (b->n_rows > ws->size.rows || b->n_out > ws->size.out ||
		b->n_cache_rows > pass->cache->n_rows ||
		b->n_prefix != (pass->prefix ? pass->prefix->n_rows : 0))
		return err_set(err, ERR_INTERNAL,
			"forward: a batch of %zu rows, %zu out rows, %zu cache rows and a prefix of %zu "
			"does not fit its workspace (%zu, %zu), cache (%zu) or prefix (%zu)",
			b->n_rows, b->n_out, b->n_cache_rows, b->n_prefix, ws->size.rows,
			ws->size.out, pass->cache->n_rows, pass->prefix ? pass->prefix->n_rows : 0);
	for (size_t i = 0; i < b->n_rows; i++) {
		if ((size_t)b->cache_row[i] >= pass->cache->n_rows)
			return err_set(err, ERR_INTERNAL,
				"forward: a key of prompt %d is to go to row %d of a cache of %zu",
				b->label[b->seq[i]], b->cache_row[i], pass->cache->n_rows);
		if ((size_t)b->pos[i] >= m->n_ctx)
			return err_set(err, ERR_INPUT,
				"prompt %d: expected at most %zu tokens (model.n_ctx), found more",
				b->label[b->seq[i]], m->n_ctx);
		if (b->token[i] < 0 || (size_t)b->token[i] >= m->arch.n_vocab)
			return err_set(err, ERR_INPUT,
				"prompt %d: expected token ids below %zu, the model's vocabulary, found "
				"%d",
				b->label[b->seq[i]], m->arch.n_vocab, b->token[i]);
	}
	return 0;
}

/* What follows a layer: the norm that the next one begins with, or the final one. */
struct next_norm {
	struct tensor w, h, rstd;
};

static struct next_norm norm_behind(const struct workspace *ws, size_t layer, size_t n)
{
	const struct model *m = ws->model;

	if (layer + 1 == m->arch.n_layer)
		return (struct next_norm){m->final_norm, first(ws->y, n), first(ws->rstd_final, n)};
	return (struct next_norm){m->layers[layer + 1].attention_norm, first(ws->h, n),
		first(ws->blocks[layer + 1].rstd_attention, n)};
}

/* Whether the pass reads the residual stream there. */
static bool taps_at(const struct pass *pass, struct site site)
{
	for (size_t i = 0; i < pass->n_taps; i++)
		if (pass->taps[i].place == site.place && pass->taps[i].out[site.layer].data)
			return true;
	return false;
}

/* Leaves resid_post, after its edits, in x, and what follows it. */
static int end_block(struct workspace *ws, const struct pass *pass, size_t l, struct rows rows,
	struct tensor x, struct err *err)
{
	const struct model *m = ws->model;
	const struct block *block = &ws->blocks[l];
	const struct site site = {l, SITE_RESID_POST};
	const struct next_norm next = norm_behind(ws, l, rows.n);
	const struct edit *mixture = edits_mixture(pass->edits, pass->n_edits, site);
	struct branch_end end = {.norm = m->arch.norm,
		.branch = first(block->mlp_out, rows.n),
		.w_branch = m->layers[l].post_mlp_norm,
		.rstd_branch = first(block->rstd_post_mlp, rows.n),
		.x_in = first(block->x_mid, rows.n),
		.x_out = x};

	if (!taps_at(pass, site) && (mixture || !edits_touch(pass->edits, pass->n_edits, site))) {
		if (mixture) {
			end.target = mixture->targets[l];
			end.mix = mixture->amount;
		}
		end.w_next = next.w;
		end.h = next.h;
		end.rstd_next = next.rstd;
		end.first_bad = ws->bad + l;
		return op_end_branch(m->dev, &end, err);
	}
	TRY(op_end_branch(m->dev, &end, err));
	TRY(serve_site(ws, pass, site, rows, x, err));
	TRY(op_find_nonfinite(m->dev, x, ws->bad + l, err));
	return op_rmsnorm(m->dev, m->arch.norm, x, next.w, next.h, next.rstd, err);
fail:
	return err->code;
}

static int run_block(struct workspace *ws, const struct pass *pass, size_t l, struct rows rows,
	struct tensor x, struct err *err)
{
	TRY(attention_part(ws, pass, l, err));
	TRY(mlp_part(ws, l, rows.n, err));
	return end_block(ws, pass, l, rows, x, err);
fail:
	return err->code;
}

/* That have rows which are somebody's. */
static size_t prompts_of(const struct batch *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n_rows - b->n_idle; i++)
		n += i == 0 || b->seq[i] != b->seq[i - 1];
	return n;
}

int forward_start(struct workspace *ws, const struct pass *pass, struct err *err)
{
	const struct model *m = ws->model;
	const struct batch *b = pass->batch;
	const size_t n_layer = m->arch.n_layer;
	struct tensor x = first(ws->blocks[0].x_in, b->n_rows);

	if (forward_check(ws, pass, err))
		return err->code;
	ws->n_out = b->n_out;
	TRY(op_fill_ids(m->dev, n_layer + 1, -1, ws->bad, err));
	TRY(op_embed(m->dev, m->embedding, b->on_device.token, m->embedding_scale, x, err));
	TRY(op_rmsnorm(m->dev, m->arch.norm, x, m->layers[0].attention_norm,
		first(ws->h, b->n_rows), first(ws->blocks[0].rstd_attention, b->n_rows), err));
	for (size_t l = 0; l < n_layer; l++) {
		const bool narrows = transformer_narrows(ws, b, l);
		const struct rows rows = narrows ? batch_out_rows(b) : batch_rows(b);

		x = tensor_rows(l + 1 < n_layer ? ws->blocks[l + 1].x_in : ws->x_last, 0, rows.n);
		if (run_block(ws, pass, l, rows, x, err))
			return err_prefix(err, "layer %zu, %zu tokens of %zu prompts", l,
				b->n_rows - b->n_idle, prompts_of(b));
	}
	return op_find_nonfinite(m->dev, workspace_out(ws), ws->bad + n_layer, err);
fail:
	return err->code;
}

int forward(struct workspace *ws, const struct pass *pass, struct err *err)
{
	if (forward_start(ws, pass, err))
		return err->code;
	return forward_finish(ws, pass->batch, NULL, err);
}

int prefix_run(struct workspace *ws, const int32_t *tokens, size_t n, const struct edit *edits,
	size_t n_edits, const struct tap *taps, size_t n_taps, struct kv_cache *prefix,
	struct err *err)
{
	struct batch batch = {0};
	const struct pass pass = {.batch = &batch,
		.cache = prefix,
		.edits = edits,
		.n_edits = n_edits,
		.taps = taps,
		.n_taps = n_taps};
	int rc;

	if (batch_init(&batch, ws->model->dev, n, 1, err)) {
		batch_free(&batch);
		return err->code;
	}
	batch_clear(&batch, 0);
	/* Nothing of the last block beyond its keys is ever read. */
	batch_pack(&batch, tokens, n, BATCH_OUT_NONE, -1);
	rc = batch_upload(&batch, err) || forward(ws, &pass, err);
	batch_free(&batch);
	return rc ? err->code : 0;
}
