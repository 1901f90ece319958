/* SPDX-License-Identifier: MIT
 *
 * sae_options.h - which SAEs, and what is kept of them: what users ask for (sae.h), for the files
 * that find and read them.
 */
#ifndef SAENGINE_SAE_OPTIONS_H
#define SAENGINE_SAE_OPTIONS_H

#include "host/model/site.h"

#include <stdbool.h>
#include <stddef.h>

/* What weights are kept as. */
enum sae_dtype {
	SAE_FLOAT32,  /* as published */
	SAE_BF16,     /* W_enc and W_dec in bfloat16; biases and thresholds as published, float32 */
	SAE_RELEASED, /* the same, and biases and thresholds rounded to bfloat16 */
	N_SAE_DTYPES
};
extern const char *const sae_dtype_names[N_SAE_DTYPES]; /* as users type them */

struct sae_options {
	const char *path;         /* the folder that holds the layers' folders */
	enum site_place place;    /* of which SAEs are wanted */
	const char *format;       /* a format's name, or "auto" */
	const char *layer_folder; /* "" = found by format; a layer's folder below path, the layer's
				   * number in place of {layer} */
	const char *width;        /* as the folders spell it: "16k", "8x" */
	double l0;                /* Gemma Scope: the SAE whose average L0 is nearest */
	const char *fold;         /* Llama Scope: "authors", "saelens5" or "saelens6" */
	enum sae_dtype dtype;
	bool some_layers;  /* layers without an SAE are left out, not an error */
	bool allow_unused; /* a feature that is not finite is put out of use, not an error */
	size_t budget;     /* bytes of device memory for whole SAEs; at least one always fits */
};

#endif
