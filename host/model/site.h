/* SPDX-License-Identifier: MIT
 *
 * site.h - where in a model something is read or changed: a place in the block of one layer, as a
 * value. Edits, taps, gradients, dictionaries and the names of datasets all say it so, and call it
 * as TransformerLens does: blocks.12.hook_resid_post. Tests: tests/test_model.c.
 */
#ifndef SAENGINE_SITE_H
#define SAENGINE_SITE_H

#include <stdbool.h>
#include <stddef.h>

/* In the order in which a block computes them. To add a place:
 *
 *   site.c: its row in site_places.
 *   transformer.c: serve_site as soon as it is computed, and before it is used;
 *   transformer_backward.c: as backward does for resid_post, on the way back.
 *                forward                             back
 *     z          attention_part, attended            attention_part_backward, dattended
 *     attn_out   attention_part, out; after          the same, dout; g
 *                Gemma's post norm: add_branch
 *     resid_mid  attention_part, x_mid at its end    backward, g between the two halves
 *     mlp_in     mlp_part, h                         mlp_backward, dh before the norm
 *     mlp_out    as attn_out, of mlp_part            mlp_backward, dout; g
 *   Of the last layer only the out rows go on behind attention. serve_tap gathers rows in h_out,
 *   as wide as d_model. Where a branch's gradient is g, that is the stream's too: edits_backward
 *   takes a copy. op_attention_backward reads attended as attention left it: edits of z go to a
 *   copy. backward ends at resid_post of the first layer: what lies below it there needs more.
 *
 *   Dictionaries. sae_site.c: what publishers call the place, in hooks and folders' names, is
 *   there already. sae.c, open_layer: what is read and written, if that differs (a transcoder);
 *   check_file: the width at the place. locate of each format: the place's letter or folder.
 *   edits.c, clamp: features are of what the dictionary
 *   reads; for one that writes elsewhere they are encoded when the pass is there, and kept.
 *   attribution.c, attribution_all: encodes the end of the path and ablates the direction there,
 *   which is right where what is read is what is written, and resid_post. Whoever clamps or taps
 *   features without saying a place says sae_set_writes or sae_set_reads.
 *
 * The names of datasets and messages follow. */
enum site_place {
	SITE_RESID_POST, /* the residual stream after the block, [rows, d_model] */
	N_SITE_PLACES
};

struct site {
	size_t layer;
	enum site_place place;
};

/* What places are called. */
struct site_place_names {
	const char *word; /* in messages: "resid_post" */
	const char *hook; /* in the names of sites: "hook_resid_post" */
};
extern const struct site_place_names site_places[N_SITE_PLACES];

/* "blocks.LAYER.HOOK". To be used where it is asked for: site_name(s).text lives until the end of
 * the expression. */
struct site_name {
	char text[64];
};
struct site_name site_name(struct site site);

/* The inverse. What is resid_post of one block is also known as hook_resid_pre of the next. False
 * for everything else. */
bool site_of_name(const char *name, struct site *out);

bool site_equal(struct site a, struct site b);

#endif
