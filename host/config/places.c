/* SPDX-License-Identifier: MIT
 *
 * places.c - where the keys of a config stand. Contract: config_parts.h. Tests:
 * tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include <stdlib.h>
#include <string.h>

struct place place_of(const config_setting_t *s, const char *override)
{
	const char *file = config_setting_source_file(s);

	if (override)
		return (struct place){override, 0, true};
	return (struct place){file ? file : "?", (unsigned)config_setting_source_line(s), false};
}

int key_add(struct keys *keys, const char *key, struct place place, struct err *err)
{
	struct key one = {strdup(key), place};

	if (!one.name)
		return err_nomem(err, key, strlen(key) + 1);
	if (vec_push(keys, one, err)) {
		free(one.name);
		return err->code;
	}
	return 0;
}

void keys_free(struct keys *keys)
{
	for (size_t i = 0; i < keys->n; i++)
		free(keys->data[i].name);
	free(keys->data);
}

const struct place *key_place(const struct keys *keys, const char *key)
{
	const size_t n = strlen(key);

	for (size_t i = keys->n; i-- > 0;)
		if (strcmp(keys->data[i].name, key) == 0)
			return &keys->data[i].place;
	for (size_t i = 0; i < keys->n; i++)
		if (strncmp(keys->data[i].name, key, n) == 0 && keys->data[i].name[n] == '.')
			return &keys->data[i].place;
	return NULL;
}

struct place group_place(struct walk w, const char *key)
{
	char group[256];
	char *dot;

	snprintf(group, sizeof group, "%s", key);
	while ((dot = strrchr(group, '.'))) {
		const config_setting_t *s;
		const struct place *given;

		*dot = '\0';
		s = config_lookup(w.tree, group);
		if (s)
			return place_of(s, NULL);
		given = key_place(w.given, group);
		if (given)
			return *given;
	}
	return (struct place){w.path, 0, false};
}
