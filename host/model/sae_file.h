/* SPDX-License-Identifier: MIT
 *
 * sae_file.h - one layer's SAE as a publisher stores it. Each publisher's format is one file that
 * fills a struct sae_format: where a layer's files lie, and what they mean. All describe what they
 * hold as a struct sae_tensors (sae_tensors.h), from which features are read in the engine's
 * orientation and convention (struct sae_weights of kernels/ops.h).
 */
#ifndef SAENGINE_SAE_FILE_H
#define SAENGINE_SAE_FILE_H

#include "host/model/sae_config.h"
#include "host/model/sae_options.h"

#include <stdint.h>

enum { SAE_PATH = 4096 };

/* What config and folders say of where the SAE was trained: sae_site.h. */
struct sae_said {
	char by[256];   /* who says the place, in words; "" = nobody */
	size_t block;   /* by the config, as it counts; where `by` is not "" */
	char model[96]; /* the config's model_name, "" = none */
};

struct sae_file {
	const struct sae_format *format;
	const struct sae_options *options; /* borrowed while opening */
	struct site reads, writes;         /* sae_set_reads, sae_set_writes */
	char *path;                        /* owned */
	void *reader;                      /* the format's own */
	int n_threads;                     /* to read with */

	/* Filled by open. */
	size_t d_model, d_sae;
	enum sae_input input;
	size_t top_k, group_width; /* as in struct sae_weights */
	bool gated;
	double claimed_l0; /* what folder or config say of the mean number of active features;
			    * NAN = nothing */
	struct sae_said said;

	/* sae_unused.c */
	uint8_t *unused; /* [d_sae], owned: whether a feature is out of use; NULL = none is */
	size_t n_unused;
};

/* The matrices that are wanted. */
enum sae_parts { SAE_ENCODER = 1, SAE_DECODER = 2, SAE_BOTH = 3 };

struct sae_tensors;

struct sae_format {
	const char *name;
	const char *file_name;   /* of the weights, below a layer's folder */
	const char *config_name; /* of what is read beside them; NULL = nothing */
	bool by_config; /* another format's weights have the same name: config_name must be there */

	/* Whether the folder that holds the layers looks like this format's: 1 or 0. Errors:
	 * ERR_INPUT when it, or one in it, cannot be read. */
	int (*recognises)(const char *folder, struct err *err);

	/* Writes the folder of a site's SAE, or "" when there is none. Errors: a choice that is not
	 * clear. */
	int (*locate)(const struct sae_options *options, struct site site, char folder[SAE_PATH],
		struct err *err);

	/* Fills the file's fields from file->path; checks names and shapes. */
	int (*open)(struct sae_file *file, struct err *err);

	/* What lies where, borrowed until release: matrices that are not among `parts` may be
	 * missing, as a deflated one takes its time. Errors: ERR_INPUT. */
	int (*tensors)(struct sae_file *file, enum sae_parts parts, struct sae_tensors *out,
		struct err *err);

	/* Lets go of what was read, also after `tensors` has failed. */
	void (*release)(struct sae_file *file);

	/* Accepts a reader that open left half made. */
	void (*close)(struct sae_file *file);
};

extern const struct sae_format sae_gemma_scope, sae_gemma_scope_2, sae_llama_scope, sae_lm_saes,
	sae_saelens, sae_sparsify;

/* Runs `visit` on every folder in `folder`, by name; what it returns other than 0 ends the run and
 * is returned. Errors: ERR_INPUT when the folder cannot be read. */
typedef int sae_folder_visit(void *context, const char *name, struct err *err);
int sae_folders(const char *folder, sae_folder_visit *visit, void *context, struct err *err);

/* Whether the files by which a format is told lie in a layer's folder. */
bool sae_format_holds(const struct sae_format *format, const char *folder);

/* Where the file that the format reads beside the weights is: config_name in their folder. */
void sae_config_path(const struct sae_file *file, char path[SAE_PATH]);

/* The same and its document; *out is owned, json_decref. Errors: those of json_read. */
int sae_config_open(const struct sae_file *file, char path[SAE_PATH], json_t **out,
	struct err *err);

#endif
