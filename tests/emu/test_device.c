/* SPDX-License-Identifier: MIT
 *
 * test_device.c - the CUDA backend as a device, on the stand-in for the CUDA runtime: what it
 * refuses and in which words, what may not happen while a graph is recorded, and how SAEs get
 * there.
 */
#include "host/model/generate.h"
#include "host/model/sae.h"
#include "host/model/sparse.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/names.h"
#include "tests/emu/control.h"
#include "tests/golden_model.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct device *open_fast(void)
{
	return fixture_device(&cuda_fast_backend, 1);
}

TEST(names_of_cuda_devices_are_read_as_documented)
{
	static const struct {
		const char *name;
		const struct backend *backend;
		int ordinal;
	} names[] = {
		{"cuda", &cuda_fast_backend, 0},
		{"cuda:0", &cuda_fast_backend, 0},
		{"cuda:12", &cuda_fast_backend, 12},
		{"cuda:3:f32", &cuda_exact_backend, 3},
		{"cuda:f32", NULL, 0},
		{"cuda:", NULL, 0},
		{"cuda:-1", NULL, 0},
		{"cuda:1x", NULL, 0},
		{"cuda:1:f64", NULL, 0},
		{"cuda1", NULL, 0},
		{"cpu", NULL, 0},
		{"cuda:99999999999", NULL, 0},
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		int ordinal = 0;

		CHECK(cuda_backend_named(names[i].name, &ordinal) == names[i].backend, "%s",
			names[i].name);
		CHECK(ordinal == names[i].ordinal, "%s: %d", names[i].name, ordinal);
	}
}

TEST(a_driver_that_is_missing_or_too_old_is_said_with_its_version)
{
	static const struct {
		int version;
		const char *text;
	} drivers[] = {
		{0, "device \"cuda:0\": no NVIDIA driver was found"},
		{12020, "device \"cuda:0\": expected a driver for CUDA 13 or newer, found one for 12.2"},
	};

	for (size_t i = 0; i < 2; i++) {
		struct device *dev;
		struct err err;

		emu_set_driver(drivers[i].version);
		CHECK(device_open_backend(&dev, &cuda_fast_backend, 1, &err) == ERR_DEVICE,
			"no error");
		CHECK(strcmp(err.text, drivers[i].text) == 0, "%s", err.text);
	}
	emu_set_driver(13000);
}

TEST(memory_that_is_not_there_is_refused_with_what_is_free)
{
	struct device *dev = open_fast();
	struct model *model = NULL;
	char folder[600];
	struct err err;
	size_t available = 0;
	void *memory;

	CHECK(device_total_memory(dev) == (size_t)1 << 40, "%zu", device_total_memory(dev));
	emu_set_memory(1000);
	CHECK(device_alloc(dev, 2000, &memory, &err) == ERR_DEVICE, "no error");
	CHECK(strcmp(err.text,
		      "out of device memory: cannot allocate 2000 bytes beside the 0 in use; "
		      "1000 of 5100 are free (out of memory)") == 0,
		"%s", err.text);
	CHECK(device_free_memory(dev, &available) && available == 1000, "%zu", available);
	snprintf(folder, sizeof folder, "%s/tests/golden/models/llama_a", test_source_root());
	CHECK(model_open(&model, dev, folder, &(struct model_options){0}, &err) == ERR_DEVICE,
		"no error");
	CHECK(strstr(err.text, "too little memory on cuda:0") && strstr(err.text, "MiB are free"),
		"%s", err.text);
	CHECK(device_allocated(dev) == 0, "%zu bytes are left", device_allocated(dev));
	emu_set_memory((size_t)1 << 40);
	device_close(dev);
}

/* ---- memory of the other side ----------------------------------------------------------- */

/* How a process of its own ends that does this, as waitpid tells. */
static int status_of(void (*action)(struct device *dev))
{
	int status = 0;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		action(open_fast());
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child, "cannot start a process");
	return status;
}

