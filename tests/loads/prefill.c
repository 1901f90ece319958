/* SPDX-License-Identifier: MIT
 *
 * prefill.c - load (d): prompts read in one pass, and the next token of each.
 */
#include "tests/loads/load.h"

#include "host/base/clock.h"
#include "host/method/runner.h"

#include <stdlib.h>

struct state {
	struct bench *b;
	const struct load_case *c;
	struct token_span *prompts;
	struct runner runner;
	int32_t *next; /* [prompts] */
};

static struct runner_size size_of(const struct load_case *c)
{
	return (struct runner_size){.rows = c->prompts * c->tokens,
		.prompts = c->prompts,
		.out = c->prompts};
}

static size_t bytes(const struct bench *b, const struct load_case *c)
{
	return runner_bytes(b->model, size_of(c));
}

static int open(struct bench *b, const struct load_case *c, void *state, struct err *err)
{
	struct state *s = state;

	s->b = b;
	s->c = c;
	s->next = calloc(c->prompts, sizeof *s->next);
	if (!s->next)
		return err_nomem(err, "next tokens", c->prompts * sizeof *s->next);
	TRY(bench_prompts(b, c->prompts, c->tokens, &s->prompts, err));
	return runner_init(&s->runner, b->model, &b->readout, size_of(c), err);
fail:
	return err->code;
}

static void close_state(void *state)
{
	struct state *s = state;

	runner_free(&s->runner);
	free(s->prompts);
	free(s->next);
}

static int run(void *state, struct figures *out, struct err *err)
{
	struct state *s = state;
	const struct intervention none = {0};
	const double start = clock_seconds();

	TRY(runner_run(&s->runner, s->prompts, s->c->prompts, BATCH_OUT_LAST, &none, err));
	TRY(readout_argmax(&s->b->readout, &s->runner.batch, workspace_out(s->runner.ws), s->next,
		NULL, err));
	*out = (struct figures){.seconds = clock_seconds() - start,
		.n = s->c->prompts * s->c->tokens};
	return 0;
fail:
	return err->code;
}

const struct load load_prefill = {'d', "prefill", "token", bytes, sizeof(struct state), open, run,
	close_state};
