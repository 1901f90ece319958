/* SPDX-License-Identifier: MIT
 *
 * manifest.h - what a run is made from, as text: a line "key = value" each. Comparing two.
 */
#ifndef SAENGINE_MANIFEST_H
#define SAENGINE_MANIFEST_H

#include "host/base/vec.h"

/* Whose two texts are compared, for messages: "the units were made with", "this run has". */
struct manifest_sides {
	const char *theirs, *ours;
};

/* Appends "\n  KEY: THEIRS value, OURS value" for each line that differs; what is out of memory is
 * left out, and what comes behind 64 KiB of them. Of both texts; of the first line of `ours`.
 * n log n of the lines. */
void manifest_compare(const char *theirs, const char *ours, struct manifest_sides who,
	struct text *differences);
void manifest_compare_first(const char *theirs, const char *ours, struct manifest_sides who,
	struct text *differences);

#endif
