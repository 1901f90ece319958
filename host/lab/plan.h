/* SPDX-License-Identifier: MIT
 *
 * plan.h - what --dry-run prints: inputs, one rendered prompt, batches, memory; and whether that
 * memory is there.
 */
#ifndef SAENGINE_PLAN_H
#define SAENGINE_PLAN_H

#include "host/lab/lab.h"

/* Prints to standard output; computes and writes nothing. Errors: those of plan_check, at the
 * end. */
int plan_print(struct lab *lab, struct err *err);

/* Whether the run fits the memory, before any weight is read: mapped weights count as needed, for
 * without room for them every pass would read them from disk again. Errors: ERR_DEVICE with what is
 * needed and what there is. */
int plan_check(struct lab *lab, struct err *err);

#endif
