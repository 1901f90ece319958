/* SPDX-License-Identifier: MIT
 *
 * test_ranks.c - several processes at one run: who is who, the same bits from any number of them,
 * what they must have alike, and what happens when one is late, is stopped or dies, or the clock is
 * set.
 */
#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/work/ranks_agree.h"
#include "host/store/results.h"
#include "kernels/ops.h"
#include "tests/run_engine.h"
#include "tests/same_results.h"
#include "tests/test.h"

#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct engine_run run;

static const char
	*const JOB = "configs/tiny_gemma2_ap.cfg --set prompts.harmful_train.limit=24"
		     " --set prompts.harmless_train.limit=24 --set prompts.harmful_test.limit=8"
		     " --set prompts.harmless_test.limit=8 --set generate.max_new_tokens=8"
		     " --set generate.prompts=2 --set batch.tokens=96 --set direction.filter=false"
		     " --set save.features=true --set clamp.scale=-1.0 --set induce.value=4.0"
		     " --set threads=1";

static const char *alone(void)
{
	static char path[256];

	if (!path[0]) {
		snprintf(path, sizeof path, "%s", in_scratch("alone.h5"));
		engine_run(&run, "%s --set output=%s", JOB, path);
		CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	}
	return path;
}

static void is_same(const char *name)
{
	char folder[64];

	CHECK(same_results(alone(), in_scratch(name), "/") > 100, "%s: too little was compared",
		name);
	snprintf(folder, sizeof folder, "%.*s.summary.h5", (int)strcspn(name, "."), name);
	CHECK(same_results(in_scratch("alone.summary.h5"), in_scratch(folder), "/") > 100,
		"%s: too little was compared", folder);
	for (int i = 0; i < 2; i++) {
		snprintf(folder, sizeof folder, "%.*s.%s", (int)strcspn(name, "."), name,
			i ? "units" : "ranks");
		CHECK(!folder_exists(in_scratch(folder)), "%s is still there", folder);
	}
}

/* ---- who is who ------------------------------------------------------------------------ */

static const char *const VARIABLES[] = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
	"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "RANK", "WORLD_SIZE",
	"LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS",
	"SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NODEID", "PMI_RANK", "PMI_SIZE",
	"MPI_LOCALRANKID", "MPI_LOCALNRANKS", "TORCHELASTIC_RUN_ID", "CUDA_VISIBLE_DEVICES"};

static void clear_variables(void)
{
	for (size_t i = 0; i < sizeof VARIABLES / sizeof *VARIABLES; i++)
		unsetenv(VARIABLES[i]);
}

