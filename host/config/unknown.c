/* SPDX-License-Identifier: MIT
 *
 * unknown.c - keys that do not exist, and those that were meant. Contract: config_parts.h. Tests:
 * tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include <stdio.h>
#include <string.h>

/* Edit distance, for suggestions. Keys are short. */
static size_t distance(const char *a, const char *b)
{
	size_t row[128];
	const size_t n = strlen(b);

	if (n >= 127 || strlen(a) >= 127)
		return 127;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			const size_t change = diagonal + (a[i] != b[j]);
			size_t best = change;

			diagonal = row[j + 1];
			best = diagonal + 1 < best ? diagonal + 1 : best;
			row[j + 1] = row[j] + 1 < best ? row[j] + 1 : best;
		}
	}
	return row[n];
}

/* The key nearest to one that does not exist; *best is how far it is, at most. */
static const char *nearest_key(const struct setting *rows, size_t n, const char *key, size_t *best)
{
	const char *nearest = NULL;

	for (size_t i = 0; i < n; i++) {
		const size_t d = distance(key, rows[i].key);

		if (d < *best && rows[i].type != SETTING_MOVED) {
			*best = d;
			nearest = rows[i].key;
		}
	}
	return nearest;
}

/* Farther apart is no misspelling. */
static size_t near_enough(const char *key)
{
	return strlen(key) / 3 + 2;
}

/* `key` as the message gives it. */
static void unknown(struct faults *f, struct place place, const char *key, const char *nearest)
{
	if (nearest)
		fault(f, place, "unknown key %s; did you mean %s?", key, nearest);
	else
		fault(f, place, "unknown key %s (see --help-config)", key);
}

void unknown_key(struct walk w, struct place place, const char *key)
{
	size_t best = near_enough(key);
	const char *nearest = NULL;

	for (size_t t = 0; t < config_tables(w.config); t++) {
		const struct setting_table table = config_table(w.config, t);
		const char *of_table = nearest_key(table.rows, table.n, key, &best);

		nearest = of_table ? of_table : nearest;
	}
	unknown(w.faults, place, key, nearest);
}

void unknown_prompts_key(struct walk w, struct place place, const char *set, const char *key)
{
	size_t best = near_enough(key);
	char whole[256];

	snprintf(whole, sizeof whole, "prompts.%s.%s", set, key);
	unknown(w.faults, place, whole,
		nearest_key(prompts_settings, n_prompts_settings, key, &best));
}
