/* SPDX-License-Identifier: MIT
 *
 * main.c - ./engine CONFIG: reads a config, runs its experiments in order, writes the result file.
 * The only place that exits; the exit status is the error's code (host/base/err.h).
 */
#include "experiments/experiments.h"

#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/lab/plan.h"
#include "host/measure/sae_check.h"
#include "host/work/stop.h"

#include <stdio.h>
#include <sys/resource.h>

#include "version.h"

static const struct {
	const char *name;
	experiment *run;
	experiment_check *check; /* NULL = nothing beyond the config's own checks */
	bool whole_saes;         /* reads the SAEs of all layers, not a few of their features */
} experiments[] = {
	{"direction", experiment_direction, NULL, false},
	{"attribution", experiment_attribution, check_attribution, true},
	{"jailbreak", experiment_jailbreak, check_jailbreak, false},
	{"induce", experiment_induce, NULL, false},
	{"coherence", experiment_coherence, check_coherence, false},
	{"sweep_kstar", experiment_sweep_kstar, check_sweep_kstar, true},
	{"categories", experiment_categories, check_categories, true},
	{"conditional", experiment_conditional, check_conditional, false},
	{"suffix", experiment_suffix, check_suffix, false},
	{"jailbreaks", experiment_jailbreaks, check_jailbreaks, false},
	{"probe", experiment_probe, check_probe, false},

	{"exact_patching", experiment_exact_patching, check_exact_patching, true},
	{"low_cosine", experiment_low_cosine, check_low_cosine, true},
	{"interactions", experiment_interactions, check_interactions, true},
	{"prune", experiment_prune, check_prune, false},
	{"feature_graph", experiment_feature_graph, check_feature_graph, false},
	{"sae_compare", experiment_sae_compare, check_sae_compare, true},

	{"judge", experiment_judge, check_judge, false},
};

static const char USAGE[] =
	"usage: engine CONFIG [--set KEY=VALUE]... [--fresh] [--dry-run] [--device NAME] [--profile]\n"
	"       engine --inspect FILE.h5|FOLDER.units\n"
	"       engine --help | --help-config | --version\n"
	"\n"
	"Runs the experiments that CONFIG names and writes its result file (HDF5). Finished work is\n"
	"kept in NAME.units beside NAME.h5 until that is complete: after a crash, a kill or a full disk\n"
	"the same command goes on from there, and gives the same file. Several processes share the work\n"
	"when a launcher starts them: mpirun -n 4 ./engine CONFIG, or srun.\n"
	"\n"
	"  --set KEY=VALUE  overrides a setting, e.g. --set attribution.k_star=5\n"
	"  --device NAME    the same as --set device=NAME\n"
	"  --fresh          begins anew; units of an earlier run are kept as NAME.units.old-N\n"
	"  --inspect PATH   prints what a result file or a folder of units holds, and whether it is "
	"complete\n"
	"  --dry-run        opens every input, prints the plan and the memory it needs, and stops\n"
	"  --profile        prints where the time went, by kernel, at the end\n"
	"  --help-config    all settings with types, bounds, defaults and meanings\n"
	"\n"
	"exit status: 0 done, 1 internal error, 2 usage or config, 3 input file, 4 device or memory,\n"
	"             5 output (disk full, not allowed, another run is writing there),\n"
	"             85 stopped, by SIGTERM, SIGINT, SIGUSR1, SIGUSR2 or the end of another rank, within\n"
	"                30 s; the same command goes on\n";

struct arguments {
	const char *config, *inspect;
	struct {
		const char **data;
		size_t n, cap;
	} overrides;
	char device[256];
	bool dry_run, fresh, done;
};

