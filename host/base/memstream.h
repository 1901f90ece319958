/* SPDX-License-Identifier: MIT
 *
 * memstream.h - the end of a text that was printed into memory.
 */
#ifndef SAENGINE_MEMSTREAM_H
#define SAENGINE_MEMSTREAM_H

#include <stdio.h>
#include <stdlib.h>

/* Closes a stream of open_memstream. Returns what it has made of *text, to be freed by the caller;
 * NULL where memory ran out on the way. */
static inline char *memstream_text(FILE *stream, char *const *text)
{
	if (fclose(stream) == 0)
		return *text;
	free(*text);
	return NULL;
}

#endif
