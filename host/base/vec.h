/* SPDX-License-Identifier: MIT
 *
 * vec.h - growable arrays of plain data.
 *
 *	struct { int32_t *data; size_t n, cap; } ids = {0};
 *	TRY(vec_push(&ids, token, err));
 *	...
 *	free(ids.data);
 */
#ifndef SAENGINE_VEC_H
#define SAENGINE_VEC_H

#include "host/base/err.h"
#include "host/base/memory.h"
#include "host/base/size.h"

#include <stdlib.h>
#include <string.h>

static inline int vec_grow(void **data, size_t *cap, size_t need, size_t elem, struct err *err)
{
	size_t cap_new = *cap ? *cap : 16, bytes;
	void *grown;

	if (need <= *cap)
		return 0;
	while (cap_new < need)
		if (size_mul_overflow(cap_new, 2, &cap_new))
			return err_nomem(err, "a growing array", need);
	if (size_mul_overflow(cap_new, elem, &bytes) || !(grown = realloc(*data, bytes)))
		return err_nomem(err, "a growing array", need);
	*data = grown;
	*cap = cap_new;
	return memory_taken(bytes) ? 0 : err_nomem(err, "a growing array", bytes);
}

/* Makes room for at least `need` elements. Evaluates to 0 or an error code. */
#define vec_reserve(v, need, err) \
	vec_grow((void **)&(v)->data, &(v)->cap, need, sizeof *(v)->data, err)

/* Appends one element. Evaluates to 0 or an error code. */
#define vec_push(v, element, err) \
	(vec_reserve(v, (v)->n + 1, err) ? (err)->code : ((v)->data[(v)->n++] = (element), 0))

/* Appends `count` elements copied from `from`. Evaluates to 0 or an error code. */
#define vec_append(v, from, count, err) \
	(vec_reserve(v, (v)->n + (count), err) \
			? (err)->code \
			: ((size_t)(count) > 0 ? (void)memcpy((v)->data + (v)->n, from, \
							 (count) * sizeof *(v)->data) \
					       : (void)0, \
				  (v)->n += (count), 0))

/* Growable text; data is zero-terminated only where the writer says so. */
struct text {
	char *data; /* owned: free it */
	size_t n, cap;
};

#endif
