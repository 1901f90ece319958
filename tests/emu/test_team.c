/* SPDX-License-Identifier: MIT
 *
 * test_team.c - weights that one rank reads and NCCL sends to the others, on the stand-ins for CUDA
 * and NCCL: the same bits, who reads what, and what happens when a rank or NCCL fails.
 */
#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/formats/safetensors.h"
#include "host/model/model.h"
#include "host/model/sae.h"
#include "host/store/results.h"
#include "tests/emu/control.h"
#include "tests/run_engine.h"
#include "tests/same_results.h"
#include "tests/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct engine_run run;

static const char *const MODEL = "models/tiny-gemma2";

/* ---- two processes, a device each ------------------------------------------------------ */

/* One side of a pair: rank 1 is a child of rank 0. */
struct side {
	size_t rank;
	pid_t child;
	struct device *dev;
	struct err err;
};

static double check_until; /* the team's check fails from then on; 0 = never */

static int check(struct err *err)
{
	if (check_until > 0 && clock_seconds() > check_until)
		return err_set(err, ERR_STOPPED, "stopped (the test)");
	return 0;
}

/* Both sides go on from here. Ends a side that cannot. */
static struct side pair_open(void)
{
	struct side s = {0};
	struct device_team team = {.world = 2, .check = check};
	char ticket[DEVICE_TICKET] = "";
	int pipes[2];

	check_until = 0;
	fflush(stdout);
	if (pipe(pipes) != 0 || (s.child = fork()) < 0)
		exit(1);
	team.rank = s.rank = s.child == 0;
	if (device_open(&s.dev, s.rank == 0 ? "cuda:0" : "cuda:1", 1, &s.err))
		exit(1);
	if (s.rank == 0) {
		if (device_ticket(s.dev, ticket, &s.err) ||
			write(pipes[1], ticket, sizeof ticket) != sizeof ticket)
			exit(1);
	} else if (read(pipes[0], ticket, sizeof ticket) != sizeof ticket) {
		exit(1);
	}
	close(pipes[0]);
	close(pipes[1]);
	if (device_join(s.dev, ticket, &team, &s.err)) {
		fprintf(stderr, "rank %zu: %s\n", s.rank, s.err.text);
		exit(1);
	}
	return s;
}

/* Rank 1 ends here, with what it has found; rank 0 learns it. */
static bool pair_close(struct side *s, bool fine)
{
	int status = 0;

	device_close(s->dev);
	if (s->rank == 1)
		_exit(fine ? 0 : 1);
	waitpid(s->child, &status, 0);
	CHECK(fine, "rank 0: %s", s->err.text);
	CHECK(status == 0, "rank 1 ends with status %d", status);
	return fine && status == 0;
}

static bool holds(struct device *dev, const void *memory, const void *expected, size_t bytes)
{
	char *found = malloc(bytes + 1);
	struct err err;
	bool same;

	if (!found)
		return false;
	same = device_download(dev, found, memory, bytes, &err) == 0 &&
	       memcmp(found, expected, bytes) == 0;
	free(found);
	return same;
}

/* Of the model: the embedding and the last layer's down projection, against the file. */
static bool holds_file(struct device *dev, const struct model *m)
{
	const size_t last = m->arch.n_layer - 1;
	char name[64];
	const struct file_tensor *t = safetensors_folder_find(m->files,
		"model.embed_tokens.weight");

	if (!t || !holds(dev, m->embedding.data, t->data, t->bytes))
		return false;
	snprintf(name, sizeof name, "model.layers.%zu.mlp.down_proj.weight", last);
	t = safetensors_folder_find(m->files, name);
	return t && holds(dev, m->layers[last].down.data, t->data, t->bytes);
}