static struct tensor on_device(struct device *dev, size_t rows, size_t cols)
{
	struct tensor t = {NULL, DTYPE_F32, rows, cols};
	struct err err;

	if (device_alloc(dev, tensor_bytes(t), &t.data, &err) || op_scale(dev, 0, t, &err))
		exit(1);
	return t;
}

static void scale_host_memory(struct device *dev)
{
	float values[8] = {0};
	struct err err;

	op_scale(dev, 2, (struct tensor){values, DTYPE_F32, 2, 4}, &err);
}

/* The lists are an argument's members. */
static void clamp_by_lists_of_the_host(struct device *dev)
{
	static const int32_t start[] = {0, 1}, slot[] = {0};
	const struct tensor row = on_device(dev, 1, 4), one = on_device(dev, 1, 1);
	const struct sae_weights few = {.W_enc_t = row,
		.W_dec = row,
		.b_enc = one,
		.threshold = one,
		.b_dec = row};
	const struct clamp_lists lists = {1, start, slot, one.data, one.data};
	struct err err;

	if (op_clamp_features(dev, &few, &lists, (struct rows){1, one.data, NULL},
		    (struct tensor){0}, row, &err))
		_exit(1);
}

static void read_device_memory(struct device *dev)
{
	const struct tensor t = on_device(dev, 2, 4);
	struct err err;

	device_wait(dev, &err);
	_exit(*(volatile float *)t.data == 0 ? 0 : 1);
}

static void use_the_device(struct device *dev)
{
	struct err err;

	on_device(dev, 2, 4);
	if (device_wait(dev, &err))
		_exit(1);
}

TEST(kernels_may_not_have_the_hosts_memory_nor_the_host_the_devices)
{
	const int refused = status_of(scale_host_memory);
	const int inside = status_of(clamp_by_lists_of_the_host);

	CHECK(status_of(use_the_device) == 0, "ordinary use ends a process");
	CHECK(WIFEXITED(refused) && WEXITSTATUS(refused) == EMU_FAILED, "ends with %#x", refused);
	CHECK(WIFEXITED(inside) && WEXITSTATUS(inside) == EMU_FAILED, "in a struct, with %#x",
		inside);
	CHECK(status_of(read_device_memory) != 0, "the host reads device memory");
}

TEST(copies_that_mistake_one_sides_memory_for_the_others_are_refused)
{
	struct device *dev = open_fast();
	const struct tensor t = on_device(dev, 2, 4);
	float values[8] = {0};
	struct err err;

	CHECK(device_upload(dev, values, values, sizeof values, &err) == ERR_DEVICE, "to the host");
	CHECK(device_download(dev, values, values, sizeof values, &err) == ERR_DEVICE,
		"from the host");
	CHECK(op_copy(dev, t, (struct tensor){values, DTYPE_F32, 2, 4}, &err) == ERR_DEVICE,
		"device to host as device to device");
	CHECK(device_upload(dev, t.data, values, sizeof values, &err) == 0, "%s", err.text);
	CHECK(op_scale(dev, 2, t, &err) == 0, "%s", err.text);
	device_free(dev, t.data);
	device_close(dev);
}

TEST(a_call_that_failed_is_not_the_next_ops_fault)
{
	struct device *dev = open_fast();
	const struct tensor t = on_device(dev, 2, 4);
	struct err err;

	CHECK(cuda_check(cudaSetDevice(99), "a test", "cudaSetDevice", &err) == ERR_DEVICE,
		"no error");
	CHECK(op_scale(dev, 2, t, &err) == 0, "%s", err.text);
	device_free(dev, t.data);
	device_close(dev);
}

TEST(a_device_that_waits_after_each_op_has_memory_of_its_own)
{
	struct device *dev = open_fast();
	const struct emu_calls before = emu_calls_made();
	struct emu_calls after;
	struct tensor t;

	device_make_synchronous(dev);
	t = on_device(dev, 2, 4);
	after = emu_calls_made();
	CHECK(after.waits > before.waits, "nothing waited");
	CHECK(after.mapped == 0, "%d blocks of mapped memory", (int)after.mapped);
	device_free(dev, t.data);
	device_close(dev);
}

