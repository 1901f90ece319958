/* SPDX-License-Identifier: MIT
 *
 * record.c - Contract: record.h.
 */
#include "host/text/record.h"

#include <string.h>

const struct record_field *record_find(const struct record *record, const char *name)
{
	for (size_t i = 0; i < record->n_fields; i++)
		if (strcmp(record->fields[i].name, name) == 0)
			return &record->fields[i];
	return NULL;
}
