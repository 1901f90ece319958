/* SPDX-License-Identifier: MIT
 *
 * bench_loads.c - what users wait for, timed on random weights: no file is read. Not a test.
 *
 *   a  IG-10 attribution (tests/loads/attribution.c)    c  SAE encoding (encode.c)
 *   b  greedy decoding, with clamps or without (decode.c)    d  prefill (prefill.c)
 *                                                       e  activations saved (capture.c)
 *
 *   build/cpu/bench_loads --shape tiny
 *   build/cuda/bench_loads --shape gemma2-2b --device cuda:0 --loads b,a --seconds 100 --json FILE
 *   build/cuda/bench_loads --shape llama3-8b --device cuda:0 --serve
 *
 * Every round is a JSON line behind what FILE has, written at once, and a line of text. A case that
 * does not fit the memory is one line; one that fails is one line, and the exit status at the end.
 *
 * With --serve, cases are read from standard input, one a line by its name ("b 64 one"); each runs
 * one round and is answered by one JSON line on standard output, so that another program can be
 * timed in turn (tools/beside_torch.py). The first line says what there is. A case stays set up
 * until another is asked for; "close" gives its memory and that of the SAEs back.
 */
#include "tests/loads/load.h"

#include "host/base/clock.h"
#include "host/base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct shape shapes[] = {
	{"gemma2-2b",
		"{\"model_type\": \"gemma2\", \"num_hidden_layers\": 26, \"hidden_size\": 2304, "
		"\"num_attention_heads\": 8, \"num_key_value_heads\": 4, \"head_dim\": 256, "
		"\"intermediate_size\": 9216, \"vocab_size\": 256000, \"sliding_window\": 4096}",
		.attributed = 100, .prompt_tokens = 40, .replies = {64, 256, 1, 8}, .max_new = 128,
		.encoded = 8192, .widths = {16384, 65536}, .many = 200, .few = 8,
		.few_tokens = 1024},
	{"llama3-8b",
		"{\"model_type\": \"llama\", \"num_hidden_layers\": 32, \"hidden_size\": 4096, "
		"\"num_attention_heads\": 32, \"num_key_value_heads\": 8, \"head_dim\": 128, "
		"\"intermediate_size\": 14336, \"vocab_size\": 128256, \"rms_norm_eps\": 1e-05, "
		"\"max_position_embeddings\": 131072, \"rope_theta\": 500000.0, \"rope_scaling\": "
		"{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
		"\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}}",
		.attributed = 100, .prompt_tokens = 40, .replies = {64, 256, 1, 8}, .max_new = 64,
		.encoded = 8192, .widths = {16384, 65536}, .many = 200, .few = 8,
		.few_tokens = 1024},
	{"tiny", /* for tests */
		"{\"model_type\": \"gemma2\", \"num_hidden_layers\": 3, \"hidden_size\": 64, "
		"\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 16, "
		"\"intermediate_size\": 128, \"vocab_size\": 512}",
		.attributed = 4, .prompt_tokens = 8, .replies = {4, 1, 2, 8}, .max_new = 12,
		.encoded = 64, .widths = {512, 1024}, .many = 6, .few = 2, .few_tokens = 32},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

struct options {
	const char *device, *loads, *json;
	const struct shape *shape;
	int rounds;
	double seconds; /* of everything; 0 = no limit */
	size_t rows;
	bool bf16, serve;
};

/* A bench, the case that is set up, and where lines go. */
struct program {
	struct options options;
	struct bench bench;
	double start; /* clock_seconds */
	struct load_case cases[LOAD_CASES];
	size_t n_cases;
	const struct load_case *open; /* NULL = none */
	void *state;
	FILE *json; /* NULL = nowhere */
	FILE *text;
};

/* ---- cases ----------------------------------------------------------------------------- */

static struct load_case *add_case(struct program *p, const struct load *load)
{
	struct load_case *c = &p->cases[p->n_cases++];

