/* SPDX-License-Identifier: MIT
 *
 * load.h - what the loads of bench_loads share: the model and SAEs they run on, the cases that are
 * measured, and what one round of a case says.
 */
#ifndef SAENGINE_LOAD_H
#define SAENGINE_LOAD_H

#include "host/model/generate.h"
#include "tests/loads/random_model.h"

#include <stdbool.h>

enum { LOAD_CASES = 32, LOAD_FIGURES = 6, LOAD_BATCHES = 4, LOAD_WIDTHS = 2 };

/* Sizes of everything; the shape of the model is its config. */
struct shape {
	const char *name, *config;
	size_t attributed;            /* (a): prompts */
	size_t prompt_tokens;         /* of the prompts of (a), (b) and the many of (d), (e) */
	size_t replies[LOAD_BATCHES]; /* (b): prompts at a time */
	size_t max_new;               /* (b) */
	size_t encoded;               /* (c): rows */
	size_t widths[LOAD_WIDTHS];   /* (a), (c): features of an SAE */
	size_t many, few, few_tokens; /* (d), (e): prompts, and long ones */
};

/* The SAEs in use, kept from one case to the next that wants the same. */
struct bench_saes {
	struct sae_set *set; /* NULL = none; owned */
	size_t d_sae;
	bool bf16;
};

struct bench {
	struct device *dev;
	const struct shape *shape;
	size_t rows; /* most of a pass */
	struct stretch weights, features;
	struct random_model random;
	struct model *model; /* random's */
	struct readout readout;
	int32_t *tokens; /* [prompts * prompt_tokens], of as many prompts as any case wants */
	size_t n_tokens;
	struct tensor *resid; /* [n_layer] resid_post of the first prompts, device */
	void *resid_memory;
	double *deviation; /* [n_layer, resid rows]: |x|/sqrt(d_model) */
	struct bench_saes saes;
};

enum clamping { CLAMP_NONE, CLAMP_ONE, CLAMP_EACH };

struct load;

struct load_case {
	const struct load *load;
	char name[48];  /* "b 64 one": what --serve is asked for */
	size_t prompts; /* or rows, (c) */
	size_t tokens;  /* of each */
	size_t max_new; /* (b) */
	size_t d_sae;   /* 0 = no SAE */
	bool all;       /* (a): effects of all features */
	bool bf16;      /* the SAE */
	bool file;      /* (e): written to files */
	enum clamping clamping;
};

/* One round. */
struct figures {
	double seconds;
	size_t n; /* items done */
	struct {
		const char *name;
		double value;
	} more[LOAD_FIGURES];
	size_t n_more;
};

struct load {
	char letter;
	const char *title, *item;
	/* Device memory that a case needs beside the model. */
	size_t (*bytes)(const struct bench *b, const struct load_case *c);
	/* A state of that size, zeroed, is the caller's memory; close empties it, also after an
	 * error of open. */
	size_t state_bytes;
	int (*open)(struct bench *b, const struct load_case *c, void *state, struct err *err);
	int (*run)(void *state, struct figures *out, struct err *err);
	void (*close)(void *state);
};

extern const struct load load_attribution, load_capture, load_decode, load_encode, load_prefill;

/* Opens device, model and everything that follows from them. To be closed also after an error. */
int bench_open(struct bench *b, const char *device, const struct shape *shape, struct err *err);
void bench_close(struct bench *b);

/* n spans of the bench's random tokens. *out is owned, free it. */
int bench_prompts(const struct bench *b, size_t n, size_t tokens, struct token_span **out,
	struct err *err);

/* SAEs of all layers, of which as many stay loaded as fit beside `beside` bytes; b->saes. Others
 * that are open are closed. */
int bench_saes(struct bench *b, size_t d_sae, bool bf16, size_t beside, struct err *err);
void bench_saes_close(struct bench *b);

/* Memory that is free, and that could be had: with what the SAEs hold. */
size_t bench_free(const struct bench *b);
size_t bench_memory(const struct bench *b);

/* Encodes the kept resid_post of a layer by all features: *l0 is how many are on. */
int bench_l0(struct bench *b, size_t layer, double *l0, struct err *err);

/* ERR_INTERNAL outside 30 to 300: an SAE that fires like that is not what the figures are about. */
int bench_check_l0(double l0, struct err *err);

void figures_add(struct figures *f, const char *name, double value);

#endif