static int parse_arguments(struct arguments *a, int argc, char **argv, struct err *err)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		const bool takes_value = strcmp(arg, "--set") == 0 ||
					 strcmp(arg, "--device") == 0 ||
					 strcmp(arg, "--inspect") == 0;

		if (takes_value && i + 1 == argc)
			return err_set(err, ERR_CONFIG, "%s: expected a value after it\n\n%s", arg,
				USAGE);
		if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
			fputs(USAGE, stdout);
			a->done = true;
		} else if (strcmp(arg, "--help-config") == 0) {
			config_print_help(stdout);
			a->done = true;
		} else if (strcmp(arg, "--version") == 0) {
			printf("saengine %s (%s)\n", SAENGINE_VERSION, SAENGINE_COMMIT);
			a->done = true;
		} else if (strcmp(arg, "--dry-run") == 0) {
			a->dry_run = true;
		} else if (strcmp(arg, "--inspect") == 0) {
			a->inspect = argv[++i];
			a->done = true;
		} else if (strcmp(arg, "--fresh") == 0) {
			a->fresh = true;
		} else if (strcmp(arg, "--profile") == 0) {
			TRY(vec_push(&a->overrides, "profile=true", err));
		} else if (strcmp(arg, "--set") == 0) {
			TRY(vec_push(&a->overrides, argv[++i], err));
		} else if (strcmp(arg, "--device") == 0) {
			snprintf(a->device, sizeof a->device, "device=%s", argv[++i]);
			TRY(vec_push(&a->overrides, a->device, err));
		} else if (arg[0] == '-' || a->config) {
			return err_set(err, ERR_CONFIG, "unexpected argument \"%s\"\n\n%s", arg,
				USAGE);
		} else {
			a->config = arg;
		}
	}
	if (!a->config && !a->done)
		return err_set(err, ERR_CONFIG, "expected a config file\n\n%s", USAGE);
	return 0;
fail:
	return err->code;
}

static int check_experiments(const struct lab *lab, struct err *err)
{
	const struct config *c = lab->config;

	for (size_t i = 0; i < c->experiment.n; i++)
		for (size_t e = 0; e < sizeof experiments / sizeof *experiments; e++)
			if (strcmp(c->experiment.items[i], experiments[e].name) == 0 &&
				experiments[e].check && experiments[e].check(lab, err))
				return err->code;
	return 0;
}

static bool reads_whole_saes(const struct config *c)
{
	bool any = c->sae.check;

	for (size_t e = 0; e < sizeof experiments / sizeof *experiments; e++)
		any |= experiments[e].whole_saes &&
		       text_list_holds(&c->experiment, experiments[e].name);
	return any;
}

static int run_experiments(struct lab *lab, struct err *err)
{
	const struct config *c = lab->config;

	for (size_t i = 0; i < c->experiment.n; i++)
		for (size_t e = 0; e < sizeof experiments / sizeof *experiments; e++)
			if (strcmp(c->experiment.items[i], experiments[e].name) == 0)
				TRY(experiments[e].run(lab, err));
	return 0;
fail:
	return err->code;
}

