/* SPDX-License-Identifier: MIT
 *
 * test_inputs.c - what is no regular file, or larger than its kind can be, is refused where it is
 * opened; what is no file for output is not written to. Whatever would wait ends by `timeout`, with
 * status 124.
 */
#include "host/base/log.h"
#include "tests/run_engine.h"
#include "tests/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct engine_run run;
static char shell_says[4096];

/* A tree of links to shipped files in the scratch folder, any of which a test may replace, and a
 * config that reads them. */
static void make_tree(void)
{
	char command[4096], text[4096];
	const char *to = test_scratch_folder();

	snprintf(command, sizeof command,
		"cd '%s' && rm -rf model saes adapter *.json *.txt && cp -rs '%s/models/tiny-gemma2' model && "
		"cp -rs '%s/models/tiny-gemma2-scope' saes && "
		"cp -rs '%s/tests/golden/adapters/list' adapter && rm -f adapter/tokenizer* && "
		"cp -s '%s/models/small-world/harmful_train.json' prompts.json && "
		"cp -s '%s/models/tiny-judge/template.txt' template.txt",
		to, test_source_root(), test_source_root(), test_source_root(), test_source_root(),
		test_source_root());
	REQUIRE(test_shell(command, shell_says, sizeof shell_says) == 0, "%s", shell_says);
	snprintf(text, sizeof text,
		"experiment = [\"direction\", \"attribution\"];\n"
		"output = \"%s/out.h5\";\n"
		"model = { path = \"%s/model\"; };\n"
		"sae = { path = \"%s/saes\"; width = \"512\"; };\n"
		"prompts = {\n"
		"  harmful_train = { file = \"%s/prompts.json\"; limit = 8; };\n"
		"  harmless_train = { file = \"models/small-world/harmless_train.json\"; limit = 8; };\n"
		"  harmful_test = { file = \"models/small-world/harmful_test.json\"; limit = 4; };\n"
		"};\n"
		"direction = { layer = 3; };\n",
		to, to, to, to);
	write_scratch("run.cfg", text);
	snprintf(text, sizeof text,
		"experiment = \"judge\";\n"
		"output = \"%s/judged.h5\";\n"
		"from = \"%s/prompts.json\";\n"
		"model = { path = \"%s/model\"; };\n"
		"judge = { template = \"%s/template.txt\"; };\n",
		to, to, to, to);
	write_scratch("judge.cfg", text);
}

/* Runs it in the scratch folder's tree; "@" in the arguments is that folder. */
static void engine(const char *arguments)
{
	char text[2048];
	size_t n = 0;
	struct engine_process process;

	for (; *arguments && n + 512 < sizeof text; arguments++)
		if (*arguments == '@')
			n += (size_t)snprintf(text + n, sizeof text - n, "%s",
				test_scratch_folder());
		else
			text[n++] = *arguments;
	text[n] = '\0';
	process = engine_start("run", "timeout 20", "%s", text);
	engine_wait(&run, &process);
}

/* ---- FIFOs --------------------------------------------------------------------------------- */