TEST(ranks_are_those_that_the_launcher_names)
{
	static const struct {
		const char *variables[6]; /* NAME=VALUE */
		size_t rank, world, local, n_local;
	} cases[] = {
		{{NULL}, 0, 1, 0, 1},
		{{"OMPI_COMM_WORLD_RANK=3", "OMPI_COMM_WORLD_SIZE=4",
			 "OMPI_COMM_WORLD_LOCAL_RANK=1", "OMPI_COMM_WORLD_LOCAL_SIZE=2"},
			3, 4, 1, 2},
		{{"RANK=1", "WORLD_SIZE=2"}, 1, 2, 1, 2},
		/* Inside a step; in a bare batch script SLURM_PROCID and SLURM_NTASKS mean nothing.
		 */
		{{"SLURM_PROCID=5", "SLURM_STEP_NUM_TASKS=8", "SLURM_LOCALID=1"}, 5, 8, 1, 8},
		{{"SLURM_PROCID=0", "SLURM_NTASKS=2"}, 0, 1, 0, 1},
		{{"SLURM_PROCID=6", "SLURM_STEP_NUM_TASKS=8", "SLURM_LOCALID=2", "SLURM_NODEID=1",
			 "SLURM_STEP_TASKS_PER_NODE=4(x2)"},
			6, 8, 2, 4},
		{{"SLURM_PROCID=8", "SLURM_STEP_NUM_TASKS=11", "SLURM_LOCALID=0", "SLURM_NODEID=2",
			 "SLURM_STEP_TASKS_PER_NODE=4(x2),3"},
			8, 11, 0, 3},
		{{"SLURM_PROCID=1", "SLURM_STEP_NUM_TASKS=2", "SLURM_LOCALID=1", "SLURM_NODEID=0",
			 "SLURM_STEP_TASKS_PER_NODE=2"},
			1, 2, 1, 2},
		/* Under mpirun every rank of a node sees its daemon's SLURM_PROCID. */
		{{"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2", "SLURM_PROCID=0",
			 "SLURM_STEP_NUM_TASKS=1"},
			1, 2, 1, 2},
		{{"PMI_RANK=2", "PMI_SIZE=3"}, 2, 3, 2, 3},
	};

	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		struct ranks r;
		struct err err;

		clear_variables();
		for (size_t i = 0; i < 6 && cases[c].variables[i]; i++) {
			char name[64];

			snprintf(name, sizeof name, "%s", cases[c].variables[i]);
			name[strcspn(name, "=")] = '\0';
			setenv(name, strchr(cases[c].variables[i], '=') + 1, 1);
		}
		REQUIRE_OK(ranks_from_environment(&r, &err), &err);
		CHECK(r.rank == cases[c].rank && r.world == cases[c].world, "case %zu: %zu of %zu",
			c, r.rank, r.world);
		CHECK(r.world == 1 || r.n_local == cases[c].n_local, "case %zu: %zu here", c,
			r.n_local);
		CHECK(r.world == 1 || r.local == cases[c].local, "case %zu: number %zu here", c,
			r.local);
	}
	clear_variables();
}

TEST(contradicting_variables_are_a_config_error)
{
	struct ranks r;
	struct err err;

	clear_variables();
	setenv("RANK", "2", 1);
	setenv("WORLD_SIZE", "2", 1);
	CHECK(ranks_from_environment(&r, &err) == ERR_CONFIG &&
			strcmp(err.text,
				"launcher: expected RANK below WORLD_SIZE, found \"2\" and \"2\"") ==
				0,
		"%d: %s", err.code, err.text);
	clear_variables();
}

TEST(each_rank_of_a_node_has_its_own_gpu)
{
	const struct ranks one = {0, 1, 0, 1, "", NULL}, second = {1, 2, 1, 2, "", NULL};
	char device[32];

	ranks_device(&one, "cuda", device, sizeof device);
	CHECK(strcmp(device, "cuda") == 0, "%s", device);
	ranks_device(&second, "cuda", device, sizeof device);
	CHECK(strcmp(device, "cuda:1") == 0, "%s", device);
	ranks_device(&second, "cpu", device, sizeof device);
	CHECK(strcmp(device, "cpu") == 0, "%s", device);
	setenv("CUDA_VISIBLE_DEVICES", "3", 1); /* the launcher shows it one: number 0 to us */
	ranks_device(&second, "cuda", device, sizeof device);
	CHECK(strcmp(device, "cuda") == 0, "%s", device);
	unsetenv("CUDA_VISIBLE_DEVICES");
}

/* ---- the same bits --------------------------------------------------------------------- */

static bool have_mpirun(void)
{
	return system("command -v mpirun >/dev/null 2>&1") == 0;
}

static const char *mpirun(int n)
{
	static char launcher[256];

	setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
	setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
	snprintf(launcher, sizeof launcher, "mpirun --oversubscribe --bind-to none -n %d", n);
	return launcher;
}

TEST(one_two_and_three_ranks_under_mpirun_give_the_same_bits)
{
	if (!have_mpirun())
		SKIP("no mpirun (Debian: openmpi-bin)");
	for (int n = 1; n <= 3; n++) {
		char name[16];
		struct engine_process engine;

		snprintf(name, sizeof name, "n%d.h5", n);
		engine = engine_start("mpi", mpirun(n), "%s --set output=%s", JOB,
			in_scratch(name));
		engine_wait(&run, &engine);
		REQUIRE(run.status == 0, "%d ranks: exit status %d: %s", n, run.status, run.err);
		is_same(name);
		CHECK(n == 1 || strstr(run.out, "rank 1: "), "rank 1 says nothing:\n%s", run.out);
	}
}

