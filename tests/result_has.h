/* SPDX-License-Identifier: MIT
 *
 * result_has.h - a path of a result file that can be read.
 */
#ifndef SAENGINE_RESULT_HAS_H
#define SAENGINE_RESULT_HAS_H

#include "host/store/results.h"
#include "tests/test.h"

static inline bool result_has(struct results_reader *r, const char *path)
{
	struct err err;
	bool has;

	CHECK(results_has(r, path, &has, &err) == 0, "%s", err.text);
	return has;
}

#endif
