/* SPDX-License-Identifier: MIT
 *
 * registry.h - all experiments there are, and the run of those that a config lists, in its order.
 */
#ifndef SAENGINE_REGISTRY_H
#define SAENGINE_REGISTRY_H

#include "experiments/experiment.h"

/* What the config knows of them: *n sections, in the order of the registry. */
const struct section *registry_sections(size_t *n);

/* Prints name and question of each. */
void registry_print(FILE *to);

/* Prints every dataset that a result file may have, as results/README.md has them. */
void registry_print_datasets(FILE *to);

/* ---- of the experiments of a run -------------------------------------------------------- */

/* The files they read beside those of every run. Appends. */
int experiments_inputs(const struct config *config, struct input_list *out, struct err *err);

/* Where the prompts come from; NULL = the sets of the config. */
const struct prompt_source *experiments_source(const struct config *config);

/* What they find, and what they need or take when it is there, as bits of enum finding; what they
 * use, as bits of enum use. */
unsigned experiments_provide(const struct config *config);
unsigned experiments_want(const struct config *config);
unsigned experiments_use(const struct config *config);

/* Whether each will find what it needs and its inputs are what it demands; nothing is computed.
 * Errors: ERR_CONFIG, ERR_INPUT. */
int experiments_check(const struct lab *lab, const struct findings *findings, struct err *err);

/* Fills an empty plan, which is to be the lab's. What is declared was checked. Errors: those of the
 * declarations. */
int experiments_plan(const struct lab *lab, const struct findings *findings, struct plan *out,
	struct err *err);

/* Errors: those of the experiments. */
int experiments_run(struct lab *lab, struct findings *findings, struct err *err);

void experiments_print(const struct lab *lab, const struct findings *findings);

#endif