/* Ranks without a launcher, whose environment is the same in every launch. `environment`: what
 * else env is given; `more`: arguments. */
static struct engine_process start_rank_with(int rank, int world, const char *environment,
	const char *output, const char *more)
{
	char launcher[512], name[16];

	snprintf(name, sizeof name, "rank%d", rank);
	snprintf(launcher, sizeof launcher, "env %s RANK=%d WORLD_SIZE=%d TORCHELASTIC_RUN_ID=none",
		environment, rank, world);
	return engine_start(name, launcher, "%s --set output=%s %s", JOB, in_scratch(output), more);
}

static struct engine_process start_rank(int rank, int world, const char *output)
{
	return start_rank_with(rank, world, "", output, "");
}

static void wait_for_end(const struct engine_process *engine, int rank)
{
	engine_wait(&run, engine);
	CHECK(run.status == 0, "rank %d: %d: %s", rank, run.status, run.err);
}

TEST(ranks_that_any_script_numbers_give_the_same_bits_even_when_one_begins_late)
{
	const struct engine_process first = start_rank(0, 2, "hand.h5");
	struct engine_process second;
	const char *alone;

	sleep(2);
	second = start_rank(1, 2, "hand.h5");
	wait_for_end(&first, 0);
	alone = strstr(run.out, "\nranks: 1 of 2 have joined\n");
	CHECK(alone && strstr(alone, "\nranks: 2 of 2 have joined\n"), "%s", run.out);
	wait_for_end(&second, 1);
	is_same("hand.h5");
}

/* ---- what all must have alike ---------------------------------------------------------- */

/* A rank of three that agree by themselves: its text, a fault of its own, a number. */
struct party {
	const char *text, *fault;
	size_t number;
};

/* In a process of its own. Exits with the code it ends with, 0 when all agree and the least number
 * is `least`; its message is in the file OUTPUT.RANK. */
static pid_t start_party(const struct party *p, size_t rank, const char *output, size_t least)
{
	struct ranks ranks = {.rank = rank, .world = 3, .n_local = 3};
	struct err err = {0}, fault = {0};
	const pid_t pid = fork();
	char name[64];
	size_t n = 0;

	if (pid != 0)
		return pid;
	if (!freopen("/dev/null", "w", stdout)) /* what ranks say while they join */
		_exit(101);
	if (p->fault)
		err_set(&fault, ERR_DEVICE, "%s", p->fault);
	if (ranks_open(&ranks, in_scratch(output), 20, &err) == 0 &&
		ranks_agree_least(&ranks, "level", p->number, &n, &err) == 0)
		ranks_agree(&ranks, "topic", "things", p->text, ERR_INPUT, &fault, &err);
	if (err.code == 0 && rank == 0)
		ranks_wait_for_all(&ranks, &err);
	ranks_close(&ranks, err.code != 0);
	snprintf(name, sizeof name, "%s.%zu", output, rank);
	write_scratch(name, err.code ? err.text : "");
	_exit(err.code || n == least ? err.code : 100);
}

