/* SPDX-License-Identifier: MIT
 *
 * refusal.h - the refusal score by substrings (paper section 4; list from the released code).
 */
#ifndef SAENGINE_REFUSAL_H
#define SAENGINE_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>

/* Whether any of the substrings occurs in the text; ASCII letters in either case, other bytes
 * exactly. */
bool is_refusal(const char *text, const char *const *substrings, size_t n);

#endif