TEST(a_refused_launch_names_op_layer_and_batch)
{
	struct golden g;
	struct pass pass = {.batch = &g.batch, .cache = &g.cache};

	REQUIRE(golden_open(&g, "llama_a", &cuda_fast_backend) == 0, "%s", g.err.text);
	REQUIRE(pack_all(&g, BATCH_OUT_LAST) == 0, "%s", g.err.text);
	emu_set_refused_launch(5); /* behind lists, embedding, norm and a product */
	CHECK(forward(g.ws, &pass, &g.err) == ERR_DEVICE, "no error");
	emu_set_refused_launch(0);
	CHECK(strstr(g.err.text, "layer 0, ") && strstr(g.err.text, " tokens of ") &&
			strstr(g.err.text, "op ") &&
			strstr(g.err.text, "invalid configuration argument "
					   "(cudaErrorInvalidConfiguration)"),
		"%s", g.err.text);
	golden_close(&g);
}

TEST(what_is_recorded_runs_when_it_is_replayed_and_only_then)
{
	struct device *dev = open_fast();
	const float one = 1;
	struct device_graph *graph = NULL;
	struct err err;
	struct tensor x = {NULL, DTYPE_F32, 1, 1}, y = x;
	float found = 0;

	REQUIRE_OK(device_alloc(dev, 4, &x.data, &err), &err);
	REQUIRE_OK(device_alloc(dev, 4, &y.data, &err), &err);
	REQUIRE_OK(device_upload(dev, x.data, &one, 4, &err), &err);
	REQUIRE_OK(op_scale(dev, 0, y, &err), &err);
	REQUIRE_OK(device_graph_begin(dev, &err), &err);
	REQUIRE_OK(op_axpy(dev, 2, x, y, &err), &err);
	CHECK(device_upload(dev, x.data, &one, 4, &err) == ERR_INTERNAL, "an upload was recorded");
	CHECK(device_download(dev, &found, y.data, 4, &err) == ERR_INTERNAL, "so was a download");
	CHECK(cuda_scratch(dev, 1 << 20, &(void *){NULL}, &err) == ERR_INTERNAL,
		"scratch memory grew");
	REQUIRE_OK(device_graph_end(dev, &graph, &err), &err);
	REQUIRE_OK(device_download(dev, &found, y.data, 4, &err), &err);
	CHECK(found == 0, "found %g before the first replay", found);
	for (int i = 1; i <= 3; i++) {
		REQUIRE_OK(device_graph_replay(dev, graph, &err), &err);
		REQUIRE_OK(device_download(dev, &found, y.data, 4, &err), &err);
		CHECK(found == 2.0f * (float)i, "found %g after %d replays", found, i);
	}
	CHECK(device_graph_holds(dev, graph), "it does not hold");
	REQUIRE_OK(cuda_scratch(dev, 1 << 20, &(void *){NULL}, &err), &err);
	CHECK(!device_graph_holds(dev, graph), "it still holds");
	CHECK(device_graph_replay(dev, graph, &err) == ERR_INTERNAL, "a stale graph ran");
	device_graph_free(dev, graph);
	device_free(dev, x.data);
	device_free(dev, y.data);
	device_close(dev);
}

TEST(a_build_without_nccl_says_so_in_place_of_a_card)
{
	struct backend backend = cuda_fast_backend;
	char card[DEVICE_CARD];
	struct device *dev;
	struct err err;

	backend.team = NULL;
	REQUIRE_OK(device_open_backend(&dev, &backend, 1, &err), &err);
	CHECK(!device_card(dev, card) && strcmp(card, "this build has no NCCL") == 0, "%s", card);
	device_close(dev);
}