	*c = (struct load_case){.load = load,
		.tokens = p->options.shape->prompt_tokens,
		.max_new = p->options.shape->max_new,
		.bf16 = p->options.bf16};
	return c;
}

/* Where time may run out, the most telling cases come first: here the widest SAEs. */
static void add_attribution(struct program *p)
{
	for (size_t i = LOAD_WIDTHS; i-- > 0;) {
		for (int all = 0; all < 2; all++) {
			struct load_case *c = add_case(p, &load_attribution);

			c->prompts = p->options.shape->attributed;
			c->d_sae = p->options.shape->widths[i];
			c->all = all;
			snprintf(c->name, sizeof c->name, "a %zu%s", c->d_sae, all ? " ap" : "");
		}
	}
}

static void add_decode(struct program *p)
{
	static const char *const names[] = {"", " one", " each"};

	for (size_t i = 0; i < LOAD_BATCHES; i++) {
		for (int k = CLAMP_NONE; k <= CLAMP_EACH; k++) {
			struct load_case *c;

			if (p->options.shape->replies[i] == 1 && k == CLAMP_EACH)
				continue; /* the same as one set for all */
			c = add_case(p, &load_decode);
			c->prompts = p->options.shape->replies[i];
			c->d_sae = p->options.shape->widths[0];
			c->clamping = (enum clamping)k;
			snprintf(c->name, sizeof c->name, "b %zu%s", c->prompts, names[k]);
		}
	}
}

static void add_encode(struct program *p)
{
	for (size_t i = LOAD_WIDTHS; i-- > 0;) {
		for (int bf16 = 1; bf16 >= 0; bf16--) {
			struct load_case *c = add_case(p, &load_encode);

			c->prompts = p->options.shape->encoded;
			c->d_sae = p->options.shape->widths[i];
			c->bf16 = bf16;
			snprintf(c->name, sizeof c->name, "c %zu %s", c->d_sae,
				bf16 ? "bf16" : "f32");
		}
	}
}

static void add_prefill(struct program *p)
{
	const struct shape *s = p->options.shape;
	const size_t sizes[][2] = {{s->few, s->few_tokens}, {s->many, s->prompt_tokens}};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct load_case *c = add_case(p, &load_prefill);

		c->prompts = sizes[i][0];
		c->tokens = sizes[i][1];
		snprintf(c->name, sizeof c->name, "d %zux%zu", c->prompts, c->tokens);
	}
}

static void add_capture(struct program *p)
{
	const struct shape *s = p->options.shape;
	const struct {
		size_t prompts, tokens;
		bool file;
	} cases[] = {{s->few, s->few_tokens, false}, {s->many, s->prompt_tokens, false},
		{s->few, s->few_tokens, true}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct load_case *c = add_case(p, &load_capture);

		c->prompts = cases[i].prompts;
		c->tokens = cases[i].tokens;
		c->file = cases[i].file;
		snprintf(c->name, sizeof c->name, "e %zux%zu %s", c->prompts, c->tokens,
			c->file ? "file" : "host");
	}
}

/* In the order of the option. */
static int add_cases(struct program *p, struct err *err)
{
	for (const char *l = p->options.loads; *l; l++) {
		if (*l == 'a')
			add_attribution(p);
		else if (*l == 'b')
			add_decode(p);
		else if (*l == 'c')
			add_encode(p);
		else if (*l == 'd')
			add_prefill(p);
		else if (*l == 'e')
			add_capture(p);
		else if (*l != ',')
			return err_set(err, ERR_CONFIG,
				"--loads: expected some of a, b, c, d and e, each once, found \"%s\"",
				p->options.loads);
		if (*l != ',' && strchr(l + 1, *l))
			return err_set(err, ERR_CONFIG,
				"--loads: expected some of a, b, c, d and e, each once, found \"%s\"",
				p->options.loads);
	}
	return 0;
}

/* ---- lines ----------------------------------------------------------------------------- */