TEST(one_rank_reads_matrices_and_saes_and_all_have_them)
{
	struct side s = pair_open();
	const struct sae_options options = {.format = "auto",
		.layer_folder = "",
		.width = "1k",
		.l0 = 100,
		.fold = "authors",
		.budget = (size_t)1 << 30};
	struct sae_options saes_of = options;
	struct model *model = NULL;
	struct sae_set *saes = NULL;
	struct sae_weights sae;
	char folder[600], sae_folder[700];
	size_t sent, sent_saes;
	float first = 0;
	bool fine;

	snprintf(folder, sizeof folder, "%s/%s", test_source_root(), MODEL);
	snprintf(sae_folder, sizeof sae_folder, "%s-scope", folder);
	saes_of.path = sae_folder;
	sent = emu_calls_made().bytes_to_device;
	fine = model_open(&model, s.dev, folder, &(struct model_options){.n_ctx = 64}, &s.err) == 0;
	sent = emu_calls_made().bytes_to_device - sent;
	sent_saes = emu_calls_made().bytes_to_device;
	fine = fine &&
	       sae_set_open(&saes, s.dev, &saes_of, model->arch.n_layer, model->arch.d_model,
		       &s.err) == 0 &&
	       sae_set_load_joined(saes, &s.err) == 0;
	sent_saes = emu_calls_made().bytes_to_device - sent_saes;
	fine = fine && device_leave(s.dev, &s.err) == 0 && holds_file(s.dev, model);
	/* Loaded: asking for it sends nothing more. */
	fine = fine && sae_set_load(saes, model->arch.n_layer - 1, &sae, &s.err) == 0 &&
	       device_download(s.dev, &first, sae.W_dec.data, sizeof first, &s.err) == 0;
	fine = fine && first != 0 && first == first;
	/* Norms and the rotary table are each rank's own. */
	if (s.rank == 0)
		fine = fine && sent > 2000000 && sent_saes > 3000000;
	else
		fine = fine && sent < 100000 && sent_saes == 0;
	if (!fine)
		printf("rank %zu: %zu bytes sent for the model, %zu for SAEs; %s\n", s.rank, sent,
			sent_saes, s.err.code ? s.err.text : "");
	sae_set_close(saes);
	model_close(model);
	pair_close(&s, fine);
}

TEST(a_failure_of_nccl_is_a_device_error_in_its_words_and_each_is_alone_again)
{
	struct side s = pair_open();
	const float sent = (float)s.rank;
	float found = -1;
	void *memory = NULL;
	bool fine = device_alloc(s.dev, 4, &memory, &s.err) == 0;

	if (s.rank == 1) { /* which would wait for ever */
		check_until = clock_seconds() + 0.3;
		fine = fine &&
		       device_upload_weights(s.dev, memory, &sent, 4, &s.err) == ERR_STOPPED &&
		       strcmp(s.err.text, "stopped (the test)") == 0;
	} else {
		emu_set_refused_broadcast(1);
		fine = fine &&
		       device_upload_weights(s.dev, memory, &sent, 4, &s.err) == ERR_DEVICE &&
		       strcmp(s.err.text,
			       "weights from rank to rank: ncclBroadcast: unhandled system error "
			       "(socket: Connection refused)") == 0;
	}
	fine = fine && !device_is_joined(s.dev) && device_gives_weights(s.dev) &&
	       device_upload_weights(s.dev, memory, &sent, 4, &s.err) == 0 &&
	       device_download(s.dev, &found, memory, 4, &s.err) == 0 && found == sent;
	device_free(s.dev, memory);
	pair_close(&s, fine);
}

TEST(a_rank_that_waits_for_one_that_has_gone_ends_when_the_check_says_so)
{
	struct side s = pair_open();
	const size_t n = (size_t)40 << 20; /* more than sockets hold */
	char *bytes = calloc(1, n);
	double began;
	void *memory = NULL;
	int rc = device_alloc(s.dev, n, &memory, &s.err);

	if (s.rank == 1)
		kill(getpid(), SIGKILL);
	waitpid(s.child, NULL, 0);
	began = clock_seconds();
	check_until = began + 0.3;
	rc = rc || !bytes ? rc : device_upload_weights(s.dev, memory, bytes, n, &s.err);
	CHECK(rc == ERR_STOPPED, "%d: %s", rc, s.err.text);
	CHECK(clock_seconds() - began < 5, "it took %.1f s", clock_seconds() - began);
	device_free(s.dev, memory);
	device_close(s.dev);
	free(bytes);
}

TEST(a_cpu_has_no_card_and_every_gpu_its_own)
{
	char cards[3][DEVICE_CARD];
	bool can[3];

	for (int i = 0; i < 3; i++) {
		static const char *const names[] = {"cuda:0", "cuda:1", "cpu"};
		struct device *dev;
		struct err err;

		REQUIRE_OK(device_open(&dev, names[i], 1, &err), &err);
		can[i] = device_card(dev, cards[i]);
		device_close(dev);
	}
	CHECK(can[0] && can[1] && strcmp(cards[0], cards[1]) != 0, "%s and %s", cards[0], cards[1]);
	CHECK(!can[2] && strcmp(cards[2], "its device is the CPU") == 0, "%s", cards[2]);
}

