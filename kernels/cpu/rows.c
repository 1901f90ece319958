/* SPDX-License-Identifier: MIT
 *
 * rows.c - moving and combining rows. Contract: ops.h. Definition: kernels/ref/rows.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

int CPU(copy)(struct device *dev, struct tensor x, struct tensor y, struct err *err)
{
	(void)dev, (void)err;
	if (tensor_count(x) > 0)
		memcpy(y.data, x.data, tensor_bytes(x));
	return 0;
}

static void halve_rows(void *context, size_t first, size_t end, int thread)
{
	const struct tensor *const x = context, *const y = x + 1;
	const float *from = row_of(*x, first);
	uint16_t *to = (uint16_t *)y->data + first * x->cols;

	(void)thread;
	for (size_t i = 0; i < (end - first) * x->cols; i++) /* compilers make vectors of it */
		to[i] = f32_to_f16(from[i]);
}

int CPU(to_half)(struct device *dev, struct tensor x, struct tensor y, struct err *err)
{
	struct tensor both[] = {x, y};

	(void)err;
	cpu_run(dev, x.rows, 4 * x.cols, halve_rows, both);
	return 0;
}

struct axpy {
	float a;
	struct tensor x, y;
};

static void axpy_rows(void *context, size_t first, size_t end, int thread)
{
	const struct axpy *c = context;

	(void)thread;
	for (size_t i = first; i < end; i++) /* so that an end of v_axpy is one of a row */
		v_axpy(c->a, row_of(c->x, i), row_out(c->y, i), c->x.cols);
}

int CPU(axpy)(struct device *dev, double a, struct tensor x, struct tensor y, struct err *err)
{
	struct axpy c = {(float)a, x, y};

	(void)err;
	cpu_run(dev, x.rows, x.cols, axpy_rows, &c);
	return 0;
}

static void scale_rows(void *context, size_t first, size_t end, int thread)
{
	const struct axpy *c = context;
	float *x = row_out(c->x, first);

	(void)thread;
	for (size_t i = 0; i < (end - first) * c->x.cols; i++)
		x[i] *= c->a;
}

int CPU(scale)(struct device *dev, double a, struct tensor x, struct err *err)
{
	struct axpy c = {(float)a, x, x};

	(void)err;
	if (a != 0)
		cpu_run(dev, x.rows, x.cols, scale_rows, &c);
	else if (tensor_count(x) > 0)
		memset(x.data, 0, tensor_bytes(x));
	return 0;
}

int CPU(gather_rows)(struct device *dev, struct tensor in, const int32_t *index, struct tensor out,
	struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < out.rows; i++)
		memcpy(row_out(out, i), row_of(in, (size_t)index[i]), in.cols * sizeof(float));
	return 0;
}

int CPU(scatter_rows)(struct device *dev, struct tensor in, const int32_t *index, struct tensor out,
	struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < in.rows; i++)
		memcpy(row_out(out, (size_t)index[i]), row_of(in, i), in.cols * sizeof(float));
	return 0;
}

int CPU(advance)(struct device *dev, size_t n, const int32_t *next, int32_t *token, int32_t *pos,
	int32_t *cache_row, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < n; i++) {
		if (next[i] >= 0)
			token[i] = next[i];
		pos[i]++;
		cache_row[i]++;
	}
	return 0;
}

int CPU(fill_ids)(struct device *dev, size_t n, int32_t value, int32_t *id, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < n; i++)
		id[i] = value;
	return 0;
}

int CPU(find_nonfinite)(struct device *dev, struct tensor x, int32_t *first_bad, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows && i < (uint32_t)*first_bad; i++) {
		if (!v_all_finite(row_of(x, i), x.cols)) {
			*first_bad = (int32_t)i;
			break;
		}
	}
	return 0;
}
