/* SPDX-License-Identifier: MIT
 *
 * sae_file.h - one layer's SAE as a publisher stores it. Each format is one file that fills a
 * struct sae_format; all of them hand out float32 in the engine's orientation and convention:
 *   f_i = pre_i if pre_i > threshold_i else 0,   pre = W_enc_t x + b_enc on the raw resid_post,
 *   x_hat = f W_dec + b_dec.
 */
#ifndef SAENGINE_SAE_FILE_H
#define SAENGINE_SAE_FILE_H

#include "host/model/sae.h"

struct sae_file {
	const struct sae_format *format;
	char *path; /* owned */
	size_t d_model, d_sae;
	void *reader; /* the format's own */
};

/* Where read puts what it reads; NULL parts are skipped. Feature k of the request goes to row k.
 * Host memory. */
struct sae_arrays {
	float *W_enc_t;   /* [n, d_model] */
	float *b_enc;     /* [n] */
	float *threshold; /* [n], not negative */
	float *W_dec;     /* [n, d_model] */
	float *b_dec;     /* [d_model] */
};

struct sae_format {
	const char *name;

	/* Whether the folder looks like this format's. */
	bool (*recognises)(const char *folder);

	/* The path of layer's file, to be freed by the caller. */
	int (*locate)(const struct sae_options *options, size_t layer, char **path,
		struct err *err);

	/* Fills d_model, d_sae and reader from file->path; checks names and shapes. */
	int (*open)(struct sae_file *file, struct err *err);

	/* Reads features ids[0..n-1], or all of them when ids is NULL (n = d_sae). */
	int (*read)(struct sae_file *file, const int32_t *ids, size_t n,
		const struct sae_arrays *out, struct err *err);

	/* Accepts a reader that open left half made. */
	void (*close)(struct sae_file *file);
};

extern const struct sae_format sae_gemma_scope, sae_llama_scope;

#endif
