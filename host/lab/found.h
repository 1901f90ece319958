/* SPDX-License-Identifier: MIT
 *
 * found.h - what was found of all that the config names, and who says so: weights, head, adapter,
 * dictionaries and their sites, prompt fields, template, tokens, what ends a reply, the refusal
 * token. Computes nothing.
 */
#ifndef SAENGINE_FOUND_H
#define SAENGINE_FOUND_H

#include "host/lab/lab.h"

/* Prints it to standard output: the first lines of --dry-run and of a run. Errors: those of
 * rendering the first prompt. */
int found_print(const struct lab *lab, struct err *err);

/* The same of the tokens that the config names, once they are found behind the prompts. */
int found_print_tokens(const struct lab *lab, struct err *err);

#endif
