/* SPDX-License-Identifier: MIT
 *
 * sae_file.h - one layer's SAE as a publisher stores it. Each publisher's format is one file that
 * fills a struct sae_format: where a layer's files lie, and what they mean. All hand out float32
 * in the engine's orientation and convention (struct sae_weights of kernels/ops.h).
 */
#ifndef SAENGINE_SAE_FILE_H
#define SAENGINE_SAE_FILE_H

#include "host/model/sae_config.h"
#include "host/model/sae.h"

enum { SAE_PATH = 4096 };

struct sae_file {
	const struct sae_format *format;
	const struct sae_options *options; /* borrowed while opening */
	char *path;                        /* owned */
	void *reader;                      /* the format's own */

	/* Filled by open. */
	size_t d_model, d_sae;
	enum sae_input input;
	size_t top_k, group_width; /* as in struct sae_weights */
	bool gated;
	double claimed_l0; /* what folder or config say of the mean number of active features;
	                    * NAN = nothing */
};

/* Where read puts what it reads; NULL parts are skipped. Feature k of the request goes to row k.
 * Host memory. */
struct sae_arrays {
	float *W_enc_t;      /* [n, d_model] */
	float *b_enc;        /* [n] */
	float *threshold;    /* [n], not negative */
	float *gain, *shift; /* [n], of gated SAEs */
	float *W_dec;        /* [n, d_model] */
	float *b_dec;        /* [d_model] */
};

struct sae_format {
	const char *name;
	const char *file_name;   /* of the weights, below a layer's folder */
	const char *config_name; /* of what is read beside them; NULL = nothing */
	bool by_config; /* another format's weights have the same name: config_name must be there */

	/* Whether the folder that holds the layers looks like this format's. */
	bool (*recognises)(const char *folder);

	/* Writes layer's folder, or "" when there is none. Errors: a choice that is not clear. */
	int (*locate)(const struct sae_options *options, size_t layer, char folder[SAE_PATH],
		struct err *err);

	/* Fills the file's fields from file->path; checks names and shapes. */
	int (*open)(struct sae_file *file, struct err *err);

	/* Reads features ids[0..n-1], or all of them when ids is NULL (n = d_sae). */
	int (*read)(struct sae_file *file, const int32_t *ids, size_t n,
		const struct sae_arrays *out, struct err *err);

	/* Accepts a reader that open left half made. */
	void (*close)(struct sae_file *file);
};

extern const struct sae_format sae_gemma_scope, sae_gemma_scope_2, sae_llama_scope, sae_lm_saes,
	sae_saelens, sae_sparsify;

/* Runs `visit` on every folder in `folder`; what it returns other than 0 ends the run and is
 * returned. Errors: ERR_INPUT when the folder cannot be read. */
typedef int sae_folder_visit(void *context, const char *name, struct err *err);
int sae_folders(const char *folder, sae_folder_visit *visit, void *context, struct err *err);

/* Whether the files by which a format is told lie in a layer's folder. */
bool sae_format_holds(const struct sae_format *format, const char *folder);

/* Where the file that the format reads beside the weights is: config_name in their folder. */
void sae_config_path(const struct sae_file *file, char path[SAE_PATH]);

/* The same and its document; *out is owned, json_decref. Errors: those of json_read. */
int sae_config_open(const struct sae_file *file, char path[SAE_PATH], json_t **out, struct err *err);

#endif