/* A text in quotes. */
static void put_text(FILE *file, const char *text)
{
	putc('"', file);
	for (const char *c = text; *c; c++) {
		if (*c == '"' || *c == '\\')
			putc('\\', file);
		putc((unsigned char)*c < ' ' ? ' ' : *c, file);
	}
	putc('"', file);
}

static void begin_line(const struct program *p, const struct load_case *c)
{
	fprintf(p->json,
		"{\"load\": \"%c\", \"case\": \"%s\", \"side\": \"engine\", "
		"\"shape\": \"%s\", \"device\": ",
		c->load->letter, c->name, p->options.shape->name);
	put_text(p->json, device_description(p->bench.dev));
}

/* Instead of figures: "not_run" or "failed", and why. */
static void say_why(const struct program *p, const struct load_case *c, const char *what,
	const char *why)
{
	fprintf(p->text, "%-14s %s: %s\n", c->name, what, why);
	fflush(p->text);
	if (!p->json)
		return;
	begin_line(p, c);
	fprintf(p->json, ", \"%s\": ", what);
	put_text(p->json, why);
	fputs("}\n", p->json);
	fflush(p->json);
}

static void say_round(const struct program *p, const struct load_case *c, int round,
	const struct figures *f)
{
	const double rate = (double)f->n / f->seconds;

	fprintf(p->text, "%-14s %10.4f s %12.1f %ss/s", c->name, f->seconds, rate, c->load->item);
	for (size_t i = 0; i < f->n_more; i++)
		fprintf(p->text, "  %s %.4g", f->more[i].name, f->more[i].value);
	fputc('\n', p->text);
	fflush(p->text);
	if (!p->json)
		return;
	begin_line(p, c);
	fprintf(p->json,
		", \"round\": %d, \"seconds\": %.9g, \"%ss\": %zu, \"%ss_per_second\": %.9g", round,
		f->seconds, c->load->item, f->n, c->load->item, rate);
	for (size_t i = 0; i < f->n_more; i++)
		fprintf(p->json, ", \"%s\": %.9g", f->more[i].name, f->more[i].value);
	fputs("}\n", p->json);
	fflush(p->json);
}

/* ---- running --------------------------------------------------------------------------- */

static void close_case(struct program *p)
{
	if (p->open)
		p->open->load->close(p->state);
	free(p->state);
	p->open = NULL;
	p->state = NULL;
}

static bool out_of_time(const struct program *p)
{
	return p->options.seconds > 0 && clock_seconds() - p->start > p->options.seconds;
}

/* Whether the case may be set up; says so if not. SAEs of earlier cases make room if they must; (a)
 * sees to that itself, for they may be its own. */
static bool is_possible(struct program *p, const struct load_case *c)
{
	struct bench *b = &p->bench;
	const size_t needed = c->load->bytes(b, c) + device_working_bytes(b->dev);
	const size_t available = bench_memory(b);
	char why[96];

	if (out_of_time(p)) {
		say_why(p, c, "not_run", "the time is up");
		return false;
	}
	if (needed <= available) {
		if (c->load != &load_attribution && needed > bench_free(b))
			bench_saes_close(b);
		return true;
	}
	snprintf(why, sizeof why, "needs %.1f GiB, %.1f free", (double)needed / 0x1p30,
		(double)available / 0x1p30);
	say_why(p, c, "not_run", why);
	return false;
}

/* Sets a case up and runs it once: the first round finds algorithms and grows buffers. */
static int open_case(struct program *p, const struct load_case *c, struct err *err)
{
	struct figures ignored;

	p->state = calloc(1, c->load->state_bytes);
	if (!p->state)
		return err_nomem(err, c->load->title, c->load->state_bytes);
	p->open = c;
	TRY(c->load->open(&p->bench, c, p->state, err));
	TRY(c->load->run(p->state, &ignored, err));
	return 0;
fail:
	close_case(p);
	return err->code;
}

