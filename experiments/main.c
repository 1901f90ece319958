/* SPDX-License-Identifier: MIT
 *
 * main.c - ./engine CONFIG: reads a config, runs its experiments in order, writes the result file.
 * The only place that exits; the exit status is the error's code (host/base/err.h).
 */
#include "experiments/registry.h"

#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/lab/batch_choice.h"
#include "host/lab/found.h"
#include "host/lab/frame.h"
#include "host/lab/output.h"
#include "host/lab/plan.h"
#include "host/measure/refusal_check.h"
#include "host/measure/sae_check.h"
#include "host/work/stop.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

#include "version.h"

static const char USAGE[] =
	"usage: engine CONFIG [--set KEY=VALUE]... [--fresh] [--dry-run] [--device NAME] [--profile]\n"
	"       engine --inspect FILE.h5|FOLDER.units [--verify]\n"
	"       engine --help | --help-config | --help-results | --version\n"
	"\n"
	"Runs the experiments that CONFIG names and writes its result file (HDF5). Finished work is\n"
	"kept in NAME.units beside NAME.h5 until that is complete: after a crash, a kill or a full disk\n"
	"the same command goes on from there, and gives the same file. Several processes share the work\n"
	"when a launcher starts them: mpirun -n 4 ./engine CONFIG, or srun.\n"
	"\n"
	"  --set KEY=VALUE  overrides a setting, e.g. --set attribution.k_star=5\n"
	"  --device NAME    the same as --set device=NAME\n"
	"  --fresh          begins anew; units of an earlier run are kept as NAME.units.old-N, a finished\n"
	"                   file of another run as NAME.old-N.h5\n"
	"  --inspect PATH   prints what a result file or a folder of units holds, and whether it is "
	"complete\n"
	"  --verify         with --inspect: reads all of it and holds every value against its checksum;\n"
	"                   exit status 3 and what differs when something does\n"
	"  --dry-run        opens every input, prints the plan and what it needs, checks all that can be\n"
	"                   known before the first pass, and stops: a run would refuse the same\n"
	"  --profile        prints where the time went, by kernel, at the end\n"
	"  --help-config    all experiments, and settings with types, bounds, defaults and meanings\n"
	"  --help-results   all datasets of a result file, as tables\n"
	"\n"
	"exit status: 0 done, 1 internal error, 2 usage or config, 3 input file, 4 device or memory,\n"
	"             5 output (disk full, not allowed, another run is writing there),\n"
	"             85 stopped, by SIGTERM, SIGINT, SIGHUP, SIGXCPU, SIGUSR1, SIGUSR2 or the end of\n"
	"                another rank, within 30 s; the same command goes on\n";

static void print_config_help(void)
{
	size_t n;
	const struct section *sections = registry_sections(&n);

	registry_print(stdout);
	config_print_help(sections, n, stdout);
}

struct arguments {
	const char *config, *inspect;
	struct {
		const char **data;
		size_t n, cap;
	} overrides;
	char device[256];
	bool dry_run, fresh, verify, done;
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
			print_config_help();
			a->done = true;
		} else if (strcmp(arg, "--help-results") == 0) {
			registry_print_datasets(stdout);
			a->done = true;
		} else if (strcmp(arg, "--version") == 0) {
			printf("saengine %s (%s)\n", SAENGINE_VERSION, SAENGINE_COMMIT);
			a->done = true;
		} else if (strcmp(arg, "--dry-run") == 0) {
			a->dry_run = true;
		} else if (strcmp(arg, "--inspect") == 0) {
			a->inspect = argv[++i];
			a->done = true;
		} else if (strcmp(arg, "--verify") == 0) {
			a->verify = true;
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
	if (a->verify && !a->inspect)
		return err_set(err, ERR_CONFIG, "--verify: expected --inspect with it\n\n%s",
			USAGE);
	if (!a->config && !a->done)
		return err_set(err, ERR_CONFIG, "expected a config file\n\n%s", USAGE);
	return 0;
fail:
	return err->code;
}

