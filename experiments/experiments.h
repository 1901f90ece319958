/* SPDX-License-Identifier: MIT
 *
 * experiments.h - the experiments by the names that configs use. Each is one file that reads like
 * the method section of the paper, arXiv:2505.23556.
 */
#ifndef SAENGINE_EXPERIMENTS_H
#define SAENGINE_EXPERIMENTS_H

#include "host/lab/lab.h"

typedef int experiment(struct lab *lab, struct err *err);

experiment experiment_direction, experiment_attribution, experiment_jailbreak, experiment_induce,
	experiment_coherence, experiment_sweep_kstar, experiment_categories, experiment_conditional,
	experiment_suffix, experiment_jailbreaks, experiment_probe;

/* What an experiment demands of its inputs, asked before anything is computed or written. */
typedef int experiment_check(const struct lab *lab, struct err *err);

experiment_check check_attribution, check_jailbreak, check_coherence, check_sweep_kstar,
	check_categories, check_conditional, check_suffix, check_jailbreaks, check_probe;

/* Questions that the paper leaves open. */
experiment experiment_exact_patching, experiment_low_cosine, experiment_interactions,
	experiment_prune, experiment_feature_graph, experiment_sae_compare;
experiment_check check_exact_patching, check_low_cosine, check_interactions, check_prune,
	check_feature_graph, check_sae_compare;

/* Another model's verdict on the replies of an earlier run. */
experiment experiment_judge;
experiment_check check_judge;

#endif
