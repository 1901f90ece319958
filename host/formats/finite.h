/* SPDX-License-Identifier: MIT
 *
 * finite.h - whether the values of a tensor are finite, told from the bits of their exponents at
 * about the speed of memory.
 */
#ifndef SAENGINE_FINITE_H
#define SAENGINE_FINITE_H

#include "host/base/err.h"
#include "host/formats/file_tensor.h"

/* Reads the whole tensor once. Integers are finite. `file` is for messages. Errors: ERR_INPUT
 * naming file, tensor, the index and value of the first element that is not finite, and how many
 * there are. */
int finite_check(const struct file_tensor *t, const char *file, int n_threads, struct err *err);

#endif