/* ---- whole runs ------------------------------------------------------------------------ */

static const char *const JOB =
	"configs/tiny_gemma2_ap.cfg --set "
	"'experiment=[\"direction\",\"attribution\",\"jailbreak\"]'"
	" --set 'attribution.methods=[\"cossim_ap\",\"ap\"]' --set attribution.k_star=4"
	" --set attribution.steps=2 --set clamp.scale=-1.0 --set "
	"'jailbreak.scopes=[\"global\"]'"
	" --set prompts.harmful_train.limit=3 --set prompts.harmless_train.limit=3"
	" --set prompts.harmful_test.limit=2 --set prompts.harmless_test.limit=2"
	" --set generate.max_new_tokens=2 --set generate.prompts=1 --set batch.tokens=32"
	" --set direction.filter=false --set sae.check=true";

/* Rank `rank` of `world` with `more` arguments and environment. */
static struct engine_process start(int rank, int world, const char *output, const char *environment,
	const char *more)
{
	char launcher[512], name[80];

	snprintf(name, sizeof name, "%.20s.%d", output, rank);
	snprintf(launcher, sizeof launcher,
		"env RANK=%d WORLD_SIZE=%d LOCAL_RANK=%d LOCAL_WORLD_SIZE=%d "
		"TORCHELASTIC_RUN_ID=%s %s",
		rank, world, rank, world, output, environment);
	return engine_start(name, launcher, "%s --device cuda --set output=%s %s", JOB,
		in_scratch(output), more);
}

static const char *alone(void)
{
	static char path[256];

	if (!path[0]) {
		snprintf(path, sizeof path, "%s", in_scratch("alone.h5"));
		engine_run(&run, "%s --device cuda --set output=%s", JOB, path);
		CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	}
	return path;
}

/* The model with zeros for every matrix: who reads them gets other results. */
static const char *blind_model(void)
{
	static char folder[300];
	char command[1000], path[900];
	struct safetensors *file;
	struct file_map map;
	struct err err;
	char *bytes;
	FILE *out;

	if (folder[0])
		return folder;
	snprintf(folder, sizeof folder, "%s/blind", test_scratch_folder());
	snprintf(command, sizeof command, "mkdir '%s' && cp %s/%s/*.json '%s'", folder,
		test_source_root(), MODEL, folder);
	snprintf(path, sizeof path, "%s/%s/model.safetensors", test_source_root(), MODEL);
	if (system(command) != 0 || file_map_open(&map, path, &err) || !(bytes = malloc(map.size)))
		exit(1);
	memcpy(bytes, map.data, map.size);
	if (safetensors_parse(&file, path, bytes, map.size, &err))
		exit(1);
	for (size_t i = 0; i < safetensors_count(file); i++) {
		const struct file_tensor *t = safetensors_at(file, i);

		if (t->n_dims == 2)
			memset(bytes + (t->data - (const unsigned char *)bytes), 0, t->bytes);
	}
	safetensors_close(file);
	snprintf(path, sizeof path, "%s/model.safetensors", folder);
	out = fopen(path, "wb");
	if (!out || fwrite(bytes, 1, map.size, out) != map.size || fclose(out) != 0)
		exit(1);
	file_map_close(&map);
	free(bytes);
	return folder;
}

TEST(ranks_that_cannot_read_the_matrices_get_the_same_bits_from_rank_0)
{
	for (int world = 2; world <= 3; world++) {
		struct engine_process ranks[3];
		char output[16], blind[400];

		snprintf(output, sizeof output, "n%d.h5", world);
		snprintf(blind, sizeof blind,
			"LD_PRELOAD=" BLIND_LIBRARY " BLIND_OF=%s/model.safetensors "
			"BLIND_BY=%s/model.safetensors",
			MODEL, blind_model());
		for (int r = 0; r < world; r++)
			ranks[r] = start(r, world, output, r == 0 ? "" : blind,
				"--set ranks.weights=broadcast");
		for (int r = 0; r < world; r++) {
			engine_wait(&run, &ranks[r]);
			CHECK(run.status == 0, "rank %d of %d: %d: %s", r, world, run.status,
				run.err);
			CHECK(r > 0 || strstr(run.out, "weights: read by rank 0, sent to "), "%s",
				run.out);
		}
		CHECK(same_results(alone(), in_scratch(output), "/") > 50,
			"too little was compared");
	}
}