TEST(large_and_small_uploads_arrive_in_order)
{
	struct device *dev = open_fast();
	const size_t n = (size_t)5 * CUDA_STAGING / 2 + 12345;
	unsigned char *sent = malloc(n), *found = malloc(n);
	struct err err;
	void *memory;

	REQUIRE(sent && found, "no memory");
	for (size_t i = 0; i < n; i++)
		sent[i] = (unsigned char)(i * 2654435761u >> 13);
	REQUIRE_OK(device_alloc(dev, n, &memory, &err), &err);
	REQUIRE_OK(device_upload(dev, memory, sent, n, &err), &err);
	for (size_t i = 0; i < 100; i++) { /* each over what came before */
		const unsigned char newer = (unsigned char)i;

		REQUIRE_OK(device_upload(dev, (char *)memory + i / 2, &newer, 1, &err), &err);
		sent[i / 2] = newer;
	}
	REQUIRE_OK(device_download(dev, found, memory, n, &err), &err);
	CHECK(memcmp(sent, found, n) == 0, "bytes differ");
	device_free(dev, memory);
	device_close(dev);
	free(sent);
	free(found);
}

TEST(a_copy_to_the_host_has_what_was_there_and_ops_behind_the_fence_wait_for_it)
{
	struct device *dev = open_fast();
	const float one = 1;
	struct device_copy *fenced, *halves, *overtaken;
	struct tensor x = {NULL, DTYPE_F32, 1, 1};
	struct err err;
	const void *found;

	REQUIRE_OK(device_alloc(dev, 4, &x.data, &err), &err);
	REQUIRE_OK(device_upload(dev, x.data, &one, 4, &err), &err);
	REQUIRE_OK(op_scale(dev, 2, x, &err), &err);
	REQUIRE_OK(device_copy_begin(dev, x, DTYPE_F32, &fenced, &err), &err);
	REQUIRE_OK(device_copies_fence(dev, &err), &err);
	REQUIRE_OK(op_scale(dev, 3, x, &err), &err);
	REQUIRE_OK(device_wait(dev, &err), &err);
	REQUIRE_OK(device_copy_wait(fenced, &found, &err), &err);
	CHECK(*(const float *)found == 2, "%g", *(const float *)found);
	device_copy_end(fenced);

	/* In half precision it has left already when it is asked for. */
	REQUIRE_OK(device_copy_begin(dev, x, DTYPE_F16, &halves, &err), &err);
	REQUIRE_OK(op_scale(dev, 3, x, &err), &err);
	REQUIRE_OK(device_copy_wait(halves, &found, &err), &err);
	CHECK(f16_to_f32(*(const uint16_t *)found) == 6, "%#x", *(const uint16_t *)found);
	device_copy_end(halves);

	/* The harness shows what a GPU may do where the fence is forgotten. */
	REQUIRE_OK(device_copy_begin(dev, x, DTYPE_F32, &overtaken, &err), &err);
	REQUIRE_OK(op_scale(dev, 5, x, &err), &err);
	REQUIRE_OK(device_wait(dev, &err), &err);
	REQUIRE_OK(device_copy_wait(overtaken, &found, &err), &err);
	CHECK(*(const float *)found == 90, "%g", *(const float *)found);
	device_copy_end(overtaken);
	device_free(dev, x.data);
	device_close(dev);
}

enum { COPIES = 50 };

/* Ends the copies of a list that grows, checks that copy i holds i. */
static void *end_copies(void *argument)
{
	struct device_copy *_Atomic *copies = argument;
	intptr_t wrong = 0;

	for (int i = 0; i < COPIES; i++) {
		const void *found;
		struct err err;

		while (!copies[i])
			sched_yield();
		if (device_copy_wait(copies[i], &found, &err) || *(const float *)found != (float)i)
			wrong++;
		device_copy_end(copies[i]);
	}
	return (void *)wrong;
}

