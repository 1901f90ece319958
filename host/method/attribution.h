/* SPDX-License-Identifier: MIT
 *
 * attribution.h - attribution patching with integrated gradients (method section 3.2 of
 * arXiv:2505.23556), with the SAE outside the gradient loop. Attribution is what is done; the
 * number that it gives a feature is its indirect effect, IE.
 *
 * Clean run: no edit. Patched run: the unit direction u ablated from resid_post of every layer.
 * Metric m = logit[j] - logit[r] at the last position; r the refusal token, j given or the argmax
 * of the patched run. For a = k/N the published hook replaces resid_post of every layer by
 *   decode((1-a) f(x) + a f_patch) + (1-a) (x - decode(f(x))) + a eps_patch.
 * decode is affine, so this is exactly
 *   x' = (1-a) x + a x_patch,   x_patch = decode(f_patch) + eps_patch,
 *   dm/df_i = <W_dec[i], dm/dx'>,
 * and the N steps need no SAE at all (how dm/dx' comes back through the hooks of later layers: enum
 * ig_backward). Afterwards
 *   IE_i[t] = (f_patch,i[t] - f_clean,i[t]) <W_dec[i], mean over a of dm/dx'[t]>.
 *
 * So for every activation function. An SAE whose input is normed row by row (SAE_INPUT_SPHERE,
 * SAE_INPUT_STANDARDIZED) decodes to s (f W_dec + b_dec) + m with s and m of its own x. Its effects
 * are those of the same straight path, in units of its f, with s of the clean run:
 *   IE_i[t] = (f_patch,i[t] - f_clean,i[t]) s_clean[t] <W_dec[i], mean over a of dm/dx'[t]>.
 * At a = 0 this is exactly what autograd finds under the published hook (SAELens keeps s and m of
 * the last encode, with their gradients), so plain attribution patching (N = 1) agrees with it.
 * At a > 0 the hook decodes f_patch by s and m of the x on the path, not of the patched run: its
 * path bends away from the ablated x, and its gradient flows through s and m as well. Here the
 * path stays straight.
 *
 * Features are read where the SAEs read, the path and its gradient lie where they write
 * (sae_set_reads, sae_set_writes): both are resid_post, as the place of the direction is.
 *
 * Where j is r the metric is 0 whatever the model does, and so is every effect, exactly.
 *
 * Positions of the shared prefix carry no effect by definition (they lie before every prompt) and
 * are run once per a, not once per prompt.
 */
#ifndef SAENGINE_ATTRIBUTION_H
#define SAENGINE_ATTRIBUTION_H

#include "host/method/features.h"
#include "host/method/runner.h"
#include "host/model/sparse.h"

enum ig_endpoint {
	IG_ENDPOINT_ABLATED, /* x_patch = the ablated resid_post, consistent with f_patch */
	IG_ENDPOINT_RELEASED /* x_patch = resid_post before its own layer's ablation, as in the
			      * released code */
};

enum ig_rule {
	IG_RULE_LEFT,    /* a = 0, 1/N, ..., (N-1)/N: the published sum */
	IG_RULE_MIDPOINT /* a = 1/2N, 3/2N, ... */
};

/* How the gradient that is read at layer l's hook, g_l = dm/dx'_l, comes back through the hooks of
 * the layers behind it. The way forward is the same. Both agree at a = 0, so for N = 1 by the left
 * rule, and in the last layer. */
enum ig_backward {
	/* dx'/dx = (1-a) I, the derivative of the mixture. g_l is what a small change of x'_l does
	 * to the metric at this point of the path, where later layers are held at the patched run
	 * by the share a: the factor of the chain rule along the path, dm/da = sum over l of <g_l,
	 * x_patch,l - x_l>,   x_l what layer l computes at a. n later hooks damp it by (1-a)^n: the
	 * deeper the model, the more of an early layer's mean comes from small a. What it estimates
	 * is attribution_path_effect. */
	IG_BACKWARD_PATH,
	/* dx'/dx = I. The released code registers on the point of its forward hook a full backward
	 * hook that returns the gradient of the point's output, and PyTorch puts that in place of
	 * the gradient of its input. g_l is then the gradient, at the activations of point a, of a
	 * network in which each later hook adds the constant a (x_patch - x) to its layer: what a
	 * small change of x'_l would do if it passed on undamped. It is no derivative along the
	 * path, and its effects do not add up to anything there. */
	IG_BACKWARD_STRAIGHT_THROUGH
};