static void print_profile(struct device *dev)
{
	struct op_time times[64];
	const size_t n = device_op_times(dev, times, 64);
	double total = 0, gemm = 0;
	struct rusage usage;

	for (size_t i = 0; i < n; i++) {
		total += times[i].seconds;
		gemm += times[i].flops > 0 ? times[i].seconds : 0;
	}
	printf("\nkernels: %.2f s, %.0f %% in matrix products\n  %-28s %9s %8s %9s %9s %9s\n",
		total, 100 * gemm / total, "op", "calls", "seconds", "share", "GB/s", "GFLOP/s");
	for (size_t i = 0; i < n; i++) {
		printf("  %-28s %9llu %8.2f %8.1f%% %9.1f", times[i].name, times[i].calls,
			times[i].seconds, 100 * times[i].seconds / total,
			times[i].bytes / times[i].seconds * 1e-9);
		if (times[i].flops > 0)
			printf(" %9.1f", times[i].flops / times[i].seconds * 1e-9);
		putchar('\n');
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("device memory: at most %.1f MiB beside the weights\n"
	       "peak memory of the process: %.1f MiB\n",
		(double)device_peak(dev) / 0x1p20, (double)usage.ru_maxrss / 1024);
}

/* A run that has been opened. */
struct run {
	struct machine machine;
	struct prompts prompts;
	struct findings findings;
	struct job job;
	struct lab lab; /* of the above */
	struct input_list more;
	struct inputs inputs; /* hashed on rank 0 only */
	struct plan plan;
	struct batch_choice batches;
	bool fresh, other_output; /* --fresh; another run's file has the name of the output */
};

/* Before what may be refused, so that one sees what was taken for what. */
static int print_found(const struct run *r, struct err *err)
{
	err_clear(err);
	log_info("saengine %s: %s on %s, %zu prompts", SAENGINE_VERSION, r->lab.config->model.path,
		device_description(r->machine.dev), r->prompts.table.n);
	if (r->job.ranks->rank == 0)
		found_print(&r->lab, err);
	fflush(stdout);
	return err->code;
}

static int declare(struct run *r, struct err *err)
{
	plan_free(&r->plan);
	if (frame_plan(&r->lab, &r->plan, err))
		return err->code;
	return experiments_plan(&r->lab, &r->findings, &r->plan, err);
}

/* What the experiments will do, in batches of the sizes that are given or chosen for it. */
static int plan_run(struct run *r, struct err *err)
{
	bool smaller;

	TRY(declare(r, err));
	TRY(batch_choice_settle(&r->batches, &r->lab, &smaller, err));
	if (smaller)
		TRY(declare(r, err));
	if (r->job.ranks->rank == 0)
		batch_choice_print(&r->batches, &r->lab);
	fflush(stdout);
fail:
	return err->code;
}

/* Opens everything that the config names, says what was found, and sees that the experiments will
 * find what they need. Nothing is computed or written. The config gets the sizes of batches that it
 * leaves open. */
static int run_open(struct run *r, struct config *c, struct ranks *ranks, bool fresh,
	struct err *err)
{
	*r = (struct run){.job = {.config = c, .ranks = ranks},
		.lab = {c, &r->job, &r->machine, &r->prompts, &r->plan},
		.fresh = fresh};
	TRY(memory_check_machine("a run", 0, err));
	TRY(experiments_inputs(c, &r->more, err));
	TRY(inputs_check(c, &r->more, err));
	if (ranks->rank == 0)
		TRY(output_check_place(c, err));
	TRY(machine_open(&r->machine, c, ranks, err));
	batch_choice_begin(&r->batches, c, &r->machine);
	TRY(prompts_open(&r->prompts, c, &r->machine, experiments_source(c), err));
	TRY(prompts_inputs(&r->prompts, &r->more, err));
	TRY(inputs_list(&r->inputs, c, &r->machine, &r->more, err));
	TRY(print_found(r, err));
	TRY(prompts_find_tokens(&r->prompts, c, &r->machine, err));
	if (ranks->rank == 0)
		TRY(found_print_tokens(&r->lab, err));
	TRY(findings_load(&r->findings, c, &r->machine, &r->prompts, experiments_provide(c),
		experiments_want(c), err));
	TRY(experiments_check(&r->lab, &r->findings, err));
	return plan_run(r, err);
fail:
	return err->code;
}

static void run_close(struct run *r)
{
	job_close(&r->job);
	plan_free(&r->plan);
	inputs_free(&r->inputs);
	free(r->more.data);
	findings_free(&r->findings);
	prompts_close(&r->prompts);
	machine_close(&r->machine);
}

/* What the files are, and whether they are those that earlier results of the same names were made
 * from: on rank 0. */
static int identify_inputs(struct run *r, struct err *err)
{
	const struct config *c = r->lab.config;

	TRY(inputs_hash(&r->inputs, &r->machine, err));
	if (!r->prompts.source) {
		TRY(findings_check_weights(c, &r->inputs, err));
		TRY(findings_compare_settings(c, &r->machine, err));
	}
	if (output_check_finished(c, &r->machine, &r->inputs, &r->other_output, err) &&
		r->other_output && r->fresh)
		err_clear(err);
fail:
	return err->code;
}

static int manifest_of(const struct run *r, char **out, struct err *err)
{
	*out = inputs_text(&r->inputs, r->lab.config, &r->machine);
	return *out ? 0 : err_nomem(err, "the manifest", 4096);
}

static int begin_results(struct run *r, struct err *err)
{
	char *manifest = NULL;

	err_clear(err);
	if (r->job.ranks->rank == 0)
		TRY(manifest_of(r, &manifest, err));
	TRY(job_begin(&r->job, manifest, r->fresh, err));
	if (r->other_output)
		TRY(output_set_aside(r->lab.config, err));
	TRY(frame_write(&r->lab, &r->inputs, err));
fail:
	free(manifest);
	return err->code;
}

/* What has the names of this run's results: on rank 0. */
static int check_earlier(struct run *r, struct err *err)
{
	char *manifest = NULL;

	TRY(identify_inputs(r, err));
	TRY(manifest_of(r, &manifest, err));
	TRY(units_check(r->lab.config->output, r->fresh, manifest, err));
fail:
	free(manifest);
	return err->code;
}

/* The plan, and what `compute` would refuse before its first pass, in that order. Files are hashed
 * only where there is something to compare them with, for that takes long. */
static int rehearse(struct run *r, struct err *err)
{
	const struct config *c = r->lab.config;

	TRY(plan_print(&r->lab, err));
	TRY(plan_check(&r->lab, r->fresh, err));
	if (*c->from || file_exists(c->output) || units_stand(c->output))
		TRY(check_earlier(r, err));
	if (r->fresh && r->other_output)
		puts("           of that name is the file of another run, which is renamed (--fresh)");
	if (r->fresh && units_stand(c->output))
		puts("           the units beside it are renamed (--fresh)");
	return 0;
fail:
	return err->code;
}

static int compute(struct run *r, struct err *err)
{
	const struct config *c = r->lab.config;
	struct refusal_check refusal;
	const bool whole_saes = c->sae.check || experiments_use(c) & USE_WHOLE_SAES;

	TRY(plan_check(&r->lab, r->fresh, err));
	TRY(inputs_agree(&r->inputs, &r->machine, r->job.ranks, err));
	TRY(machine_finish_loading(&r->machine, whole_saes, err));
	if (c->profile)
		device_make_synchronous(r->machine.dev);
	if (r->job.ranks->rank == 0)
		TRY(check_earlier(r, err));
	TRY(refusal_check_run(&r->lab, &refusal, err));
	TRY(begin_results(r, err));
	TRY(refusal_check_write(&r->lab, &refusal, err));
	if (c->sae.check && r->machine.saes)
		TRY(sae_check_run(&r->lab, err));
	TRY(experiments_run(&r->lab, &r->findings, err));
	TRY(job_write_end(&r->job, err));
	TRY(frame_write_finished(&r->lab, err));
	return job_finish(&r->job, err);
fail:
	return err->code;
}

static int run(struct config *c, const struct arguments *arguments, struct ranks *ranks,
	struct err *err)
{
	const double started = clock_seconds();
	struct run r;

	err_clear(err);
	TRY(run_open(&r, c, ranks, arguments->fresh, err));
	if (arguments->dry_run) {
		rehearse(&r, err);
		goto fail;
	}
	TRY(compute(&r, err));
	if (ranks->rank == 0) {
		experiments_print(&r.lab, &r.findings);
		fflush(stdout);
	}
	if (c->profile)
		print_profile(r.machine.dev);
	if (ranks->rank == 0)
		log_info("\n%s written in %.1f s", c->output, clock_seconds() - started);
fail:
	if (err->code && r.job.units)
		job_leave(&r.job, err);
	run_close(&r);
	return err->code;
}

/* One of several ranks, or the only one. */
static int run_rank(struct config *c, const struct arguments *arguments, struct err *err)
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
	if (stop_on_signals(err) == 0 &&
		ranks_open(&ranks, c->output, (size_t)c->ranks.join_seconds, err) == 0)
		run(c, arguments, &ranks, err);
	ranks_close(&ranks, err->code != 0);
	if (err->code && ranks.world > 1)
		err_prefix(err, "rank %zu of %zu", ranks.rank, ranks.world);
	return err->code;
}

