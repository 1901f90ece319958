/* SPDX-License-Identifier: MIT
 *
 * sae_config.h - what the JSON files beside published SAEs say. Everything a reader accepts is
 * within bounds that need no file of weights; what must fit the tensors (k against the width) is
 * left to the format that opens them.
 *
 * A reader takes the document at `path`, which is for messages. Errors: ERR_INPUT naming file, key,
 * expected and found.
 */
#ifndef SAENGINE_SAE_CONFIG_H
#define SAENGINE_SAE_CONFIG_H

#include "host/formats/json.h"
#include "kernels/ops.h"

/* ERR_INPUT: an SAE that cannot stand where the engine reads SAEs, whatever its numbers. Which hook
 * a config names is held against the wanted one for all publishers alike: sae_site.h. */
int sae_refuse(const char *path, const char *what, struct err *err);

/* ERR_INPUT unless the text of `key`, where there is one, is `expected`; the same of a number and
 * of true or false. */
int sae_expect_text(const json_t *object, const char *path, const char *key, const char *expected,
	struct err *err);
int sae_expect_size(const json_t *object, const char *path, const char *key, size_t expected,
	struct err *err);
int sae_expect_bool(const json_t *object, const char *path, const char *key, bool expected,
	struct err *err);

/* ---- SAELens' cfg.json ------------------------------------------------------------------- */

enum saelens_kind { SAELENS_STANDARD, SAELENS_GATED, SAELENS_TOP_K, SAELENS_THRESHOLD };

struct saelens_config {
	enum saelens_kind kind;
	enum sae_input input;
	bool subtract_b_dec; /* from the (normed) input */
	bool rescaled;       /* ranks or thresholds are of f |W_dec| */
	bool scaled;         /* a factor of each feature may lie beside the decoder */
	size_t k;            /* of SAELENS_TOP_K, at least 1 */
};

int saelens_config_read(struct saelens_config *out, const json_t *cfg, const char *path,
	struct err *err);

/* The name of its hook, borrowed from cfg, "" = none. */
int saelens_config_hook(const char **hook, const json_t *cfg, const char *path, struct err *err);

/* ---- sparsify's cfg.json ----------------------------------------------------------------- */

struct sparsify_config {
	size_t k;    /* at least 1 */
	bool groups; /* the largest of each of k groups, not the k largest */
};

int sparsify_config_read(struct sparsify_config *out, const json_t *cfg, const char *path,
	struct err *err);

/* ---- Llama Scope's hyperparams.json ------------------------------------------------------- */

/* All positive and finite. */
struct llama_scope_config {
	double norm_in, norm_out; /* mean |x| of the input and of what is reconstructed */
	double threshold;
};

int llama_scope_config_read(struct llama_scope_config *out, const json_t *file, const char *path,
	struct err *err);

/* ---- config.json of the library lm_saes --------------------------------------------------- */

/* Its weights are for inputs scaled to a mean norm of sqrt(d_model). */
struct lm_saes_config {
	char hook[64];       /* of the input, which its norm is named after */
	bool rescaled;       /* thresholds are of f |W_dec| */
	bool subtract_b_dec; /* from the scaled input */
};

int lm_saes_config_read(struct lm_saes_config *out, const json_t *cfg, const char *path,
	struct err *err);

#endif