/* All rounds of a case. */
static int run_case(struct program *p, const struct load_case *c, struct err *err)
{
	close_case(p);
	if (!is_possible(p, c))
		return 0;
	TRY(open_case(p, c, err));
	for (int round = 0; round < p->options.rounds && (round == 0 || !out_of_time(p)); round++) {
		struct figures f;

		TRY(c->load->run(p->state, &f, err));
		say_round(p, c, round, &f);
	}
	return 0;
fail:
	say_why(p, c, "failed", err->text);
	return err->code;
}

static int run_all(struct program *p)
{
	struct err err;
	int status = 0;

	for (size_t i = 0; i < p->n_cases; i++)
		if (run_case(p, &p->cases[i], &err) && !status)
			status = err.code;
	return status;
}

/* ---- serving --------------------------------------------------------------------------- */

static const char *json_bool(bool value)
{
	return value ? "true" : "false";
}

/* What another program must know to do the same work. */
static void say_ready(const struct program *p)
{
	const struct arch *a = &p->bench.model->arch;

	fprintf(p->json,
		"{\"ready\": true, \"shape\": \"%s\", \"n_layer\": %zu, \"d_model\": %zu, "
		"\"n_head\": %zu, \"n_kv_head\": %zu, \"head_dim\": %zu, \"d_ff\": %zu, "
		"\"n_vocab\": %zu, \"post_norms\": %s, \"tied\": %s, \"silu\": %s, "
		"\"attention_scale\": %.9g, \"attention_softcap\": %.9g, \"final_softcap\": %.9g, "
		"\"embedding_scale\": %.9g, \"theta\": %.9g, \"cases\": [",
		p->options.shape->name, a->n_layer, a->d_model, a->n_head, a->n_kv_head,
		a->head_dim, a->d_ff, a->n_vocab, json_bool(a->post_norms),
		json_bool(a->tied_embedding), json_bool(a->activation == ACTIVATION_SILU),
		a->attention_scale, a->attention_softcap, a->final_softcap,
		p->bench.model->embedding_scale, a->rope[ARCH_ROPE_GLOBAL].theta);
	for (size_t i = 0; i < p->n_cases; i++) {
		const struct load_case *c = &p->cases[i];

		fprintf(p->json,
			"%s{\"load\": \"%c\", \"case\": \"%s\", \"prompts\": %zu, "
			"\"tokens\": %zu, \"max_new\": %zu, \"d_sae\": %zu}",
			i ? ", " : "", c->load->letter, c->name, c->prompts, c->tokens, c->max_new,
			c->d_sae);
	}
	fputs("]}\n", p->json);
	fflush(p->json);
}

static void serve_case(struct program *p, const struct load_case *c)
{
	struct figures f;
	struct err err;

	if (p->open != c) {
		close_case(p);
		if (!is_possible(p, c))
			return;
		if (open_case(p, c, &err)) {
			say_why(p, c, "failed", err.text);
			return;
		}
	}
	if (c->load->run(p->state, &f, &err)) {
		say_why(p, c, "failed", err.text);
		close_case(p);
		return;
	}
	say_round(p, c, 0, &f);
}

static void answer(struct program *p, const char *name)
{
	for (size_t i = 0; i < p->n_cases; i++) {
		if (strcmp(p->cases[i].name, name) == 0) {
			serve_case(p, &p->cases[i]);
			return;
		}
	}
	if (strcmp(name, "close") == 0) {
		close_case(p);
		bench_saes_close(&p->bench);
		fputs("{\"closed\": true}\n", p->json);
	} else {
		fputs("{\"failed\": \"expected the name of a case or close\"}\n", p->json);
	}
	fflush(p->json);
}

static void serve(struct program *p)
{
	char line[128];

	say_ready(p);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		answer(p, line);
	}
}

/* ---- options --------------------------------------------------------------------------- */

static const char usage[] =
	"usage: bench_loads [--shape gemma2-2b|llama3-8b|tiny] [--device cpu] [--loads a,b,c,d,e]\n"
	"                   [--rounds 5] [--seconds LIMIT] [--rows 8192] [--sae bf16|f32]\n"
	"                   [--json FILE | --serve]\n";

