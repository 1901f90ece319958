/* SPDX-License-Identifier: MIT
 *
 * dataset.h - what a dataset of the result file is, said once: the road into the file, and the
 * tables of results/README.md.
 *
 *	static const struct {
 *		struct dataset position, v;
 *	} out = {{"/direction/position", {"position"}, RESULTS_I32, "", "counted from the end"},
 *		{"/direction/v", {"position", "layer", "d_model"}, RESULTS_F32, "1", "mean ..."}};
 *
 *	TRY(dataset_write(results, &out.position, NULL, (size_t[]){n}, positions, err));
 *	TRY(dataset_write(results, &out.v, NULL, (size_t[]){n, n_layer, d_model}, v, err));
 *
 *  1. Words of two or more capitals in a path stand for names that the run knows:
 *     dataset_write(results, &out.refusal, WORDS("prune", condition), ...) of
 *     "/scores/EXPERIMENT/CONDITION/refusal".
 *  2. A dataset with the name of its one dimension is that dimension's scale.
 *  3. Scales are found by name, in the dataset's own group or in the nearest above, so they are
 *     written first. One in the root counts from 0 and is for netCDF a dimension alone; one in a
 *     group is a coordinate too, so that nothing below that group has its name and other values.
 *  4. Where the run decides (units "logit or 1", or_half), a copy of the descriptor that has
 *     decided is written.
 */
#ifndef SAENGINE_DATASET_H
#define SAENGINE_DATASET_H

#include "host/store/results.h"

struct dataset {
	const char *path;               /* from the root */
	const char *dims[RESULTS_DIMS]; /* their names; NULL behind the last */
	enum results_type type;
	const char *units;   /* "logit", "nat", "s", "1", "" for text and ids; "A or B" */
	const char *meaning; /* Markdown; without its `` the dataset's long_name */
	/* Rows of a unit: the values are ends of the rows of this dataset of the same group,
	 * counted within the unit; joining adds the rows that came before. */
	const char *ends_of;
	bool compress; /* gzip and shuffle: tables, ids, sparse indices; never activations */
	bool or_half;  /* F32, or F16 where the run asks for it */
};

/* Names for the words of a path, in their order. */
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Writes a whole dataset or scale. words: WORDS(...), NULL where the path has none. n: the length
 * of each dimension. data: TEXT const char *const *, F16 float, else as the type is. Errors:
 * ERR_OUTPUT with dataset and reason; ERR_INTERNAL for other words than the path's, or a scale that
 * is missing or of another length. */
int dataset_write(struct results *r, const struct dataset *d, const char *const *words,
	const size_t *n, const void *data, struct err *err);

/* Writes the scale 0 ... n - 1. */
int dataset_write_counting(struct results *r, const struct dataset *d, const char *const *words,
	size_t n, struct err *err);

/* ---- how much room it takes -------------------------------------------------------------- */

/* How long the dimensions of a name will be. */
struct dataset_length {
	const char *name;
	size_t least, most;
};

/* Of dimensions whose length is known, and a list of them. */
#define LENGTH(name, n) \
	{ \
		name, n, n \
	}
#define LENGTHS(...) ((const struct dataset_length[]){__VA_ARGS__, {NULL, 0, 0}})

/* An estimate: `least` is taken whatever the values, `most` is above what was measured. */
struct dataset_bytes {
	double least, most;
	/* Uncompressed, as in units: at least, and at most, which decides whether the summary has
	 * it. */
	double least_values, values;
};

/* `rows`: it grows by the rows of units. Errors: ERR_INTERNAL for a dimension without a length. */
int dataset_bytes(const struct dataset *d, const struct dataset_length *lengths, bool rows,
	struct dataset_bytes *out, struct err *err);

/* Whether its path has words that the run fills in: then there may be several. Whether it is its
 * own dimension's scale. */
bool dataset_is_repeated(const struct dataset *d);
bool dataset_is_scale(const struct dataset *d);

/* ---- for stage.c, which puts rows into units --------------------------------------------- */

/* A dataset of a run: the descriptor, words and lengths filled in. */
struct dataset_filled {
	struct results_dataset d; /* its texts are the two below and the descriptor's */
	char path[256], ends_of[256], long_name[512];
};

/* Errors: ERR_INTERNAL for other words than the path's. */
int dataset_fill(struct dataset_filled *out, const struct dataset *d, const char *const *words,
	const size_t *n, struct err *err);

/* The numbers 0 ... n - 1, owned by the caller. */
int dataset_counting(int32_t **out, size_t n, struct err *err);

/* ---- the page ---------------------------------------------------------------------------- */

/* A section of results/README.md. */
struct dataset_section {
	const char *title, *note; /* Markdown; the note stands above the table, NULL = none */
	const struct dataset *datasets;
	size_t n; /* 0 = no table: a chapter's opening */
};

/* The last two members of a section, from a struct that holds datasets alone. */
#define DATASETS(members) \
	(const struct dataset *)&(members), sizeof(members) / sizeof(struct dataset)

/* Prints the section as README has it: "### title", note, table. */
void dataset_section_print(const struct dataset_section *s, FILE *to);

#endif
