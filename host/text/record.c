/* SPDX-License-Identifier: MIT
 *
 * record.c - Contract: record.h.
 */
#include "host/text/record.h"

#include <stdio.h>
#include <string.h>

const struct record_field *record_find(const struct record *record, const char *name)
{
	for (size_t i = 0; i < record->n_fields; i++)
		if (strcmp(record->fields[i].name, name) == 0)
			return &record->fields[i];
	return NULL;
}

int record_lacks(const struct record *record, const char *what, struct err *err)
{
	char names[1024] = "nothing";
	size_t n = 0;

	for (size_t i = 0; i < record->n_fields && n < sizeof names; i++)
		n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "the fields ",
			record->fields[i].name);
	return err_set(err, ERR_INPUT, "%s: expected %s, found %s", record->place, what, names);
}

const struct record_field *record_need(const struct record *record, const char *name,
	struct err *err)
{
	const struct record_field *field = record_find(record, name);
	char what[300];

	if (!field) {
		snprintf(what, sizeof what, "a field \"%.256s\"", name);
		record_lacks(record, what, err);
	}
	return field;
}

bool is_blank(const char *text, size_t n)
{
	size_t i = 0;

	while (i < n && text[i] && strchr(" \t\r\n", text[i]))
		i++;
	return i == n;
}
