/* SPDX-License-Identifier: MIT
 *
 * strip.h - white space around a text, as Python's str.strip() sees it.
 */
#ifndef SAENGINE_STRIP_H
#define SAENGINE_STRIP_H

#include <stddef.h>

/* Bytes of white space at the start of n bytes of UTF-8, and at their end. */
size_t space_at_start(const char *s, size_t n);
size_t space_at_end(const char *s, size_t n);

#endif