static int inspect(const char *path, bool verify, struct err *err)
{
	const bool units = folder_exists(path);

	err_clear(err);
	TRY(units ? units_inspect(path, stdout, err) : results_inspect(path, stdout, err));
	if (verify)
		TRY(units ? units_verify(path, stdout, err) : results_verify(path, stdout, err));
fail:
	return err->code;
}

/* What only prints has failed where nothing of that arrives; a result file stands without it. */
static void check_printed(const struct arguments *arguments, struct err *err)
{
	if (log_check_output(err) && !arguments->done && !arguments->dry_run) {
		log_warn("%s", err->text);
		err_clear(err);
	}
}

int main(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct config config = {0};
	struct err err = {0};
	size_t n_sections;
	const struct section *sections = registry_sections(&n_sections);

	log_open_streams();
	memory_keep_freed();
	if (memory_check("the program", 0, &err) == 0 &&
		parse_arguments(&arguments, argc, argv, &err) == 0 && arguments.inspect)
		inspect(arguments.inspect, arguments.verify, &err);
	if (err.code == 0 && !arguments.done &&
		config_load(&config, sections, n_sections, arguments.config,
			arguments.overrides.data, arguments.overrides.n, &err) == 0)
		run_rank(&config, &arguments, &err);
	if (err.code == 0)
		check_printed(&arguments, &err);
	config_free(&config);
	free(arguments.overrides.data);
	if (err.code)
		log_error(err.text);
	return err.code;
}
