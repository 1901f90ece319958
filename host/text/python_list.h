/* SPDX-License-Identifier: MIT
 *
 * python_list.h - a Python list of strings as repr() writes it, e.g. ['a', "it's", 'b\n']: the
 * cells of some published tables.
 */
#ifndef SAENGINE_PYTHON_LIST_H
#define SAENGINE_PYTHON_LIST_H

#include "host/base/err.h"
#include "host/base/vec.h"

#include <stddef.h>

struct python_list {
	struct text text; /* the strings end to end, a zero byte behind each */
	struct {
		size_t *data; /* where a string begins in text */
		size_t n, cap;
	} start;
};

/* Reads the n bytes at s, well-formed UTF-8, into a zeroed or earlier list. Strings hold no zero
 * byte. Errors: ERR_INPUT with the offset in s, expected and found; `place` begins the message. */
int python_list_parse(struct python_list *list, const char *place, const char *s, size_t n,
	struct err *err);

/* Accepts a zeroed list. */
void python_list_free(struct python_list *list);

#endif
