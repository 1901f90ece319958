/* SPDX-License-Identifier: MIT
 *
 * scoring.c - Contract: scoring.h.
 */
#include "host/measure/scoring.h"

#include "host/base/size.h"

#include <stdlib.h>

static size_t skipped(const struct scoring *s)
{
	return s->size.whole ? 0 : s->lab->prompts->n_prefix;
}

int scoring_open(struct scoring *s, struct lab *lab, const struct prompt_ids *prompts,
	struct scoring_size size, struct err *err)
{
	const size_t most = (size_t)lab->config->batch.tokens;

	*s = (struct scoring){.lab = lab, .prompts = prompts, .size = size};
	if (prompts_schedule(lab->prompts, prompts, skipped(s), most, most, &s->schedule, err))
		return err->code;
	s->spans = calloc(s->schedule.most_prompts + 1, sizeof *s->spans);
	if (!s->spans)
		return err_nomem(err, "a batch", s->schedule.most_prompts * sizeof *s->spans);
	return runner_init(&s->runner, lab->machine->model, &lab->machine->readout,
		(struct runner_size){size_max(s->schedule.most_tokens, lab->prompts->n_prefix),
			s->schedule.most_prompts,
			size_min(s->schedule.most_prompts * size.out, s->schedule.most_tokens),
			false},
		err);
}

void scoring_close(struct scoring *s)
{
	kv_cache_free(&s->prefix);
	runner_free(&s->runner);
	schedule_free(&s->schedule);
	free(s->spans);
	*s = (struct scoring){0};
}

int scoring_prefix(struct scoring *s, const struct edit *edits, size_t n_edits, struct err *err)
{
	kv_cache_free(&s->prefix);
	return runner_prefix(&s->runner, prompts_prefix(s->lab->prompts), skipped(s), edits,
		n_edits, NULL, 0, &s->prefix, err);
}

size_t scoring_batch(struct scoring *s, size_t b)
{
	s->index = s->schedule.order + s->schedule.cut[b];
	return prompts_batch(s->lab->prompts, s->prompts, &s->schedule, b, skipped(s), s->spans);
}

int scoring_run(struct scoring *s, size_t n, const struct edit *edits, size_t n_edits,
	const struct tap *taps, size_t n_taps, struct err *err)
{
	const struct intervention how = {skipped(s) > 0 ? &s->prefix : NULL, edits, n_edits, taps,
		n_taps};

	return runner_run(&s->runner, s->spans, n, s->size.out, &how, err);
}
