/* SPDX-License-Identifier: MIT
 *
 * site.c - Contract: site.h. Tests: tests/test_model.c.
 */
#include "host/model/site.h"

#include <stdio.h>
#include <string.h>

const struct site_place_names site_places[N_SITE_PLACES] = {
	[SITE_RESID_POST] = {"resid_post", "hook_resid_post"},
};

struct site_name site_name(struct site site)
{
	struct site_name name;

	snprintf(name.text, sizeof name.text, "blocks.%zu.%s", site.layer,
		site_places[site.place].hook);
	return name;
}

/* Whether a name is "blocks.N.{hook}", N of at most six digits. */
static bool block_of(const char *name, const char *hook, size_t *block)
{
	size_t n;

	if (strncmp(name, "blocks.", 7) != 0)
		return false;
	name += 7;
	n = strspn(name, "0123456789");
	if (n == 0 || n > 6 || name[n] != '.' || strcmp(name + n + 1, hook) != 0)
		return false;
	*block = 0;
	for (size_t i = 0; i < n; i++)
		*block = 10 * *block + (size_t)(name[i] - '0');
	return true;
}

bool site_of_name(const char *name, struct site *out)
{
	size_t block;

	if (block_of(name, "hook_resid_pre", &block)) {
		*out = (struct site){block - 1, SITE_RESID_POST};
		return block > 0;
	}
	for (int place = 0; place < N_SITE_PLACES; place++) {
		if (block_of(name, site_places[place].hook, &block)) {
			*out = (struct site){block, (enum site_place)place};
			return true;
		}
	}
	return false;
}

bool site_equal(struct site a, struct site b)
{
	return a.layer == b.layer && a.place == b.place;
}