TEST(ranks_take_the_least_number_and_end_alike_when_one_differs_or_fails)
{
	static const struct {
		const char *output;
		struct party parties[3];
		size_t least;
		int code;
		const char *message;
	} cases[] = {
		{"level", {{"a = 1\n", NULL, 3}, {"a = 1\n", NULL, 2}, {"a = 1\n", NULL, 3}}, 2, 0,
			""},
		{"first", {{"a = 1\n", NULL, 1}, {"a = 1\n", NULL, 2}, {"a = 1\n", NULL, 3}}, 1, 0,
			""},
		{"two",
			{{"a = 1\nb = 2\n", NULL, 1}, {"a = 2\nb = 2\n", NULL, 1},
				{"a = 2\nb = 2\n", NULL, 1}},
			1, 3,
			"things: expected the same on all ranks\non ranks 1-2:\n  a: rank 0 has 1, here "
			"2"},
		{"each",
			{{"a = 1\nb = 2\n", NULL, 1}, {"a = 2\nb = 2\n", NULL, 1},
				{"a = 1\nc = 2\n", NULL, 1}},
			1, 3,
			"things: expected the same on all ranks\non rank 1:\n  a: rank 0 has 1, here 2\n"
			"on rank 2:\n  c: rank 0 has nothing, here 2\n  b: rank 0 has 2, here nothing"},
		{"fault", {{"a = 1\n", NULL, 1}, {"a = 2\n", NULL, 1}, {NULL, "no device", 1}}, 1,
			4, "rank 2: no device"},
		{"zero", {{NULL, "no device", 1}, {"a = 2\n", NULL, 1}, {"a = 1\n", NULL, 1}}, 1, 4,
			"rank 0: no device"},
	};

	test_scratch_folder(); /* one for all of them */
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		pid_t pids[3];

		for (size_t r = 0; r < 3; r++)
			pids[r] = start_party(&cases[c].parties[r], r, cases[c].output,
				cases[c].least);
		for (size_t r = 0; r < 3; r++) {
			char name[64], *text;
			struct err err;
			int status;

			waitpid(pids[r], &status, 0);
			CHECK(WIFEXITED(status) && WEXITSTATUS(status) == cases[c].code,
				"%s, rank %zu: %d", cases[c].output, r, WEXITSTATUS(status));
			snprintf(name, sizeof name, "%s.%zu", cases[c].output, r);
			REQUIRE_OK(file_read_text(in_scratch(name), &text, &err), &err);
			CHECK(strcmp(text, cases[c].message) == 0, "%s, rank %zu: %s",
				cases[c].output, r, text);
			free(text);
		}
	}
}

/* A place where one file has one byte changed, NULL = none, and all else is as here. */
static const char *make_place(const char *name, const char *changed, size_t at)
{
	static char place[256];
	const char *here = test_source_root();
	char command[1024], from[512], to[512];

	snprintf(place, sizeof place, "%s", in_scratch(name));
	snprintf(command, sizeof command,
		"mkdir '%s' && cp -r '%s/models' '%s' && ln -s '%s/configs' '%s'", place, here,
		place, here, place);
	if (system(command) != 0)
		exit(1);
	if (changed) {
		snprintf(from, sizeof from, "%s/%s", here, changed);
		snprintf(to, sizeof to, "%s/%s", place, changed);
		copy_file(from, to, at, "~", 1, 0);
	}
	return place;
}

/* The last of `world` ranks has other arguments, or another folder; all of them end with `status`
 * and the same message. */
static void is_refused(int world, const char *place, const char *more, int status,
	const char *message)
{
	struct engine_process ranks[3];
	char environment[300] = "";

	if (place)
		snprintf(environment, sizeof environment, "--chdir='%s'", place);
	for (int r = 0; r < world; r++)
		ranks[r] = start_rank_with(r, world, r == world - 1 ? environment : "", "differ.h5",
			r == world - 1 ? more : "");
	for (int r = 0; r < world; r++) {
		char prefix[64];

		snprintf(prefix, sizeof prefix, "rank %d of %d: ", r, world);
		engine_wait(&run, &ranks[r]);
		CHECK(run.status == status && strncmp(run.err, prefix, strlen(prefix)) == 0 &&
				strncmp(run.err + strlen(prefix), message, strlen(message)) == 0,
			"%s%s, rank %d: %d: %s", place ? place : "", more, r, run.status, run.err);
	}
	CHECK(!file_exists(in_scratch("differ.h5")) && !folder_exists(in_scratch("differ.units")),
		"%s%s: something was computed", place ? place : "", more);
}