/* Which residual streams move along the path. */
enum ig_path {
	IG_PATH_JOINT, /* every layer's at once, prefix included: the published hook */
	IG_PATH_SINGLE /* one layer's, all others as they follow from it; the prefix stays clean.
			* Only effects of features of that layer mean anything then */
};

struct ig_options {
	size_t steps; /* N */
	enum ig_rule rule;
	enum ig_path path;
	size_t layer; /* SINGLE: that layer */
	enum ig_endpoint endpoint;
	enum ig_backward backward;
	int32_t refusal_token; /* r */
	int32_t target_token;  /* j for every prompt; -1: the argmax of each patched run */
};

struct attribution;

struct attribution_size {
	size_t rows, prompts; /* of one call, prefix apart */
};

/* `direction` is v (any length), host [d_model]. `candidates`: features whose effects
 * attribution_run returns, borrowed. `prefix`: n_prefix tokens all prompts begin with.
 * `all_features` keeps what attribution_all needs. *out is owned, free it. */
struct attribution_setup {
	const struct model *model;
	struct readout *readout;
	struct sae_set *saes;
	const float *direction;
	const struct feature_set *candidates;
	const int32_t *prefix;
	size_t n_prefix;
	struct ig_options options;
	bool all_features;
};

int attribution_create(struct attribution **out, const struct attribution_setup *setup,
	struct attribution_size size, struct err *err);
size_t attribution_bytes(const struct model *m, const struct feature_set *candidates,
	bool all_features, struct attribution_size size);

/* Accepts NULL. */
void attribution_free(struct attribution *a);

/* What attribution_run leaves behind, until the next run. Host memory, borrowed.
 * Tokens of the prompts lie end to end: prompt p's are rows token_start[p] to
 * token_start[p+1] - 1, of all arrays over tokens. */
struct attribution_result {
	size_t n_prompts, n_tokens, n_candidates;
	const size_t *token_start;
	const int32_t *target;    /* [n_prompts] j */
	const float *target_lead; /* [n_prompts] by how many logits j led the next most probable
				   * token of the patched run; infinite where j is given */
	const double *m_clean, *m_patch; /* [n_prompts] metric at the two ends, logits */
	const float *effect;             /* [n_tokens, n_candidates] IE, logits */
	/* [n_prompts, n_candidates] how far rounding alone moves the mean of a candidate's effects
	 * over the prompt's tokens, logits: the mean of
	 *   ROUNDING (|f_patch,i| + |f_clean,i|) s |W_dec[i]| |mean over a of dm/dx'|,
	 * ROUNDING = 2^-21, or 2^-9 where products round to bfloat16. On the small models effects
	 * of other batch sizes and instruction sets differ by less, all of them; in bfloat16 and in
	 * float32, nine in ten by less than a third of it: a feature near its threshold may be on
	 * in the one and off in the other, which this does not count. */
	const float *noise;
};

/* Runs 1 + N passes forward and N back over the prompts.
 * Errors: those of forward and backward. */
int attribution_run(struct attribution *a, const struct token_span *prompts, size_t n,
	struct attribution_result *result, struct err *err);

/* Effects of all features of one layer for the prompts of the last run, on the union of the two
 * supports: rows are tokens (in the last layer, where earlier tokens have none, the prompts' last
 * tokens only). Needs all_features. */
int attribution_all(struct attribution *a, size_t layer, struct host_csr *out, struct err *err);

/* The true effect of one candidate for the prompts of the last run, where a linear approximation
 * has only its gradient: what its whole change D = f_patch,i - f_clean,i at every token does at the
 * points of the path. Of D, the part a has been made at point a; so it is the mean over the points,
 * everything else being as it is there, of
 *   m(f_i + (1 - a) D) - m(f_i - a D).
 * 2 N passes; a point at 0 cannot be had (IG_RULE_LEFT): ERR_INTERNAL. The path must be joint.
 * prompts: those of the run. effect: host [n], logits. */
int attribution_path_effect(struct attribution *a, const struct token_span *prompts, size_t n,
	size_t candidate, double *effect, struct err *err);

/* Mean gradient of the last run at the site that the layer's SAE writes (sae_set_writes),
 * [rows, d_model], rows as for attribution_all. Device memory, borrowed until the next run. */
struct tensor attribution_gradient(const struct attribution *a, size_t layer);

#endif
