/* SPDX-License-Identifier: MIT
 *
 * inputs.h - what a run is made from: the files it reads, by their SHA-256, and its settings. Two
 * runs with the same text of inputs_text compute the same.
 */
#ifndef SAENGINE_INPUTS_H
#define SAENGINE_INPUTS_H

#include "host/base/file.h"
#include "host/lab/machine.h"

/* A file that an experiment reads beside those of every run. Texts borrowed. */
struct input {
	const char *key; /* the setting that names it */
	const char *path;
	const char *published; /* where it is published, "" = nobody says */
	const char *role;      /* in /provenance/role: "template", "chat_template" */
};

struct input_list {
	struct input *data; /* owned: free it */
	size_t n, cap;
};

struct inputs {
	struct input_file {
		char *path, *role; /* owned */
		char sha256[SHA256_HEX];
	} * data; /* owned; inputs_free */
	size_t n, cap;
};

/* Whether everything that the config names is there, before anything is opened; all that is missing
 * is told at once, with where it is published. Errors: ERR_INPUT. */
int inputs_check(const struct config *config, const struct input_list *more, struct err *err);

/* Every file of the run: model, tokenizer, weights, SAEs, prompts, `more`, findings of an earlier
 * run. Their hashes are empty until inputs_hash, which reads all of them once. Errors: ERR_INPUT.
 */
int inputs_list(struct inputs *inputs, const struct config *config, const struct machine *m,
	const struct input_list *more, struct err *err);
int inputs_hash(struct inputs *inputs, const struct machine *m, struct err *err);

/* Before the first unit: sees that all ranks read the same bytes (ranks_agree.h). Each may have
 * copies of its own under the same paths. It compares texts (configs, tokenizers, templates,
 * prompts) whole; of weights, SAEs, adapters and earlier result files 2 MiB each, by the rule of
 * sample.h, so that this takes no rank more than seconds. Errors: ERR_INPUT, on all ranks;
 * ERR_OUTPUT, ERR_STOPPED. */
int inputs_agree(const struct inputs *inputs, const struct machine *m, const struct ranks *ranks,
	struct err *err);

/* Accepts a zeroed struct. */
void inputs_free(struct inputs *inputs);

/* One line each, "key = value": engine, arithmetic, precision, settings that bear on the results,
 * files. Units of another arithmetic are of another run: a run that was killed goes on only where
 * it would compute the same bits. Owned by the caller; NULL when out of memory. */
char *inputs_text(const struct inputs *inputs, const struct config *config,
	const struct machine *m);

#endif