TEST(a_rank_with_other_settings_or_files_ends_all_ranks_before_they_compute)
{
	alone();
	is_refused(2, NULL, "--set seed=43", 2,
		"settings: expected the same on all ranks\non rank 1:\n  seed: rank 0 has 42, here "
		"43\n");
	is_refused(3, NULL, "--set generate.max_new_tokens=9 --set direction.layer=2", 2,
		"settings: expected the same on all ranks\non rank 2:\n"
		"  generate.max_new_tokens: rank 0 has 8, here 9\n"
		"  direction.layer: rank 0 has 3, here 2\n");
	is_refused(2, NULL, "--device cpu:x86-64-v2", 2,
		"settings: expected the same on all ranks\non rank 1:\n  device: rank 0 has \"cpu\", "
		"here \"cpu:x86-64-v2\"\n");
	is_refused(2, make_place("weights", "models/tiny-gemma2/model.safetensors", 2000001), "", 3,
		"input files: expected the same on all ranks\non rank 1:\n"
		"  weights models/tiny-gemma2/model.safetensors: rank 0 has digest ");
	is_refused(2, make_place("prompts", "models/small-world/harmful_test.json", 24), "", 3,
		"input files: expected the same on all ranks\non rank 1:\n"
		"  prompts models/small-world/harmful_test.json: rank 0 has digest ");
	/* A copy of its own, and the bytes are the same. What was refused hurts no launch. */
	{
		char environment[300];
		struct engine_process first, second;

		snprintf(environment, sizeof environment, "--chdir='%s'",
			make_place("copy", NULL, 0));
		first = start_rank(0, 2, "differ.h5");
		second = start_rank_with(1, 2, environment, "differ.h5", "--set threads=2");
		wait_for_end(&first, 0);
		wait_for_end(&second, 1);
		is_same("differ.h5");
	}
}

/* ---- what earlier launches left ---------------------------------------------------------- */

static void kill_ranks(struct engine_process *ranks, int n)
{
	for (int r = 0; r < n; r++)
		kill(ranks[r].pid, SIGKILL);
	for (int r = 0; r < n; r++)
		engine_wait(&run, &ranks[r]);
	CHECK(run.status == -1, "it ended before it was killed: %d", run.status);
}

static void wait_for_file(const char *name)
{
	for (int i = 0; i < 2000 && !file_exists(in_scratch(name)); i++)
		usleep(5000);
	CHECK(file_exists(in_scratch(name)), "no %s", name);
}

TEST(a_launch_that_was_killed_at_once_leaves_nothing_that_hurts_the_next_one)
{
	struct engine_process ranks[2];

	alone();
	for (int r = 0; r < 2; r++)
		ranks[r] = start_rank(r, 2, "left.h5");
	wait_for_file("left.ranks/welcome.1");
	kill_ranks(ranks, 2);
	/* What a launch that knew no ids may have left, and one that was told to stop. */
	write_scratch("left.ranks/stop", "launch-none a rank failed");
	write_scratch("left.ranks/1", "launch-none 7 running");
	write_scratch("left.ranks/card.1", "launch-none yGPU-1");
	mkdir(in_scratch("left.ranks/0123456789abcdef0123456789abcdef"), 0777);
	write_scratch("left.ranks/0123456789abcdef0123456789abcdef/stop", "a rank failed");
	/* Rank 1 first, so that it finds only what the dead one was told. */
	ranks[1] = start_rank(1, 2, "left.h5");
	sleep(1);
	ranks[0] = start_rank(0, 2, "left.h5");
	wait_for_end(&ranks[0], 0);
	wait_for_end(&ranks[1], 1);
	is_same("left.h5");
}

TEST(the_hello_of_a_dead_rank_counts_for_nobody)
{
	struct engine_process first, second = start_rank(1, 2, "dead_hello.h5");

	wait_for_file("dead_hello.ranks/hello.1");
	kill_ranks(&second, 1);
	first = start_rank_with(0, 2, "", "dead_hello.h5", "--set ranks.join_seconds=2");
	engine_wait(&run, &first);
	CHECK(run.status == 85 && strstr(run.err, "another rank did not join within 2 s") &&
			file_exists(in_scratch("dead_hello.ranks/welcome.1")),
		"%d: %s", run.status, run.err);
}

/* ---- units that are not to be believed ---------------------------------------------------- */

static int n_seen, n_spoilt;

