/* SPDX-License-Identifier: MIT
 *
 * backend.c - the CPU backend's table and state, once per instruction-set level.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <stdlib.h>

#include <dnnl.h>

static int open_state(struct device *dev, struct err *err)
{
	struct cpu_state *state = calloc(1, sizeof *state);
	const size_t bytes = (size_t)dev->n_threads * CPU_SCRATCH * sizeof(float);

	dev->state = state;
	if (!state)
		return err_nomem(err, "the CPU device", sizeof *state);
	/* Untouched pages cost nothing: small models never use more than the first ones. */
	if (posix_memalign((void **)&state->scratch, 64, bytes) != 0) {
		state->scratch = NULL;
		return err_nomem(err, "scratch memory of the CPU device", bytes);
	}
	return pool_open(&state->pool, dev->n_threads, err);
}

static void close_state(struct device *dev)
{
	struct cpu_state *state = dev->state;

	if (state) {
		pool_close(state->pool);
		free(state->scratch);
	}
	free(state);
}

const float *CPU(weight_floats)(struct tensor W, size_t first, size_t n, float *to)
{
	if (W.dtype == DTYPE_F32)
		return (const float *)W.data + first;
	if (W.dtype == DTYPE_BF16) {
		const uint16_t *from = (const uint16_t *)W.data + first;
		size_t i = 0;

		for (; i + VW <= n; i += VW)
			v_store(to + i, v_load_bf16(from + i));
		for (; i < n; i++)
			to[i] = bf16_to_f32(from[i]);
	} else {
		const uint16_t *from = (const uint16_t *)W.data + first;

		for (size_t i = 0; i < n; i++)
			to[i] = f16_to_f32(from[i]);
	}
	return to;
}

int CPU(sgemm)(bool transpose_b, size_t m, size_t n, size_t k, const float *A, size_t lda,
	const float *B, size_t ldb, float beta, float *C, size_t ldc, struct err *err)
{
	const dnnl_status_t status = dnnl_sgemm('N', transpose_b ? 'T' : 'N', (dnnl_dim_t)m,
		(dnnl_dim_t)n, (dnnl_dim_t)k, 1.0f, A, (dnnl_dim_t)lda, B, (dnnl_dim_t)ldb, beta, C,
		(dnnl_dim_t)ldc);

	if (status != dnnl_success)
		return err_set(err, ERR_DEVICE,
			"dnnl_sgemm of [%zu, %zu] by [%zu, %zu] failed with status %d", m, k, k, n,
			(int)status);
	return 0;
}

#define CPU_ENTRY(op) .op = CPU(op),

const struct backend CPU(backend) = {.name = "cpu:" SAENGINE_LEVEL_NAME,
	.activation = DTYPE_F32,
	.is_host = true,
	.open = open_state,
	.close = close_state,
	.alloc = host_alloc,
	.release = host_release,
	.upload = host_copy,
	.download = host_copy,
	OP_NAMES(CPU_ENTRY)};