TEST(more_copies_than_buffers_wait_for_the_thread_that_takes_them)
{
	struct device *dev = open_fast();
	struct device_copy *_Atomic copies[COPIES] = {NULL};
	struct tensor x = {NULL, DTYPE_F32, 1, 1};
	struct err err;
	pthread_t thread;
	void *wrong;

	REQUIRE_OK(device_alloc(dev, 4, &x.data, &err), &err);
	REQUIRE(pthread_create(&thread, NULL, end_copies, copies) == 0, "no thread");
	for (int i = 0; i < COPIES; i++) {
		const float value = (float)i;
		struct device_copy *copy;

		REQUIRE_OK(device_copies_fence(dev, &err), &err);
		REQUIRE_OK(device_upload(dev, x.data, &value, 4, &err), &err);
		REQUIRE_OK(device_copy_begin(dev, x, DTYPE_F32, &copy, &err), &err);
		copies[i] = copy;
	}
	pthread_join(thread, &wrong);
	CHECK(wrong == NULL, "%d copies are wrong", (int)(intptr_t)wrong);
	device_free(dev, x.data);
	device_close(dev);
}

/* What a generation of `n` tokens each asks of the runtime. */
static struct emu_calls calls_of_generation(struct golden *g, struct readout *readout, size_t n)
{
	struct token_span prompts[MAX_PROMPTS];
	int32_t tokens[MAX_PROMPTS * 16], ended_by[MAX_PROMPTS];
	size_t lengths[MAX_PROMPTS];
	struct generator *generator = NULL;
	const struct generation request = {.prompts = prompts,
		.n_prompts = g->n_prompts,
		.tokens = tokens,
		.lengths = lengths,
		.ended_by = ended_by};
	struct emu_calls before, calls;

	for (size_t p = 0; p < g->n_prompts; p++)
		prompts[p] = (struct token_span){g->tokens + g->first[p], (size_t)g->lengths[p],
			(int32_t)p};
	CHECK(generator_create(&generator, g->model, readout,
		      (struct generator_size){g->n_prompts, g->n_tokens, g->n_tokens, n},
		      &g->err) == 0,
		"%s", g->err.text);
	before = emu_calls_made();
	CHECK(generate(generator, &request, &g->err) == 0, "%s", g->err.text);
	calls = emu_calls_made();
	generator_free(generator);
	return (struct emu_calls){.allocations = calls.allocations - before.allocations,
		.copies_to_device = calls.copies_to_device - before.copies_to_device,
		.bytes_to_device = calls.bytes_to_device - before.bytes_to_device,
		.copies_to_host = calls.copies_to_host - before.copies_to_host,
		.waits = calls.waits - before.waits};
}

TEST(a_further_token_costs_one_copy_of_sampled_ids_and_the_wait_for_it)
{
	enum { FEW = 6, MANY = 14 };
	struct golden g;
	struct readout readout;
	struct emu_calls few, many;

	REQUIRE(golden_open(&g, "gemma2_a", &cuda_exact_backend) == 0, "%s", g.err.text);
	REQUIRE(readout_init(&readout, g.model, &g.err) == 0, "%s", g.err.text);
	calls_of_generation(&g, &readout, FEW); /* settles the size of the scratch memory */
	few = calls_of_generation(&g, &readout, FEW);
	many = calls_of_generation(&g, &readout, MANY);
	CHECK(many.allocations == few.allocations, "%d allocations",
		(int)(many.allocations - few.allocations));
	CHECK(many.copies_to_device == few.copies_to_device, "%d copies to the device",
		(int)(many.copies_to_device - few.copies_to_device));
	CHECK(many.copies_to_host - few.copies_to_host == MANY - FEW, "%d copies to the host",
		(int)(many.copies_to_host - few.copies_to_host));
	CHECK(many.waits - few.waits == MANY - FEW, "%d waits", (int)(many.waits - few.waits));
	readout_free(&readout);
	golden_close(&g);
}

