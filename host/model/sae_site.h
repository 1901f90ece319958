/* SPDX-License-Identifier: MIT
 *
 * sae_site.h - where dictionaries were trained, by the names that their publishers give: of hooks
 * in the configs beside them, of folders and repositories. What is read at one place and clamped at
 * another computes numbers that look like results, so that whatever found a file, what it says of
 * itself is held against the site it is wanted for.
 *
 *   TransformerLens   blocks.3.hook_mlp_out; hook_resid_pre of a block is resid_post of the one
 *                     before, the same numbers, and counts as that
 *   Hugging Face      model.layers.3, .output, .mlp, ...self_attn.o_proj.input: a module's output
 *                     unless it says input
 *   Gemma Scope       gemma-scope-2b-pt-{res,mlp,att,transcoders}, layer_3
 *   Gemma Scope 2     resid_post, attn_out, mlp_out, transcoder, each also _all; layer_3_width_16k
 *   Llama Scope       ...-L3R-8x: R resid_post, A attn_out, M mlp_out, TC transcoder; LXR: all
 *   lm_saes           L3R
 *   sparsify          layers.3, layers.3.mlp
 *
 * Tests: tests/test_sae.c, tests/fuzz/fuzz_sae_config.c.
 */
#ifndef SAENGINE_SAE_SITE_H
#define SAENGINE_SAE_SITE_H

#include "host/model/sae_file.h"

/* What a name says. */
struct sae_where {
	char place[64]; /* a word of site_places, or of a place that the engine does not read; "" =
			 * nothing is said */
	bool has_layer;
	size_t layer; /* as struct site counts */
	size_t block; /* as the name counts: of hook_resid_pre the one behind */
};

/* Of a hook. One that is not known is a place of its own name. */
struct sae_where sae_where_of_hook(const char *name);

/* Of one folder. */
struct sae_where sae_where_of_folder(const char *name);

/* Whether both are said, and are the site's. */
bool sae_where_is(const struct sae_where *where, struct site site);

/* Holds what the config beside the weights says of hooks, where there is one, and the names of the
 * folders that they lie in, against what the file is to read and write; the innermost folder that
 * says something counts. Fills file->said. Errors: ERR_INPUT naming file, key or folder, expected
 * and found; those of json_read. */
int sae_site_check(struct sae_file *file, struct err *err);

/* The part that is of a config; `path` is for messages. */
int sae_site_check_config(struct sae_file *file, const json_t *cfg, const char *path,
	struct err *err);

/* For the message that an SAE is missing: a folder of another place than the wanted one, as
 * `, but "NAME", which is of PLACE`; "" where there is none. Returns buffer. */
const char *sae_site_others(const struct sae_options *options, char *buffer, size_t size);

#endif