/* A bit in the middle of every third unit. */
static int spoil_unit(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	const size_t n = strlen(path);
	FILE *file;
	int c;

	(void)ftw;
	if (kind != FTW_F || n < 3 || strcmp(path + n - 3, ".h5") != 0 || n_seen++ % 3 != 0)
		return 0;
	file = fopen(path, "r+b");
	fseek(file, st->st_size / 2, SEEK_SET);
	c = fgetc(file);
	fseek(file, st->st_size / 2, SEEK_SET);
	fputc(c ^ 4, file);
	n_spoilt++;
	return fclose(file);
}

static int count_in(const char *text, const char *part)
{
	int n = 0;

	while ((text = strstr(text, part))) {
		text += strlen(part);
		n++;
	}
	return n;
}

TEST(spoilt_units_are_computed_again_by_one_of_the_ranks_each)
{
	struct engine_process first, second;
	int n_again;

	engine_run(&run, "%s --set output=%s --set store.keep_units=true", JOB,
		in_scratch("spoilt.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	unlink(in_scratch("spoilt.h5"));
	n_seen = n_spoilt = 0;
	nftw(in_scratch("spoilt.units"), spoil_unit, 16, FTW_PHYS);
	REQUIRE(n_spoilt > 4, "%d units of %d", n_spoilt, n_seen);
	second = start_rank(1, 2, "spoilt.h5");
	first = start_rank(0, 2, "spoilt.h5");
	engine_wait(&run, &first);
	CHECK(run.status == 0, "rank 0: %d: %s", run.status, run.err);
	n_again = count_in(run.err, "it is computed again and kept as ");
	CHECK(n_again > 0, "rank 0 found none: %s", run.err);
	engine_wait(&run, &second);
	CHECK(run.status == 0, "rank 1: %d: %s", run.status, run.err);
	n_again += count_in(run.err, "it is computed again and kept as ");
	CHECK(n_again == n_spoilt, "%d of %d: %s", n_again, n_spoilt, run.err);
	is_same("spoilt.h5");
}

/* ---- stopping and dying ---------------------------------------------------------------- */

static int n_units, n_open; /* whole ones; those rank 1 has claimed and not finished */

static bool says_rank_1(const char *path)
{
	char text[32] = "";
	FILE *file = fopen(path, "rb");

	if (file && !fgets(text, sizeof text, file))
		text[0] = '\0';
	if (file)
		fclose(file);
	return strcmp(text, "rank 1\n") == 0;
}

static int count_unit(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	const size_t n = strlen(path);
	char unit[512];

	(void)st, (void)ftw;
	if (kind != FTW_F)
		return 0;
	n_units += n > 3 && strcmp(path + n - 3, ".h5") == 0;
	if (n > 6 && strcmp(path + n - 6, ".claim") == 0) {
		snprintf(unit, sizeof unit, "%.*s", (int)(n - 6), path);
		n_open += !file_exists(unit) && says_rank_1(path);
	}
	return 0;
}

static void count_units(const char *folder)
{
	n_units = n_open = 0;
	nftw(in_scratch(folder), count_unit, 16, FTW_PHYS);
}

static void wait_for_units(const char *folder, int n)
{
	for (int i = 0; i < 6000; i++) {
		count_units(folder);
		if (n_units >= n)
			return;
		usleep(10000);
	}
}

TEST(a_signal_to_one_rank_ends_all_with_85_and_one_rank_alone_may_go_on)
{
	struct engine_process first, second;
	double asked;

	alone();
	first = start_rank(0, 2, "agree.h5");
	second = start_rank(1, 2, "agree.h5");
	wait_for_units("agree.units", 4);
	asked = clock_seconds();
	kill(second.pid, SIGUSR1);
	engine_wait(&run, &second);
	CHECK(run.status == 85 && strstr(run.err, "rank 1 of 2: stopped (SIGUSR1)"), "%d: %s",
		run.status, run.err);
	engine_wait(&run, &first);
	CHECK(run.status == 85 && strstr(run.err, "rank 0 of 2: stopped (another rank stopped)"),
		"%d: %s", run.status, run.err);
	CHECK(clock_seconds() - asked < 30, "it took %.1f s", clock_seconds() - asked);
	/* Units of other bits are no units of this run. */
	engine_run(&run, "%s --set output=%s --device cpu:%s", JOB, in_scratch("agree.h5"),
		device_cpu_levels()[0]);
	CHECK(!device_cpu_levels()[1] ||
			(run.status == 2 &&
				strstr(run.err, "\n  arithmetic: the units were made with cpu:")),
		"%d: %s", run.status, run.err);
	engine_run(&run, "%s --set output=%s", JOB, in_scratch("agree.h5"));
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	CHECK(same_results(alone(), in_scratch("agree.h5"), "/") > 100, "too little was compared");
}

TEST(the_death_of_a_rank_ends_the_others_within_60_s_and_more_ranks_may_go_on)
{
	struct engine_process first, second, third;
	double died;

	alone();
	first = start_rank(0, 3, "dead.h5");
	second = start_rank(1, 3, "dead.h5");
	third = start_rank(2, 3, "dead.h5");
	wait_for_units("dead.units", 4);
	/* It dies at a unit that only it could finish: one that is still its own once it stands. */
	for (int i = 0; i < 20000; i++) {
		count_units("dead.units");
		if (n_open > 0) {
			kill(second.pid, SIGSTOP);
			usleep(5000);
			count_units("dead.units");
			if (n_open > 0)
				break;
			kill(second.pid, SIGCONT);
		}
		usleep(200);
	}
	REQUIRE(n_open > 0, "no moment was found when rank 1 had a unit");
	kill(second.pid, SIGKILL);
	died = clock_seconds();
	engine_wait(&run, &first);
	CHECK(run.status == 85 && strstr(run.err, "another rank"), "%d: %s", run.status, run.err);
	engine_wait(&run, &third);
	CHECK(run.status == 85 && strstr(run.err, "another rank"), "%d: %s", run.status, run.err);
	CHECK(clock_seconds() - died < 60, "it took %.1f s", clock_seconds() - died);
	engine_wait(&run, &second);
	{
		const struct engine_process a = start_rank(0, 2, "dead.h5"),
					    b = start_rank(1, 2, "dead.h5");

		engine_wait(&run, &a);
		CHECK(run.status == 0, "%d: %s", run.status, run.err);
		engine_wait(&run, &b);
		CHECK(run.status == 0, "%d: %s", run.status, run.err);
	}
	is_same("dead.h5");
}

/* ---- the clock on the wall ------------------------------------------------------------- */

static const char *const HOURS = "18000"; /* five, in seconds */

static void preload_wrong_clock(bool on)
{
	if (on) {
		setenv("LD_PRELOAD", WRONG_CLOCK_LIBRARY, 1);
		setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 1);
		setenv("CLOCK_JUMP", HOURS, 1);
	} else {
		unsetenv("LD_PRELOAD");
		unsetenv("ASAN_OPTIONS");
		unsetenv("CLOCK_JUMP");
	}
}

/* Two ranks run to their end, as one did. */
static void two_ranks_finish(const struct engine_process *first,
	const struct engine_process *second, const char *result)
{
	engine_wait(&run, first);
	CHECK(run.status == 0, "rank 0: %d: %s", run.status, run.err);
	CHECK(!strstr(run.out, " in -"), "a stage took less than no time");
	engine_wait(&run, second);
	CHECK(run.status == 0, "rank 1: %d: %s", run.status, run.err);
	is_same(result);
}

/* What the file says of its times: that the clock was wrong, and that nothing was timed by it. */
static void check_times(const char *result)
{
	struct results_reader *reader;
	struct err err;
	struct tm tm = {0};
	char *started;
	float *seconds;
	size_t n;
	double error;

	REQUIRE_OK(results_open(&reader, in_scratch(result), &err), &err);
	REQUIRE_OK(results_read_attribute_text(reader, "/", "started", &started, &err), &err);
	CHECK(strptime(started, "%Y-%m-%dT%H:%M:%SZ", &tm), "started %s", started);
	error = fabs(difftime(timegm(&tm), time(NULL)));
	CHECK(error > 3600, "the clock was %.0f s wrong: the library is not in use", error);
	free(started);
	REQUIRE_OK(results_read_floats(reader, "/provenance/stages/seconds", 1, &n, &seconds, &err),
		&err);
	for (size_t i = 0; i < n; i++)
		CHECK(seconds[i] >= 0 && seconds[i] < 600, "stage %zu took %g s", i,
			(double)seconds[i]);
	free(seconds);
	results_reader_close(reader);
}

/* The count in the file of rank 0, which the only launch of that folder has. */
static long beats(const char *folder)
{
	char command[256];
	FILE *file;
	long count = -1;

	snprintf(command, sizeof command, "cat '%s'/*/0", in_scratch(folder));
	file = popen(command, "r");
	if (!file || fscanf(file, "%ld", &count) != 1)
		CHECK(false, "%s: expected a count", folder);
	if (file)
		pclose(file);
	return count;
}

TEST(variables_left_behind_are_named_at_once_and_again_when_the_other_ranks_have_not_come)
{
	struct engine_process lonely;

	engine_run(&run, "%s --set output=%s --dry-run", JOB, in_scratch("lonely.h5"));
	CHECK(run.status == 0 && !strstr(run.out, "ranks "), "%d: %s", run.status, run.out);
	lonely = engine_start("lonely", "env RANK=0 WORLD_SIZE=4",
		"%s --set output=%s --set ranks.join_seconds=3", JOB, in_scratch("lonely.h5"));
	engine_wait(&run, &lonely);
	CHECK(run.status == 85 &&
			strstr(run.err,
				"stopped (another rank did not join within 3 s "
				"(ranks.join_seconds): number 1 of the 4 that RANK=0, WORLD_SIZE=4 "
				"announce; to run alone, unset these variables)"),
		"%d: %s", run.status, run.err);
	CHECK(strncmp(run.out, "ranks: this is the first of 4, as RANK=0, WORLD_SIZE=4 say\n",
		      57) == 0 &&
			strstr(run.out, "\nranks: 1 of 4 have joined\n"),
		"%s", run.out);
	lonely = engine_start("lonely", "env RANK=2 WORLD_SIZE=4",
		"%s --set output=%s --set ranks.join_seconds=2", JOB, in_scratch("lonely.h5"));
	engine_wait(&run, &lonely);
	CHECK(run.status == 85 &&
			strstr(run.err,
				"rank 0 did not answer within 2 s (ranks.join_seconds): it never "
				"began, has given up, or writes to another output; that there is one "
				"is what RANK=2, WORLD_SIZE=4 say"),
		"%d: %s", run.status, run.err);
}

TEST(a_wall_clock_that_jumps_by_hours_ends_no_rank_and_breaks_neither_lock_nor_resume)
{
	struct engine_process first, second;
	long before, beaten;

	alone();
	preload_wrong_clock(true);
	first = start_rank(0, 2, "clock.h5");
	second = start_rank(1, 2, "clock.h5");
	wait_for_units("clock.units", 4);
	/* Silent for two beats: the other looks at its clock. */
	kill(second.pid, SIGSTOP);
	engine_run(&run, "%s --set output=%s", JOB, in_scratch("clock.h5"));
	CHECK(run.status == 5 && strstr(run.err, "another run is writing here"), "%d: %s",
		run.status, run.err);
	before = beats("clock.ranks");
	sleep(2 * BEAT_EVERY + 1);
	beaten = beats("clock.ranks") - before;
	CHECK(beaten >= 1 && beaten <= 3, "rank 0 beat %ld times where twice was due", beaten);
	kill(second.pid, SIGCONT);
	two_ranks_finish(&first, &second, "clock.h5");
	check_times("clock.h5");

	first = start_rank(0, 2, "again.h5");
	second = start_rank(1, 2, "again.h5");
	wait_for_units("again.units", 4);
	kill(first.pid, SIGKILL);
	kill(second.pid, SIGKILL);
	engine_wait(&run, &first);
	engine_wait(&run, &second);
	CHECK(run.status == -1, "it ended before it was killed: %d", run.status);
	first = start_rank(0, 2, "again.h5");
	second = start_rank(1, 2, "again.h5");
	two_ranks_finish(&first, &second, "again.h5");
	preload_wrong_clock(false);
}
