/* SPDX-License-Identifier: MIT
 *
 * names.h - the CUDA backend as device.c sees it.
 */
#ifndef SAENGINE_CUDA_NAMES_H
#define SAENGINE_CUDA_NAMES_H

#include "kernels/backend.h"

/* The table for "cuda", "cuda:N" or "cuda:N:f32", and N; NULL for other names. */
const struct backend *cuda_backend_named(const char *name, int *ordinal);

#endif
