/* SPDX-License-Identifier: MIT
 *
 * agree.c - Contract: agree.h. Tests: tests/test_ranks.c.
 */
#include "host/lab/agree.h"

#include "host/base/log.h"
#include "host/base/memstream.h"
#include "host/work/ranks_agree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "version.h"

/* Without its number: every rank has a GPU of its own. */
static void print_device(const char *device, FILE *to)
{
	const size_t n = strlen(device);
	const bool exact = n > 4 && strcmp(device + n - 4, ":f32") == 0;

	if (strncmp(device, "cuda", 4) == 0)
		fprintf(to, "device = \"cuda%s\"\n", exact ? ":f32" : "");
	else
		fprintf(to, "device = \"%s\"\n", device);
}

/* What bears on results, and how weights travel, which takes all ranks. NULL when out of memory. */
static char *settings_text(const struct ranks *ranks, const struct config *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	if (!to)
		return NULL;
	fprintf(to, "engine = %s (%s)\nranks = %zu\n", SAENGINE_VERSION, SAENGINE_COMMIT,
		ranks->world);
	print_device(c->device, to);
	fprintf(to, "ranks.weights = \"%s\"\n", c->ranks.weights);
	config_print_lines(c, to);
	return memstream_text(to, &text);
}

static size_t count_levels(void)
{
	size_t n = 0;

	while (device_cpu_levels()[n])
		n++;
	return n;
}

/* The lowest of the levels that are the best of each rank's processor. */
static int agree_on_level(const struct ranks *ranks, char *device, size_t size, struct err *err)
{
	const size_t best = count_levels();
	size_t n;

	if (ranks_agree_least(ranks, "level", best, &n, err))
		return err->code;
	if (n == 0) /* a build without CPU backend, which device_open refuses */
		return 0;
	snprintf(device, size, "cpu:%s", device_cpu_levels()[n - 1]);
	if (n < best)
		log_info("device: %s, as another rank's processor has no higher level", device);
	return 0;
}

int agree_on_settings(const struct ranks *ranks, const struct config *c, char *device, size_t size,
	struct err *err)
{
	char *text;

	ranks_device(ranks, c->device, device, size);
	err_clear(err);
	if (!ranks->meeting)
		return 0;
	text = settings_text(ranks, c);
	if (!text)
		return err_nomem(err, "the settings", 4096);
	if (ranks_agree(ranks, "settings", "settings", text, ERR_CONFIG, NULL, err) == 0 &&
		strcmp(device, "cpu") == 0)
		agree_on_level(ranks, device, size, err);
	free(text);
	return err->code;
}

int agree_on_device(const struct ranks *ranks, const struct device *dev, const char *sae_dtype,
	const struct err *fault, struct err *err)
{
	char text[DEVICE_ARITHMETIC + 128] = "";

	if (!fault->code)
		snprintf(text, sizeof text, "arithmetic = %s\ncompute_dtype = %s\nsae_dtype = %s\n",
			device_arithmetic(dev), dtype_name(device_activation(dev)), sae_dtype);
	return ranks_agree(ranks, "device", "device", text, ERR_CONFIG, fault, err);
}
