/* SPDX-License-Identifier: MIT
 *
 * starved.h - something done again and again, each allocation on its way finding no memory in turn:
 * it must say so, free what it had, and not crash.
 *
 * For programs that cmake/tests.cmake links by add_starved_test: there the allocating functions of
 * starved.c stand in for those of the C library in all code of the project. The libraries below it
 * keep theirs: some, such as Jansson's lexer, end the program where they have no memory.
 */
#ifndef SAENGINE_STARVED_H
#define SAENGINE_STARVED_H

#include "host/base/err.h"

#include <stddef.h>

/* Leaves nothing behind that was not there before; the code of what refused it, 0 = nothing. */
typedef int starved(const void *context, struct err *err);

/* Once with all the memory it wants, then without that of one allocation, at most STARVED of them
 * at even distances. `name` is for messages. Returns how many allocations failed. */
size_t starve(starved *call, const void *context, const char *name);

#endif