/* How many rows of logits a readout holds. */
static size_t readout_rows(struct device *dev, size_t n_vocab, size_t bytes)
{
	const struct model m = {.dev = dev, .arch = {.n_vocab = n_vocab}, .bytes = bytes};

	return readout_bytes(&m) / (n_vocab * sizeof(float));
}

TEST(a_readout_holds_up_to_256_rows_within_a_quarter_of_the_weights)
{
	struct device *dev = open_fast();

	CHECK(readout_rows(dev, 256000, (size_t)5200 << 20) == 256, "a large model");
	CHECK(readout_rows(dev, 262144, 512 << 20) == 128, "a small one of many tokens");
	CHECK(readout_rows(dev, 262144, 64 << 20) == 64, "a smaller one");
	CHECK(readout_rows(dev, 32768, 64 << 20) == 256, "one of fewer tokens");
	CHECK(readout_rows(dev, 4 << 20, 64 << 20) == 32, "more tokens than any has");
	device_close(dev);
}

/* The keys and values of recorded steps lie where those of direct steps would. */
TEST(recorded_decoding_gives_the_tokens_of_direct_decoding)
{
	enum { NEW = 14 };

	for (size_t m = 0; m < N_GOLDEN_MODELS; m += 4) {
		int32_t tokens[2][MAX_PROMPTS * NEW];
		size_t lengths[2][MAX_PROMPTS], n_prompts = 0;

		for (int direct = 0; direct < 2; direct++) {
			struct token_span prompts[MAX_PROMPTS];
			int32_t ended_by[MAX_PROMPTS], stop[8]; /* some replies end early */
			struct generator *generator = NULL;
			struct readout readout;
			struct backend backend = cuda_exact_backend;
			struct golden g;
			struct generation request = {.prompts = prompts,
				.tokens = tokens[direct],
				.lengths = lengths[direct],
				.ended_by = ended_by};

			if (direct)
				backend.async = NULL; /* the same device, that cannot record */
			REQUIRE(golden_open(&g, golden_models[m], &backend) == 0, "%s", g.err.text);
			request.n_prompts = n_prompts = g.n_prompts;
			for (size_t p = 0; p < g.n_prompts; p++)
				prompts[p] = (struct token_span){g.tokens + g.first[p],
					(size_t)g.lengths[p], (int32_t)p};
			memset(tokens[direct], 0, sizeof tokens[direct]);
			for (int32_t i = 0; i < 8; i++)
				stop[i] = 7 * i;
			request.stop = stop;
			request.n_stop = 8;
			REQUIRE(readout_init(&readout, g.model, &g.err) == 0, "%s", g.err.text);
			REQUIRE(generator_create(&generator, g.model, &readout,
					(struct generator_size){g.n_prompts, g.n_tokens, g.n_tokens,
						NEW},
					&g.err) == 0,
				"%s", g.err.text);
			REQUIRE(generate(generator, &request, &g.err) == 0, "%s", g.err.text);
			generator_free(generator);
			readout_free(&readout);
			golden_close(&g);
		}
		CHECK(memcmp(lengths[0], lengths[1], n_prompts * sizeof lengths[0][0]) == 0,
			"%s: lengths differ", golden_models[m]);
		CHECK(memcmp(tokens[0], tokens[1], sizeof tokens[0]) == 0, "%s: tokens differ",
			golden_models[m]);
	}
}

/* ---- SAEs ------------------------------------------------------------------------------ */

/* Layer 2 of tiny-gemma2's SAEs, 1024 features: larger than a piece of an upload. */
static void load_sae(struct sae_set **saes, struct device *dev, enum sae_dtype dtype,
	struct sae_weights *w)
{
	char path[600];
	const struct sae_options options = {.path = path,
		.format = "auto",
		.layer_folder = "",
		.width = "1k",
		.l0 = 100,
		.dtype = dtype,
		.budget = 1 << 24};
	struct err err;

