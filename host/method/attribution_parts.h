/* SPDX-License-Identifier: MIT
 *
 * attribution_parts.h - what attribution.c and attribution_path.c share. Not for others.
 */
#ifndef SAENGINE_ATTRIBUTION_PARTS_H
#define SAENGINE_ATTRIBUTION_PARTS_H

#include "host/method/attribution.h"

/* Tensors of one layer. In the last layer rows are the prompts' last tokens. */
struct layer_state {
	int32_t *ids;           /* feature ids of its candidates */
	size_t *column;         /* their places among all candidates */
	size_t n;               /* how many */
	bool scaled;            /* the SAE's input is normed row by row */
	struct tensor scale;    /* then s of the clean run, [rows, 1] */
	struct tensor x_patch;  /* end point of the path */
	struct tensor x_clean;  /* with all_features */
	struct tensor gradient; /* mean over a of dm/dx' */
	struct tensor f_clean, f_patch;
	struct tensor prefix_patch; /* x_patch of the prefix; no rows in the last layer */
};

struct attribution {
	struct attribution_setup setup;
	struct attribution_size size;
	size_t n_layer, d_model, widest; /* most candidates of a layer */
	enum site_place reads, writes;   /* of the SAEs */
	struct runner runner;
	struct layer_state *layers;
	struct kv_cache prefix_patched, prefix_clean;
	struct kv_cache *prefix_mixed; /* [steps] */
	struct sae_few *few;           /* [n_layer] the layers' candidates */
	struct tensor *x_tap, *clean_tap, *f_patch_tap, *f_clean_tap, *scale_tap, *gradient_now,
		*targets,
		*prefix_targets;       /* [n_layer] views of the layers' tensors for this call */
	struct tensor u;               /* vector [1, d_model], unit length */
	struct tensor logits, dlogits; /* [prompts, 2]: of j and r */
	struct tensor dy, dots, x_edited;
	struct tensor shift, x_shifted; /* [rows, 1], [rows, d_model]: attribution_path.c */
	int32_t *pair;                  /* device [prompts, 2] */
	void *memory;                   /* owned, device */
	struct sparse sparse_clean, sparse_patch, sparse_effect;

	/* The last run's result. */
	size_t *token_start;
	int32_t *target, *pair_host;
	float *target_lead;
	double *m_clean, *m_patch, *m_host;
	float *effect, *noise, *columns[4], *shift_host;
	float *decoder_norm; /* [n_candidates] |W_dec[i]| */
};

/* m = logit[j] - logit[r] of the pass just run over n prompts. */
int attribution_metric(struct attribution *a, size_t n, double *m, struct err *err);

/* Where point k lies on the path. */
double attribution_position(const struct attribution *a, size_t k);

#endif
