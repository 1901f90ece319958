/* SPDX-License-Identifier: MIT
 *
 * edits.h - interventions at sites of a model and readings of them, as plain data. When the
 * transformer has computed a site it applies the list of edits, in order, and serves a list of
 * taps; it knows nothing of refusal. Every experiment is a list of edits and a list of taps.
 */
#ifndef SAENGINE_EDITS_H
#define SAENGINE_EDITS_H

#include "host/model/batch.h"
#include "host/model/sae.h"
#include "host/model/site.h"

/* Features of one layer to change, and how, for the sequences of a batch (ops.h), or for each of
 * its rows: then list i is row i's, and the lists fit one pass only. */
struct clamp {
	const struct sae_few *few; /* borrowed */
	struct clamp_lists lists;
	size_t n_entries;           /* of all lists */
	const int32_t *list_of_row; /* device: 0, 1, 2, ...; NULL = lists belong to sequences */
};

enum edit_kind {
	EDIT_ABLATE, /* x = x - (x.u) u            vector: u, of length 1 */
	EDIT_ADD,    /* x = x + amount v           vector: v */
	EDIT_CLAMP,  /* f_i = scale f_i + offset   clamps */
	EDIT_MIX     /* x = (1 - amount) x + amount target; straight_through */
};

struct edit {
	enum edit_kind kind;
	enum site_place place;          /* of each of these layers: */
	size_t layer_first, layer_last; /* both included; layers that are not there are nothing */
	struct tensor vector;           /* ABLATE, ADD: vector [1, d_model] on the device */
	double amount;                  /* ADD, MIX */
	const struct clamp *clamps;     /* CLAMP: [n_layer]; without entries = nothing there */
	/* MIX: [n_layer] activations with the rows of the pass: all rows, in the last layer the
	 * out rows. */
	const struct tensor *targets;
	/* MIX: backward passes g on as it is, as if the edited x were x plus a constant; else it
	 * multiplies it by 1 - amount, the derivative. */
	bool straight_through;
};

/* What to keep of x, what a pass computes at a place of each layer, while it goes by. out:
 * [n_layer] tensors with the rows of the pass (all rows; in the last layer, and everywhere under
 * OUT_ROWS, the out rows); a tensor without memory skips its layer. */
enum tap_kind {
	TAP_ACTIVATION,          /* x after the edits, [rows, d_model] */
	TAP_ACTIVATION_UNEDITED, /* before the edits */
	TAP_FEATURES,            /* after the edits, encoded by few[layer]: [rows, n_feature] */
	TAP_FEATURES_UNEDITED,   /* before the edits of their own site, as a clamp reads them */
	TAP_SCALE                /* after the edits, s of few[layer]'s input (ops.h): [rows, 1] */
};

struct tap {
	enum tap_kind kind;
	enum site_place place;
	bool out_rows_only;
	struct tensor *out;
	const struct sae_few *few; /* FEATURES, FEATURES_UNEDITED, SCALE: [n_layer] */
	/* Told of a layer once its `out` has been asked for, before the layers behind it are: what
	 * then begins to leave the device does so beside them. NULL: nobody is. */
	int (*served)(void *context, size_t layer, struct err *err);
	void *context;
};

/* Applies the edits of one site to x, whose rows are `rows`. */
int edits_apply(struct device *dev, const struct edit *edits, size_t n_edits, struct site site,
	struct rows rows, struct tensor x, struct err *err);

/* Whether one of the edits is of that site. */
bool edits_touch(const struct edit *edits, size_t n_edits, struct site site);

/* The one edit of that site, where it is a mixture; NULL where there are others or none. */
const struct edit *edits_mixture(const struct edit *edits, size_t n_edits, struct site site);

/* Whether edits_backward only multiplies g, and by how much. */
bool edits_scale_gradient(const struct edit *edits, size_t n_edits, struct site site, double *by);

/* Appends what edits_apply gives to ops at the sites of n_layer layers: edits with equal keys are
 * one recording's. Of clamps not what their lists hold, nor how many lists, but whether it is one:
 * that is read on the device. Errors: memory. */
int edits_key(const struct edit *edits, size_t n_edits, size_t n_layer, struct launch_key *key,
	struct err *err);

/* Turns g = dL/d(edited x) into dL/d(x), in place; of a straight_through mixture, into what stands
 * for it. Errors: ERR_INTERNAL for EDIT_CLAMP, whose
 * gradient nobody needs yet. */
int edits_backward(struct device *dev, const struct edit *edits, size_t n_edits, struct site site,
	struct tensor g, struct err *err);

#endif
