/* SPDX-License-Identifier: MIT
 *
 * transformer_parts.h - the workspace, shared by transformer.c (forward) and
 * transformer_backward.c.
 */
#ifndef SAENGINE_TRANSFORMER_PARTS_H
#define SAENGINE_TRANSFORMER_PARTS_H

#include "host/model/carver.h"
#include "host/model/transformer.h"

/* What a block computes on its way. Every tensor has size.rows rows, of which a pass uses the
 * first. Those that only backward reads are absent unless size.for_backward. */
struct block {
	struct tensor x_in;        /* the residual stream before the block */
	struct tensor q, attended; /* after rope; before Wo, an operand */
	struct tensor lse;
	struct tensor attention_out; /* after Wo, before the post norm */
	struct tensor x_mid;         /* the residual stream between attention and MLP */
	struct tensor gate_up;       /* gate and up: transformer_gate */
	struct tensor mlp_out;       /* after Wdown, before the post norm */
	struct tensor rstd_attention, rstd_post_attention, rstd_mlp, rstd_post_mlp;
	struct tensor q_raw, k_raw;   /* before their norm, for models that have one */
	struct tensor rstd_q, rstd_k; /* of each head */
};

struct workspace {
	const struct model *model;
	struct workspace_size size;
	struct block *blocks; /* [n_layer], all the same unless for_backward */
	struct tensor x_last; /* resid_post of the last layer */
	struct tensor h;      /* a norm's output, all rows; an operand */
	struct tensor h_out;  /* its out rows */
	struct tensor act;    /* of gate and up, an operand; gate_up's memory where that serves */
	struct tensor x_out;  /* out rows gathered from others */
	struct tensor qkv;    /* before they go where they stay, side by side; or in its memory: */
	struct tensor k, v;
	struct tensor y;   /* final norm of the out rows */
	size_t n_out;      /* of the last forward */
	int32_t *bad;      /* device [n_layer + 1]: first row that is not finite, or -1; the last of
			    * the final norm */
	int32_t *next;     /* device [size.out], right behind bad: see workspace_next */
	int32_t *bad_host; /* [n_layer + 1 + size.out] */
	/* For backward only. */
	struct tensor rstd_final;
	struct tensor g;        /* dL/d(residual stream) */
	struct tensor dbranch;  /* dL/d(branch), an operand */
	struct tensor dh;       /* dL/d(norm output) */
	struct tensor dh_out;   /* its out rows */
	struct tensor dact;     /* dL/d(act) */
	struct tensor dgate_up; /* operand, as gate_up */
	struct tensor dq, dattended;
	struct tensor dqkv; /* operand: of q, k and v side by side, where the model has them so */
	void *memory;       /* owned, device */
};

/* Gate and up, or their gradients, of n rows in the memory [rows, 2 d_ff] of both: side by side
 * where one product makes them, else one matrix behind the other. */
struct slice transformer_gate(const struct workspace *ws, struct tensor both, size_t n);
struct slice transformer_up(const struct workspace *ws, struct tensor both, size_t n);

struct attention transformer_attention(const struct arch *a, size_t layer);

/* The keys of a layer as a pass's queries see them. */
struct keys transformer_keys(const struct pass *pass, size_t layer);

/* Whether this layer continues with the out rows only. */
bool transformer_narrows(const struct workspace *ws, const struct batch *b, size_t layer);

#endif