static const struct {
	const char *name; /* of what becomes a FIFO */
	const char *gone; /* what is not there */
	const char *arguments;
} fifos[] = {
	{"run.cfg", NULL, "@/run.cfg"},
	{"part.inc", NULL, "@/including.cfg"},
	{"model/config.json", NULL, "@/run.cfg --dry-run"},
	{"model/quantize_config.json", NULL, "@/run.cfg --dry-run"},
	{"model/tokenizer.json", NULL, "@/run.cfg --dry-run"},
	{"model/tokenizer_config.json", NULL, "@/run.cfg --dry-run"},
	{"model/special_tokens_map.json", NULL, "@/run.cfg --dry-run"},
	{"model/added_tokens.json", "model/tokenizer_config.json", "@/run.cfg --dry-run"},
	{"model/chat_template.jinja", NULL, "@/run.cfg --dry-run"},
	{"model/generation_config.json", NULL, "@/run.cfg --dry-run"},
	{"model/model.safetensors", NULL, "@/run.cfg --dry-run"},
	{"model/model.safetensors.index.json", "model/model.safetensors", "@/run.cfg --dry-run"},
	{"saes/layer_0/width_512/average_l0_19/params.npz", NULL, "@/run.cfg --dry-run"},
	{"prompts.json", NULL, "@/run.cfg --dry-run"},
	{"template.jinja", NULL, "@/run.cfg --dry-run --set model.template=@/template.jinja"},
	{"adapter/adapter_config.json", NULL,
		"@/run.cfg --dry-run --set model.path=@/adapter --set model.base=@/model"},
	{"adapter/adapter_model.safetensors", NULL,
		"@/run.cfg --dry-run --set model.path=@/adapter --set model.base=@/model"},
	{"from.h5", NULL, "@/run.cfg --dry-run --set experiment=attribution --set from=@/from.h5"},
	{"prompts.json", NULL, "@/judge.cfg --dry-run"},
	{"template.txt", NULL, "@/judge.cfg --dry-run"},
	{"result.h5", NULL, "--inspect @/result.h5"},
};

TEST(a_fifo_in_place_of_any_input_is_refused_by_its_name_and_not_waited_for)
{
	char path[600], expected[700], text[600];

	for (size_t i = 0; i < sizeof fifos / sizeof *fifos; i++) {
		make_tree();
		snprintf(text, sizeof text, "seed = 1;\n@include \"%s/part.inc\"\n",
			test_scratch_folder());
		write_scratch("including.cfg", text);
		snprintf(path, sizeof path, "%s/%s", test_scratch_folder(),
			fifos[i].gone ? fifos[i].gone : "none");
		unlink(path);
		snprintf(path, sizeof path, "%s/%s", test_scratch_folder(), fifos[i].name);
		unlink(path);
		REQUIRE(mkfifo(path, 0666) == 0, "%s: no FIFO", path);
		engine(fifos[i].arguments);
		unlink(path);
		snprintf(expected, sizeof expected, "%s: expected a regular file, found a FIFO\n",
			path);
		CHECK(run.status == 3 && strstr(run.err, expected), "%s: %d: %s", fifos[i].name,
			run.status, run.err);
	}
}

TEST(a_folder_and_a_device_are_called_what_they_are)
{
	make_tree();
	engine("/dev/null");
	CHECK(run.status == 3 && strcmp(run.err, "/dev/null: expected a regular file, found a "
						 "device\n") == 0,
		"%d: %s", run.status, run.err);
	mkdir(in_scratch("x.jinja"), 0777);
	engine("@/run.cfg --dry-run --set model.template=@/x.jinja");
	CHECK(run.status == 3 &&
			strstr(run.err, "/x.jinja: expected a regular file, found a folder\n"),
		"%d: %s", run.status, run.err);
}

/* ---- sizes --------------------------------------------------------------------------------- */

/* A terabyte of which nothing is on the disk. */
static bool make_terabyte(const char *name)
{
	const char *path = in_scratch(name);

	unlink(path);
	return strcmp(write_scratch(name, "{"), path) == 0 && truncate(path, (off_t)1 << 40) == 0;
}