	snprintf(path, sizeof path, "%s/models/tiny-gemma2-scope", test_source_root());
	REQUIRE_OK(sae_set_open(saes, dev, &options, 6, 128, &err), &err);
	REQUIRE_OK(sae_set_load(*saes, 2, w, &err), &err);
}

static void check_tensor(struct device *dev, struct tensor t, struct tensor expected, size_t i)
{
	char *found = malloc(tensor_bytes(expected) + 1);
	struct err err;

	REQUIRE(found && tensor_bytes(t) == tensor_bytes(expected), "array %zu: %zu bytes", i,
		tensor_bytes(t));
	REQUIRE_OK(device_download(dev, found, t.data, tensor_bytes(t), &err), &err);
	CHECK(memcmp(found, expected.data, tensor_bytes(t)) == 0, "array %zu differs", i);
	free(found);
}

TEST(an_sae_sent_in_pieces_is_the_one_that_the_cpu_reads)
{
	struct device *cpu, *dev = open_fast();
	struct err err;

	REQUIRE_OK(device_open(&cpu, "cpu", 2, &err), &err);
	for (enum sae_dtype dtype = 0; dtype < N_SAE_DTYPES; dtype++) {
		const uint64_t before = emu_calls_made().bytes_to_device;
		struct sae_set *saes, *on_host;
		struct sae_weights w, e;
		const int32_t ids[] = {1023, 0, 77};
		struct sae_few few, few_on_host;
		uint64_t sent;

		load_sae(&saes, dev, dtype, &w);
		sent = emu_calls_made().bytes_to_device - before;
		CHECK(sent > 4 * CUDA_STAGING, "%d bytes were sent", (int)sent);
		load_sae(&on_host, cpu, dtype, &e);
		check_tensor(dev, w.W_enc_t, e.W_enc_t, 0);
		check_tensor(dev, w.W_dec, e.W_dec, 1);
		check_tensor(dev, w.b_enc, e.b_enc, 2);
		check_tensor(dev, w.threshold, e.threshold, 3);
		check_tensor(dev, w.b_dec, e.b_dec, 4);
		REQUIRE_OK(sae_set_select(saes, 4, ids, 3, &few, &err), &err);
		REQUIRE_OK(sae_set_select(on_host, 4, ids, 3, &few_on_host, &err), &err);
		check_tensor(dev, few.weights.W_enc_t, few_on_host.weights.W_enc_t, 5);
		check_tensor(dev, few.weights.W_dec, few_on_host.weights.W_dec, 6);
		sae_few_free(&few);
		sae_few_free(&few_on_host);
		sae_set_close(saes);
		sae_set_close(on_host);
	}
	CHECK(device_allocated(dev) == 0, "%zu bytes are left", device_allocated(dev));
	device_close(dev);
	device_close(cpu);
}

TEST(a_piece_and_the_uploads_around_it_arrive_in_order)
{
	struct device *dev = open_fast();
	unsigned char sent[3] = {1, 2, 3}, found[3];
	struct device_graph *graph;
	struct device_part part;
	struct err err;
	void *memory, *piece;

	REQUIRE_OK(device_alloc(dev, 3, &memory, &err), &err);
	for (int round = 0; round < 5; round++) { /* each over what came before */
		REQUIRE_OK(device_upload(dev, memory, sent, 3, &err), &err);
		REQUIRE_OK(device_piece(dev, &piece, &err), &err);
		((unsigned char *)piece)[7] = (unsigned char)(10 + round);
		part = (struct device_part){(char *)memory + 1, (char *)piece + 7, 1};
		REQUIRE_OK(device_piece_send(dev, &part, 1, &err), &err);
		REQUIRE_OK(device_upload(dev, (char *)memory + 2, &sent[1], 1, &err), &err);
		REQUIRE_OK(device_download(dev, found, memory, 3, &err), &err);
		CHECK(found[0] == 1 && found[1] == 10 + round && found[2] == 2,
			"round %d: %d %d %d", round, found[0], found[1], found[2]);
	}
	REQUIRE_OK(device_graph_begin(dev, &err), &err);
	CHECK(device_piece(dev, &piece, &err) == ERR_INTERNAL, "a piece was recorded");
	REQUIRE_OK(device_graph_end(dev, &graph, &err), &err);
	device_graph_free(dev, graph);
	device_free(dev, memory);
	device_close(dev);
}