static void print_profile(const struct lab *lab)
{
	struct op_time times[64];
	const size_t n = device_op_times(lab->dev, times, 64);
	double total = 0, gemm = 0;
	struct rusage usage;

	for (size_t i = 0; i < n; i++) {
		total += times[i].seconds;
		gemm += times[i].flops > 0 ? times[i].seconds : 0;
	}
	printf("\nkernels: %.2f s, %.0f %% in matrix products\n  %-28s %9s %8s %9s %9s\n", total,
		100 * gemm / total, "op", "calls", "seconds", "share", "GFLOP/s");
	for (size_t i = 0; i < n; i++) {
		printf("  %-28s %9llu %8.2f %8.1f%%", times[i].name, times[i].calls,
			times[i].seconds, 100 * times[i].seconds / total);
		if (times[i].flops > 0)
			printf(" %9.1f", times[i].flops / times[i].seconds * 1e-9);
		putchar('\n');
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("device memory: at most %.1f MiB beside the weights\n"
	       "peak memory of the process: %.1f MiB\n",
		(double)device_peak(lab->dev) / 0x1p20, (double)usage.ru_maxrss / 1024);
}

/* A run that failed by its inputs leaves nothing; any other keeps its units. */
static void leave_results(struct lab *lab, struct err *err)
{
	const size_t n = strlen(err->text);

	if (err->code == ERR_CONFIG || err->code == ERR_INPUT)
		units_discard(lab->units);
	else {
		snprintf(err->text + n, sizeof err->text - n,
			"\nwhat was finished is in %s; the same command goes on from there",
			lab->units->folder);
		units_close(lab->units);
	}
	lab->units = NULL;
	if (lab->results)
		results_discard(lab->results);
	lab->results = NULL;
}

static int finish_results(struct lab *lab, struct err *err)
{
	struct results *results = lab->results;
	struct units *units = lab->units;

	TRY(results_summarize(results, err));
	lab->results = NULL;
	TRY(results_finish(results, err));
	lab->units = NULL;
	return units_finish(units,
		lab->config->store.keep_units || strcmp(lab->config->store.merge, "virtual") == 0,
		err);
fail:
	return err->code;
}

static int run(const struct config *c, const struct arguments *arguments, struct ranks *ranks,
	struct err *err)
{
	const double started = clock_seconds();
	struct lab lab = {0};

	err_clear(err);
	TRY(lab_open(&lab, c, ranks, err));
	TRY(lab_load_findings(&lab, err));
	TRY(check_experiments(&lab, err));
	if (arguments->dry_run) {
		plan_print(&lab, err);
		goto fail;
	}
	TRY(plan_check(&lab, err));
	TRY(lab_finish_loading(&lab, reads_whole_saes(c), err));
	if (c->profile)
		device_make_synchronous(lab.dev);
	log_info("saengine %s: %s on %s, %zu prompts", SAENGINE_VERSION, c->model.path,
		device_description(lab.dev), lab.prompts.n);
	lab.stages.silent = ranks->rank > 0;
	TRY(lab_begin_results(&lab, arguments->fresh, err));
	TRY(lab_write_frame(&lab, err));
	if (c->sae.check && lab.saes)
		TRY(sae_check_run(&lab, err));
	TRY(run_experiments(&lab, err));
	TRY(lab_write_summary(&lab, err));
	TRY(finish_results(&lab, err));
	if (ranks->rank == 0)
		lab_print_summary(&lab);
	if (c->profile)
		print_profile(&lab);
	if (ranks->rank == 0)
		log_info("\n%s written in %.1f s", c->output, clock_seconds() - started);
fail:
	if (err->code && lab.units)
		leave_results(&lab, err);
	if (lab.config)
		lab_close(&lab);
	return err->code;
}

/* One of several ranks, or the only one. */
static int run_rank(const struct config *c, const struct arguments *arguments, struct err *err)
{
	static char prefix[32];
	struct ranks ranks;

	if (ranks_from_environment(&ranks, err))
		return err->code;
	if (arguments->dry_run)
		return ranks.rank == 0 ? run(c, arguments, &ranks, err) : 0;
	if (ranks.rank > 0) {
		snprintf(prefix, sizeof prefix, "rank %zu: ", ranks.rank);
		log_set_prefix(prefix);
	}
	stop_on_signals();
	if (ranks_open(&ranks, c->output, err) == 0)
		run(c, arguments, &ranks, err);
	ranks_close(&ranks, err->code != 0);
	if (err->code && ranks.world > 1)
		err_prefix(err, "rank %zu of %zu", ranks.rank, ranks.world);
	return err->code;
}

static int inspect(const char *path, struct err *err)
{
	if (folder_exists(path))
		return units_inspect(path, stdout, err);
	return results_inspect(path, stdout, err);
}

int main(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct config config = {0};
	struct err err = {0};

	memory_keep_freed();
	if (parse_arguments(&arguments, argc, argv, &err) == 0 && arguments.inspect)
		inspect(arguments.inspect, &err);
	if (err.code == 0 && !arguments.done &&
		config_load(&config, arguments.config, arguments.overrides.data,
			arguments.overrides.n, &err) == 0)
		run_rank(&config, &arguments, &err);
	config_free(&config);
	free(arguments.overrides.data);
	if (err.code) {
		fflush(stdout);
		fprintf(stderr, "%s\n", err.text);
	}
	return err.code;
}