TEST(a_sparse_terabyte_is_refused_at_once_whatever_it_stands_for)
{
	static const struct {
		const char *name, *arguments, *message;
	} cases[] = {
		{"huge.cfg", "@/huge.cfg", "huge.cfg: expected a text of at most 64 MiB, found "},
		{"model/config.json", "@/run.cfg --dry-run",
			"model/config.json: expected a JSON file of at most 64 MiB, found "},
		{"model/tokenizer.json", "@/run.cfg --dry-run",
			"model/tokenizer.json: expected a tokenizer of at most 256 MiB, found "},
		{"prompts.json", "@/run.cfg --dry-run",
			"prompts.json: expected a file of prompts of at most 4096 MiB, found "},
		{"t.jinja", "@/run.cfg --dry-run --set model.template=@/t.jinja",
			"t.jinja: expected a text of at most 64 MiB, found "},
		{"model/model.safetensors", "@/run.cfg --dry-run",
			"model/model.safetensors: expected a safetensors header"},
		{"saes/layer_0/width_512/average_l0_19/params.npz", "@/run.cfg --dry-run",
			"params.npz: not a readable .npz: no ZIP directory at its end"},
		{"from.h5", "@/run.cfg --dry-run --set experiment=attribution --set from=@/from.h5",
			"from.h5: expected a result file (HDF5) that can be read"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		make_tree();
		if (!make_terabyte(cases[i].name))
			SKIP("no sparse file of a terabyte here");
		engine(cases[i].arguments);
		unlink(in_scratch(cases[i].name));
		CHECK(run.status == 3 && strstr(run.err, cases[i].message), "%s: %d: %s",
			cases[i].name, run.status, run.err);
	}
}

/* ---- configs ------------------------------------------------------------------------------- */

/* A config of `text`, then `n` times `again`. */
static void write_repeated(const char *text, const char *again, size_t n)
{
	FILE *file = fopen(in_scratch("long.cfg"), "w");

	REQUIRE(file, "cannot write");
	fputs(text, file);
	for (size_t i = 0; i < n; i++)
		fprintf(file, again, i);
	REQUIRE(fclose(file) == 0, "cannot write");
}

static void expect_config(const char *message)
{
	engine("@/long.cfg");
	CHECK(run.status == 2 && strstr(run.err, message), "%d: %s", run.status, run.err);
}

TEST(a_config_of_more_values_than_any_run_has_is_refused_before_it_is_parsed)
{
	write_repeated("", "key%zu = 1;\n", 20000);
	expect_config("long.cfg:4097: expected at most 4096 values in a config, found more\n");
	write_repeated("seed = [0", ",%zu", 100000);
	expect_config("long.cfg:1: expected at most 4096 values in a config, found more\n");
	write_repeated("", "a = { ", 10000);
	expect_config("long.cfg:1: expected at most 4096 values in a config, found more\n");
	write_repeated("a = ", "(", 20000);
	expect_config("long.cfg:1: memory exhausted\n");
}

TEST(a_comment_without_an_end_is_refused_by_its_line)
{
	write_repeated("seed = 1; // /*\n/* closed */ output = \"/*\";\n\n/* open\nthreads = 2;\n",
		"", 0);
	expect_config("long.cfg:4: expected */ behind a comment, found the end\n");
	write_repeated("seed = 1;\n/*/", "", 0);
	expect_config("long.cfg:2: expected */ behind a comment, found the end\n");
	engine("configs/tiny_gemma2_ap.cfg --dry-run --set 'seed=1 /*'");
	CHECK(run.status == 2 && strcmp(run.err, "--set seed=1 /*: expected */ behind a comment, "
						 "found the end\n") == 0,
		"%d: %s", run.status, run.err);
}

TEST(a_config_that_includes_itself_is_refused)
{
	char text[600];

	snprintf(text, sizeof text, "seed = 1;\n@include \"%s\"\n", in_scratch("long.cfg"));
	write_repeated(text, "", 0);
	expect_config("expected files included at most 10 deep\n");
}

TEST(one_set_option_gives_one_key)
{
	static const char *const more[] = {"seed=1; threads=2", "attribution.k_star=5; n_steps=3",
		"attribution.k_star=5;}; clamp:{scale=[-2.0]"};
	char arguments[256], expected[256];

	for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
		snprintf(arguments, sizeof arguments,
			"configs/tiny_gemma2_ap.cfg --dry-run --set '%s'", more[i]);
		snprintf(expected, sizeof expected,
			"--set %s: expected one key=value, found more\n", more[i]);
		engine(arguments);
		CHECK(run.status == 2 && strcmp(run.err, expected) == 0, "%d: %s", run.status,
			run.err);
	}
	engine("configs/tiny_gemma2_ap.cfg --dry-run --set 'clamp={scale=[-2.0]; layers=\"all\";}'");
	CHECK(run.status == 0 || !strstr(run.err, "one key=value"), "a group is one key: %s",
		run.err);
}