TEST(a_rank_killed_in_the_middle_of_a_broadcast_ends_the_others_within_60_s)
{
	static const char *const dying = "LD_PRELOAD=" DIES_LIBRARY " DIES_AFTER=1000000";
	static const char *const outputs[] = {"sender.h5", "receiver.h5"};
	struct engine_process ranks[2][3];
	const double began = clock_seconds();

	for (int job = 0; job < 2; job++) /* rank 0 dies, which sends; rank 1, which receives */
		for (int r = 0; r < 3; r++)
			ranks[job][r] = start(r, 3, outputs[job], r == job ? dying : "",
				"--set ranks.weights=broadcast");
	for (int job = 0; job < 2; job++)
		for (int r = 0; r < 3; r++) {
			engine_wait(&run, &ranks[job][r]);
			CHECK(run.status == (r == job ? -1 : 85), "%s: rank %d: %d: %s",
				outputs[job], r, run.status, run.err);
			CHECK(r == job || strstr(run.err, "stopped (another rank"),
				"%s: rank %d: %s", outputs[job], r, run.err);
		}
	CHECK(clock_seconds() - began < 60, "it took %.1f s", clock_seconds() - began);
}

TEST(what_cannot_be_broadcast_is_refused_when_asked_for_and_read_by_each_otherwise)
{
	static const struct {
		const char *arguments, *environment, *reason;
		int status;
	} cases[] = {
		{"--device cuda:2 --set ranks.weights=broadcast", "",
			"ranks 0 and 1 share one GPU, GPU-", 4},
		/* Each on a machine of its own, as far as they know. */
		{"--device cuda:2", "LOCAL_RANK=0 LOCAL_WORLD_SIZE=1",
			"weights: every rank reads them (ranks 0 and 1 share one GPU, GPU-", 0},
	};

	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		struct engine_process ranks[2];
		char output[16];

		snprintf(output, sizeof output, "case%zu.h5", c);
		for (int r = 0; r < 2; r++)
			ranks[r] = start(r, 2, output, cases[c].environment, cases[c].arguments);
		for (int r = 0; r < 2; r++) {
			engine_wait(&run, &ranks[r]);
			CHECK(run.status == cases[c].status, "case %zu, rank %d: %d: %s", c, r,
				run.status, run.err);
			CHECK((r > 0 && cases[c].status == 0) || strstr(run.err, cases[c].reason) ||
					strstr(run.out, cases[c].reason),
				"case %zu, rank %d: %s%s", c, r, run.out, run.err);
		}
		if (cases[c].status == 0)
			CHECK(same_results(alone(), in_scratch(output), "/") > 50,
				"too little was compared");
	}
}

TEST(ranks_on_several_machines_broadcast_without_being_told)
{
	struct engine_process ranks[2];

	for (int r = 0; r < 2; r++)
		ranks[r] = start(r, 2, "auto.h5", "LOCAL_RANK=0 LOCAL_WORLD_SIZE=1",
			r == 0 ? "--device cuda:0" : "--device cuda:1");
	for (int r = 0; r < 2; r++) {
		engine_wait(&run, &ranks[r]);
		CHECK(run.status == 0, "rank %d: %d: %s", r, run.status, run.err);
		CHECK(r > 0 || strstr(run.out, "weights: read by rank 0, sent to 1 other by NCCL"),
			"%s", run.out);
	}
	CHECK(same_results(alone(), in_scratch("auto.h5"), "/") > 50, "too little was compared");
}

TEST(a_run_on_a_gpu_says_that_its_saes_are_in_bfloat16)
{
	struct results_reader *r;
	struct err err;
	char *text = NULL;

	REQUIRE_OK(results_open(&r, alone(), &err), &err);
	REQUIRE_OK(results_read_attribute_text(r, "/", "sae_dtype", &text, &err), &err);
	CHECK(strcmp(text, "bf16") == 0, "%s", text);
	results_reader_close(r);
	free(text);
}

TEST(a_rank_that_computes_on_another_kind_of_device_ends_all)
{
	struct engine_process ranks[2];

	for (int r = 0; r < 2; r++)
		ranks[r] = start(r, 2, "mixed.h5", "",
			r ? "--device cpu --set sae.dtype=float32" : "--set sae.dtype=float32");
	for (int r = 0; r < 2; r++) {
		engine_wait(&run, &ranks[r]);
		CHECK(run.status == 2 &&
				strstr(run.err,
					"settings: expected the same on all ranks\non rank 1:\n"
					"  device: rank 0 has \"cuda\", here \"cpu\""),
			"rank %d: %d: %s", r, run.status, run.err);
	}
}
