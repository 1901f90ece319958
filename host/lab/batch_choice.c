/* SPDX-License-Identifier: MIT
 *
 * batch_choice.c - Contract: batch_choice.h. Tests: tests/emu/test_batch_choice.c.
 */
#include "host/lab/batch_choice.h"

#include "host/base/size.h"
#include "host/lab/plan_parts.h"
#include "host/work/ranks_agree.h"

#include <stdio.h>
#include <string.h>

enum { CPU_TOKENS = 2048, CPU_PROMPTS = 32, GPU_TOKENS = 8192, GPU_PROMPTS = 256 };

static struct batch_size size_of(int64_t *value, int64_t most)
{
	const struct batch_size size = {.value = value, .chosen = *value == 0};

	if (size.chosen)
		*value = most;
	return size;
}

void batch_choice_begin(struct batch_choice *b, struct config *config, const struct machine *m)
{
	const bool host = device_is_host(m->dev);

	*b = (struct batch_choice){.tokens = size_of(&config->batch.tokens,
					   host ? CPU_TOKENS : GPU_TOKENS),
		.prompts = size_of(&config->generate.prompts, host ? CPU_PROMPTS : GPU_PROMPTS)};
}

/* ---- whether it fits -------------------------------------------------------------------- */

/* An eighth of a card is left to its driver, to libraries and to whoever else is on it. */
static struct memory_left memory_of(const struct lab *lab)
{
	const size_t card = device_total_memory(lab->machine->dev);

	if (lab->config->memory_gb > 0)
		return machine_memory(lab->machine, lab->config);
	return (struct memory_left){card - card / 8, "seven eighths of the card"};
}

/* As many whole ones as stay on the device (sae_set_load); of those with top_k, encoders are kept
 * with a few features beside. */
static size_t sae_bytes(const struct batch_choice *b, const struct lab *lab,
	const struct memory_plan *m)
{
	const struct sae_set *saes = lab->machine->saes;
	size_t all = 0;

	for (size_t l = 0; saes && l < sae_set_layers(saes); l++)
		all += sae_set_bytes(saes, l);
	all = size_min(all, machine_sae_budget(lab->machine, lab->config, b->memory.bytes));
	return size_max(m->sae, all + lab->plan->sae_bytes) +
	       (saes && sae_set_top_k(saes) ? m->encoders : 0);
}

/* Bytes that a run takes which computes what of_batch is of. */
typedef size_t of_batch(const struct memory_plan *m);

static size_t of_replies(const struct memory_plan *m)
{
	return m->generation;
}

static size_t of_all(const struct memory_plan *m)
{
	return size_max(m->generation, size_max(m->scoring, m->attribution));
}

static int settle(const struct batch_choice *b, struct batch_size *size, int64_t least,
	of_batch *bytes, const struct lab *lab, struct err *err)
{
	for (struct memory_plan m; *size->value > least; *size->value /= 2) {
		size_t needed;

		if (plan_memory(lab, &m, err))
			return err->code;
		needed = machine_memory_in_use(lab->machine) + m.working + sae_bytes(b, lab, &m) +
			 bytes(&m);
		if (needed <= b->memory.bytes)
			break;
		size->needed = needed;
	}
	return 0;
}

static int agree(struct batch_size *size, const char *topic, const struct lab *lab, struct err *err)
{
	size_t least;

	if (ranks_agree_least(lab->job->ranks, topic, (size_t)*size->value, &least, err))
		return err->code;
	size->of_ranks = (int64_t)least < *size->value;
	*size->value = (int64_t)least;
	return 0;
}

/* Prompts side by side first: the pass that reads them is of batch.tokens, so that these, behind,
 * are halved for whatever does not fit. */
int batch_choice_settle(struct batch_choice *b, const struct lab *lab, bool *smaller,
	struct err *err)
{
	const int64_t tokens = *b->tokens.value, prompts = *b->prompts.value;

	*smaller = false;
	err_clear(err);
	if (device_is_host(lab->machine->dev))
		return 0;
	b->memory = memory_of(lab);
	if (b->prompts.chosen) {
		TRY(settle(b, &b->prompts, CPU_PROMPTS, of_replies, lab, err));
		TRY(agree(&b->prompts, "generate-prompts", lab, err));
	}
	if (b->tokens.chosen) {
		TRY(settle(b, &b->tokens, CPU_TOKENS, of_all, lab, err));
		TRY(agree(&b->tokens, "batch-tokens", lab, err));
	}
	*smaller = *b->tokens.value < tokens || *b->prompts.value < prompts;
fail:
	return err->code;
}

/* ---- saying it -------------------------------------------------------------------------- */

static void print_size(const struct batch_choice *b, const struct batch_size *size, const char *key,
	const struct lab *lab)
{
	const char *device = device_description(lab->machine->dev);

	printf("%s %lld, ", key, (long long)*size->value);
	if (!size->chosen)
		printf("as given");
	else if (device_is_host(lab->machine->dev))
		printf("chosen for the CPU");
	else
		printf("chosen for %.*s", (int)strcspn(device, ","), device);
	if (size->of_ranks)
		printf(", as another rank takes no more");
	else if (size->needed > 0)
		printf("; twice as many would need %.1f MiB, %.1f MiB are %s",
			plan_mib((double)size->needed), plan_mib((double)b->memory.bytes),
			b->memory.limit);
	putchar('\n');
}

void batch_choice_print(const struct batch_choice *b, const struct lab *lab)
{
	printf("batches    ");
	print_size(b, &b->tokens, "batch.tokens", lab);
	printf("           ");
	print_size(b, &b->prompts, "generate.prompts", lab);
}
