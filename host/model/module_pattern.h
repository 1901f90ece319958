/* SPDX-License-Identifier: MIT
 *
 * module_pattern.h - kinds of modules, and their names against what an adapter_config.json says of
 * them: names, ends of names, and patterns of Python's re, which PCRE2 reads. Tests:
 * tests/test_adapter.c.
 */
#ifndef SAENGINE_MODULE_PATTERN_H
#define SAENGINE_MODULE_PATTERN_H

#include "host/base/err.h"

#include <stdbool.h>

/* What a module of a model is to an adapter. The head is a linear one that "all-linear" leaves out.
 */
enum module_kind { MODULE_LINEAR, MODULE_HEAD, MODULE_EMBEDDING, MODULE_NORM };

/* Whether `name` is `end` or ends with ".end". */
bool module_ends_with(const char *name, const char *end);

/* re.fullmatch(pattern, name). Errors: ERR_INPUT. */
int module_fits(const char *pattern, const char *name, bool *fits, struct err *err);

/* re.match("(.*\.)?(pattern)$", name), as keys of rank_pattern and alpha_pattern are read. Errors:
 * ERR_INPUT. */
int module_end_fits(const char *pattern, const char *name, bool *fits, struct err *err);

#endif