static int read_shape(struct options *o, const char *name, struct err *err)
{
	for (size_t i = 0; i < N_SHAPES; i++) {
		if (strcmp(shapes[i].name, name) == 0) {
			o->shape = &shapes[i];
			return 0;
		}
	}
	return err_set(err, ERR_CONFIG, "--shape: expected gemma2-2b, llama3-8b or tiny, found %s",
		name);
}

static int read_positive(const char *option, const char *text, double *out, struct err *err)
{
	char *end;

	*out = strtod(text, &end);
	if (*out > 0 && *out <= 1e9 && *end == '\0')
		return 0;
	return err_set(err, ERR_CONFIG, "%s: expected a positive number, found %s", option, text);
}

static int read_option(struct options *o, const char *option, const char *value, struct err *err)
{
	double number;

	if (strcmp(option, "--shape") == 0)
		return read_shape(o, value, err);
	if (strcmp(option, "--device") == 0) {
		o->device = value;
	} else if (strcmp(option, "--loads") == 0) {
		o->loads = value;
	} else if (strcmp(option, "--json") == 0) {
		o->json = value;
	} else if (strcmp(option, "--sae") == 0) {
		o->bf16 = strcmp(value, "bf16") == 0;
		if (!o->bf16 && strcmp(value, "f32") != 0)
			return err_set(err, ERR_CONFIG, "--sae: expected bf16 or f32, found %s",
				value);
	} else if (strcmp(option, "--seconds") == 0) {
		return read_positive(option, value, &o->seconds, err);
	} else if (strcmp(option, "--rounds") == 0) {
		TRY(read_positive(option, value, &number, err));
		o->rounds = (int)ceil(number);
	} else if (strcmp(option, "--rows") == 0) {
		TRY(read_positive(option, value, &number, err));
		o->rows = (size_t)ceil(number);
	} else {
		return err_set(err, ERR_CONFIG, "%s: not an option\n%s", option, usage);
	}
	return 0;
fail:
	return err->code;
}

static int read_options(struct options *o, int argc, char **argv, struct err *err)
{
	*o = (struct options){.device = "cpu",
		.loads = "a,b,c,d,e",
		.shape = &shapes[0],
		.rounds = 5,
		.rows = 8192,
		.bf16 = true};
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--serve") == 0) {
			o->serve = true;
			continue;
		}
		if (i + 1 == argc)
			return err_set(err, ERR_CONFIG, "%s: expected a value, found nothing\n%s",
				argv[i], usage);
		TRY(read_option(o, argv[i], argv[i + 1], err));
		i++;
	}
	return 0;
fail:
	return err->code;
}

static int open_lines(struct program *p, struct err *err)
{
	p->text = p->options.serve ? stderr : stdout;
	if (p->options.serve)
		p->json = stdout;
	else if (p->options.json && !(p->json = fopen(p->options.json, "a")))
		return err_set(err, ERR_OUTPUT, "--json: cannot write %s", p->options.json);
	return 0;
}

static int program_open(struct program *p, int argc, char **argv, struct err *err)
{
	TRY(read_options(&p->options, argc, argv, err));
	TRY(add_cases(p, err));
	TRY(open_lines(p, err));
	p->bench.rows = p->options.rows;
	TRY(bench_open(&p->bench, p->options.device, p->options.shape, err));
	fprintf(p->text, "%s on %s: random weights made in %.1f s\n", p->options.shape->name,
		device_description(p->bench.dev), clock_seconds() - p->start);
	fflush(p->text);
	return 0;
fail:
	return err->code;
}

int main(int argc, char **argv)
{
	struct program p = {.start = clock_seconds()};
	struct err err;
	int status;

	memory_keep_freed();
	status = program_open(&p, argc, argv, &err);
	if (status)
		fprintf(stderr, "bench_loads: %s\n", err.text);
	else if (p.options.serve)
		serve(&p);
	else
		status = run_all(&p);
	close_case(&p);
	bench_close(&p.bench);
	if (p.json && p.json != stdout && fclose(p.json) && !status)
		status = ERR_OUTPUT;
	return status;
}
