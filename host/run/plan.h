/* SPDX-License-Identifier: MIT
 *
 * plan.h - what --dry-run prints: inputs, one rendered prompt, batches, memory.
 */
#ifndef SAENGINE_PLAN_H
#define SAENGINE_PLAN_H

#include "host/run/lab.h"

/* Prints to standard output; computes and writes nothing. Errors: those of plan_check, at the
 * end. */
int plan_print(struct lab *lab, struct err *err);

/* Whether the run fits the device's memory, before its first batch. Errors: ERR_DEVICE with what is
 * needed and what is free. */
int plan_check(struct lab *lab, struct err *err);

#endif
