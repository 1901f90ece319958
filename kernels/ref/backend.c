/* SPDX-License-Identifier: MIT
 *
 * backend.c - the tables of the reference backend in its two precisions.
 */
#include "kernels/ref/ref.h"

#define REF_ENTRY(op) .op = ref_##op,

const struct backend backend_ref_f32 = {.name = "ref:float32",
	.activation = DTYPE_F32,
	.is_host = true,
	.alloc = host_alloc,
	.release = host_release,
	.upload = host_copy,
	.download = host_copy,
	OP_NAMES(REF_ENTRY)};

const struct backend backend_ref_f64 = {.name = "ref:float64",
	.activation = DTYPE_F64,
	.is_host = true,
	.alloc = host_alloc,
	.release = host_release,
	.upload = host_copy,
	.download = host_copy,
	OP_NAMES(REF_ENTRY)};
