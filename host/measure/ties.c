/* SPDX-License-Identifier: MIT
 *
 * ties.c - Contract: ties.h. Tests: tests/test_ties.c.
 */
#include "host/measure/ties.h"

#include "host/base/log.h"

#include <stdarg.h>
#include <stdio.h>

void ties_tell(const struct lab *lab, size_t n, const char *format, ...)
{
	char line[512];
	va_list args;

	if (n == 0 || lab->config->batch.invariant)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	log_info("%s", line);
}

static bool rounds(const struct lab *lab)
{
	return device_rounds_products(lab->machine->dev);
}

struct score_noise ties_of_cosine(const struct lab *lab)
{
	return (struct score_noise){.fixed = rounds(lab) ? 0x1p-12 : 0x1p-20};
}

struct score_noise ties_of_effect(const struct lab *lab)
{
	return (struct score_noise){.share = rounds(lab) ? 0x1p-6 : 0x1p-15};
}

bool ties_is_narrow(const struct lab *lab, double lead)
{
	return lead < readout_noise(&lab->machine->readout);
}

size_t ties_count_leads(const struct lab *lab, const float *lead, size_t n)
{
	size_t below = 0;

	for (size_t i = 0; i < n; i++)
		below += ties_is_narrow(lab, lead[i]);
	return below;
}

void ties_tell_targets(const struct lab *lab, const char *who, const float *lead, size_t n)
{
	const size_t below = ties_count_leads(lab, lead, n);

	ties_tell(lab, below,
		"%s: in %zu of %zu prompts token j of the metric led by less than %g logits, which "
		"rounding may turn round",
		who, below, n, readout_noise(&lab->machine->readout));
}
