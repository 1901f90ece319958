/* SPDX-License-Identifier: MIT
 *
 * plan.h - what --dry-run prints: inputs, one rendered prompt, batches, memory.
 */
#ifndef SAENGINE_PLAN_H
#define SAENGINE_PLAN_H

#include "host/run/lab.h"

/* Prints to standard output; computes and writes nothing. */
int plan_print(struct lab *lab, struct err *err);

#endif