static bool has_streamed(void)
{
	for (size_t i = 0; i < emu_barriers(); i++)
		if (strncmp(emu_barrier_name(i), "sae_stream.cu", 13) == 0 && emu_barrier_met(i))
			return true;
	return false;
}

/* Values of that SAE for `rows` rows, [rows, 1024]. */
static void encode(struct device *dev, enum sae_dtype dtype, size_t rows, float *out)
{
	struct sparse sparse = {.dev = dev};
	struct host_csr csr = {0};
	struct sae_set *saes;
	struct sae_weights w;
	float values[40 * 128];
	struct tensor x = {NULL, DTYPE_F32, rows, 128};
	struct err err;

	for (size_t i = 0; i < 40 * 128; i++) /* exact in bfloat16: rounding x changes nothing */
		values[i] = (float)((int)((uint32_t)i * 2654435761u >> 24) - 128) / 16;
	load_sae(&saes, dev, dtype, &w);
	REQUIRE_OK(device_alloc(dev, tensor_bytes(x), &x.data, &err), &err);
	REQUIRE_OK(device_upload(dev, x.data, values, tensor_bytes(x), &err), &err);
	REQUIRE_OK(sparse_encode(&sparse, &w, x, &err), &err);
	REQUIRE_OK(sparse_download(&sparse, &csr, &err), &err);
	memset(out, 0, rows * 1024 * sizeof *out);
	for (size_t r = 0; r < rows; r++)
		for (int32_t k = csr.indptr[r]; k < csr.indptr[r + 1]; k++)
			out[r * 1024 + (size_t)csr.indices[k]] = csr.values[k];
	host_csr_free(&csr);
	sparse_free(&sparse);
	device_free(dev, x.data);
	sae_set_close(saes);
}

TEST(few_rows_stream_through_an_sae_in_bfloat16_and_no_other)
{
	static const struct {
		const struct backend *backend;
		enum sae_dtype dtype;
		bool streams;
	} cases[] = {
		{&cuda_fast_backend, SAE_BF16, true},
		{&cuda_fast_backend, SAE_RELEASED, true},
		{&cuda_fast_backend, SAE_FLOAT32, false},
		{&cuda_exact_backend, SAE_BF16, false},
	};
	enum { ROWS = 40 };
	float *expected = malloc(sizeof(float) * ROWS * 1024),
	      *found = malloc(sizeof(float) * ROWS * 1024);
	struct device *cpu;
	struct err err;

	REQUIRE(expected && found, "no memory");
	REQUIRE_OK(device_open(&cpu, "cpu", 2, &err), &err);
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		struct device *dev;
		size_t n_active = 0;

		REQUIRE_OK(device_open_backend(&dev, cases[c].backend, 2, &err), &err);
		encode(cpu, cases[c].dtype, ROWS, expected);
		emu_forget_met();
		encode(dev, cases[c].dtype, ROWS, found);
		CHECK(has_streamed() == cases[c].streams, "case %zu", c);
		for (size_t i = 0; i < (size_t)ROWS * 1024; i++) {
			n_active += expected[i] != 0;
			CHECK(fabsf(found[i] - expected[i]) <= 1e-4f * fmaxf(1, fabsf(expected[i])),
				"case %zu, row %zu, feature %zu: %g, expected %g", c, i / 1024,
				i % 1024, (double)found[i], (double)expected[i]);
		}
		CHECK(n_active > ROWS, "%zu features are active", n_active);
		device_close(dev);
	}
	device_close(cpu);
	free(expected);
	free(found);
}
