/* SPDX-License-Identifier: MIT
 *
 * main.c - ./engine CONFIG: reads a config, runs its experiments in order, writes the result file.
 * The only place that exits; the exit status is the error's code (host/base/err.h).
 */
#include "experiments/experiments.h"

#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/run/plan.h"
#include "host/run/progress.h"

#include <stdio.h>
#include <sys/resource.h>

#include "version.h"

static const struct {
	const char *name;
	experiment *run;
} experiments[] = {
	{"direction", experiment_direction},
	{"attribution", experiment_attribution},
	{"jailbreak", experiment_jailbreak},
	{"induce", experiment_induce},
	{"coherence", experiment_coherence},
};

static const char USAGE[] =
	"usage: engine CONFIG [--set KEY=VALUE]... [--dry-run] [--device NAME] [--profile]\n"
	"       engine --help | --help-config | --version\n"
	"\n"
	"Runs the experiments that CONFIG names and writes its result file (HDF5).\n"
	"\n"
	"  --set KEY=VALUE  overrides a setting, e.g. --set attribution.k_star=5\n"
	"  --device NAME    the same as --set device=NAME\n"
	"  --dry-run        opens every input, prints the plan and the memory it needs, and stops\n"
	"  --profile        prints where the time went, by kernel, at the end\n"
	"  --help-config    all settings with types, bounds, defaults and meanings\n"
	"\n"
	"exit status: 0 done, 1 internal error, 2 usage or config, 3 input file, 4 device or memory,\n"
	"             5 output\n";

struct arguments {
	const char *config;
	struct {
		const char **data;
		size_t n, cap;
	} overrides;
	char device[256];
	bool dry_run, done;
};

static int parse_arguments(struct arguments *a, int argc, char **argv, struct err *err)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		const bool takes_value =
			strcmp(arg, "--set") == 0 || strcmp(arg, "--device") == 0;

		if (takes_value && i + 1 == argc)
			return err_set(err, ERR_CONFIG, "%s: expected a value after it\n\n%s", arg, USAGE);
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
		} else if (strcmp(arg, "--profile") == 0) {
			TRY(vec_push(&a->overrides, "profile=true", err));
		} else if (strcmp(arg, "--set") == 0) {
			TRY(vec_push(&a->overrides, argv[++i], err));
		} else if (strcmp(arg, "--device") == 0) {
			snprintf(a->device, sizeof a->device, "device=%s", argv[++i]);
			TRY(vec_push(&a->overrides, a->device, err));
		} else if (arg[0] == '-' || a->config) {
			return err_set(err, ERR_CONFIG, "unexpected argument \"%s\"\n\n%s", arg, USAGE);
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
		printf("  %-28s %9llu %8.2f %8.1f%%", times[i].name, times[i].calls, times[i].seconds,
			100 * times[i].seconds / total);
		if (times[i].flops > 0)
			printf(" %9.1f", times[i].flops / times[i].seconds * 1e-9);
		putchar('\n');
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("device memory: at most %.1f MiB beside the weights\n"
	       "peak memory of the process: %.1f MiB\n",
		(double)device_peak(lab->dev) / 0x1p20, (double)usage.ru_maxrss / 1024);
}

/* A run that failed by its inputs leaves nothing; any other keeps what it had finished. */
static void leave_results(struct lab *lab, struct err *err)
{
	const size_t n = strlen(err->text);

	if (err->code == ERR_CONFIG || err->code == ERR_INPUT) {
		results_discard(lab->results);
		lab->results = NULL;
	} else {
		snprintf(err->text + n, sizeof err->text - n,
			"\nwhat was finished before is in %s", results_part_path(lab->results));
	}
}

static int run(const struct config *c, bool dry_run, struct err *err)
{
	const double started = clock_seconds();
	struct lab lab = {0};
	struct results *results;

	err_clear(err);
	TRY(lab_open(&lab, c, err));
	TRY(lab_load_findings(&lab, err));
	if (dry_run) {
		plan_print(&lab, err);
		goto fail;
	}
	TRY(plan_check(&lab, err));
	if (c->profile)
		device_make_synchronous(lab.dev);
	log_info("saengine %s: %s on %s, %zu prompts", SAENGINE_VERSION, c->model.path,
		device_description(lab.dev), lab.prompts.n);
	TRY(results_create(&lab.results, c->output, err));
	TRY(lab_write_frame(&lab, err));
	TRY(run_experiments(&lab, err));
	TRY(lab_write_summary(&lab, err));
	results = lab.results;
	lab.results = NULL;
	TRY(results_finish(results, err));
	lab_print_summary(&lab);
	if (c->profile)
		print_profile(&lab);
	log_info("\n%s written in %.1f s", c->output, clock_seconds() - started);
fail:
	if (err->code && lab.results)
		leave_results(&lab, err);
	if (lab.config)
		lab_close(&lab);
	return err->code;
}

int main(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct config config = {0};
	struct err err = {0};

	if (parse_arguments(&arguments, argc, argv, &err) == 0 && !arguments.done &&
		config_load(&config, arguments.config, arguments.overrides.data,
			arguments.overrides.n, &err) == 0)
		run(&config, arguments.dry_run, &err);
	config_free(&config);
	free(arguments.overrides.data);
	if (err.code) {
		fflush(stdout);
		fprintf(stderr, "%s\n", err.text);
	}
	return err.code;
}