/* ---- output -------------------------------------------------------------------------------- */

TEST(nothing_but_a_file_is_written_to_under_any_name_of_the_output)
{
	static const struct {
		const char *command, *message;
	} cases[] = {
		{"mkfifo out.h5",
			"output: expected the name of a file, found a folder, a device, a pipe or "
			"a link under "},
		{"mkdir out.h5", "output: expected the name of a file, found a folder, "},
		{"ln -s nowhere out.h5", "output: expected the name of a file, found a folder, "},
		{"ln -s run.cfg out.h5", "output: expected the name of a file, found a folder, "},
		{"ln -s nowhere out.h5.part", "output: expected no link, folder or device under "},
		{"mkfifo out.h5.part", "output: expected no link, folder or device under "},
		{"mkfifo out.summary.h5", "output: expected no link, folder or device under "},
		{"ln -s run.cfg out.summary.h5.part",
			"output: expected no link, folder or device under "},
		{"mkfifo out.units", "output: expected a folder or nothing under "},
		{"ln -s nowhere out.units", "output: expected a folder or nothing under "},
		{"mkfifo out.ranks", "output: expected a folder or nothing under "},
		{"touch out.ranks", "output: expected a folder or nothing under "},
	};
	char command[1024];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		make_tree();
		snprintf(command, sizeof command, "cd '%s' && rm -rf out.* && %s",
			test_scratch_folder(), cases[i].command);
		REQUIRE(test_shell(command, shell_says, sizeof shell_says) == 0, "%s", shell_says);
		engine("@/run.cfg --dry-run");
		CHECK(run.status == 2 && strstr(run.err, cases[i].message), "%s: %d: %s",
			cases[i].command, run.status, run.err);
	}
	snprintf(command, sizeof command, "rm -rf '%s'/out.*", test_scratch_folder());
	test_shell(command, shell_says, sizeof shell_says);
}

/* A shell's command line around the engine, from the repository's root; its exit status. */
static int around_engine(const char *before, const char *after)
{
	char command[2048];

	snprintf(command, sizeof command, "cd '%s' && %s '%s' %s", test_source_root(), before,
		SAENGINE_BINARY, after);
	return test_shell(command, shell_says, sizeof shell_says);
}

/* A result file would get the descriptor, and messages would be written into it. */
TEST(descriptors_that_are_closed_at_the_start_are_given_to_no_file)
{
	int status, fd;
	const pid_t child = fork();

	if (child == 0) {
		close(0);
		close(1);
		close(2);
		log_open_streams();
		fd = open(in_scratch("new"), O_RDWR | O_CREAT, 0666);
		_exit(fd > 2 && write(1, "x", 1) == 1 ? 0 : 1);
	}
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child, "no child");
	CHECK(status == 0, "a file got descriptor 0, 1 or 2");
	status = around_engine("", "--version >&-");
	CHECK(status == 0, "nobody listens, and that is no failure: %d", status);
}

TEST(what_only_prints_fails_where_nothing_can_be_written)
{
	static const char *const prints[] = {"--help", "--help-config", "--help-results",
		"--version", "configs/tiny_direction.cfg --dry-run"};
	char arguments[512];
	int status;

	for (size_t i = 0; i < sizeof prints / sizeof *prints; i++) {
		snprintf(arguments, sizeof arguments, "%s 2>&1 >/dev/full", prints[i]);
		status = around_engine("", arguments);
		CHECK(status == 5 && strstr(shell_says, "standard output: cannot write: "),
			"%s: %d: %s", prints[i], status, shell_says);
	}
	snprintf(arguments, sizeof arguments,
		"configs/tiny_direction.cfg --set output=%s 2>&1 >/dev/full",
		in_scratch("full.h5"));
	status = around_engine("", arguments);
	CHECK(status == 0 && strstr(shell_says, "warning: standard output: cannot write: "),
		"%d: %s", status, shell_says);
	CHECK(access(in_scratch("full.h5"), R_OK) == 0, "no result file");
}
