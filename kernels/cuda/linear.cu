/* SPDX-License-Identifier: MIT
 *
 * linear.cu - products with weights kept in the type of the checkpoint. Contract: ops.h.
 * Definition: kernels/ref/linear.c.
 *
 *   y [n, out] = x [n, in] W^T + bias        dx [n, in] = beta dx + dy [n, out] W
 *
 * 2 n in out operations on out in weights. cuBLASLt multiplies operands of one type, so one of
 * them is converted into scratch first, in blocks that bound the scratch:
 *
 *   x and W of one type                as they are
 *   W bfloat16 or float16              x is rounded to W's type, some rows of x at a time
 *   the same on exact devices, and     W is widened to float32, some rows of W at a time
 *   float16 backward
 *
 * Results are float32, or rounded to bfloat16 by the library where whoever reads them next wants
 * them so and all operands are bfloat16.
 *
 * Gradients are not rounded to float16: they lie below its smallest normal number, 6e-5, too
 * often. Sums are float32 everywhere.
 *
 * By argument, for 2304 columns in and 9216 out: with 8192 rows, 0.35 TFLOP are 0.44 ms at the 794
 * TFLOP/s that dense bfloat16 products reach on H100 and H200; converting a float32 x, as rows of
 * gradients that meet a decoder are, moves 113 MB, 0.03 ms. What a layer multiplies comes rounded.
 * Limits by kernel: docs/gpu.md.
 *
 * Deterministic: conversions (convert.cu) are elementwise, products by gemm.h's contract, blocks
 * follow from shapes and are summed in order.
 */
#include "kernels/cuda/linear.h"

#include "kernels/cuda/convert.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/gpu.cuh"

/* ---- which operand is converted, and in which blocks ------------------------------------ */

enum conversion { AS_THEY_ARE, ROUND_X, WIDEN_W };

/* Of an operand x and weights W. */
static enum conversion forward_conversion(const struct device *dev, enum dtype x, enum dtype W)
{
	return x == W ? AS_THEY_ARE : cuda_exact(dev) ? WIDEN_W : ROUND_X;
}

static enum conversion backward_conversion(const struct device *dev, enum dtype dy, enum dtype W)
{
	return W == DTYPE_F16 ? WIDEN_W : forward_conversion(dev, dy, W);
}

/* Rows of `row_bytes` that are converted at a time, of n: as many as fit the device's blocks, in
 * whole sixteens where there are any: columns of float32 that belong to them are aligned then, and
 * so is their bias. */
static size_t rows_per_block(const struct device *dev, size_t n, size_t row_bytes)
{
	const size_t fit = cuda_state_of(dev)->block_bytes / row_bytes;
	const size_t most = fit < 16 ? fit : fit / 16 * 16;

	return most == 0 ? 1 : most < n ? most : n;
}

/* `width`: columns of x. */
static size_t block_rows(const struct device *dev, enum conversion conversion, size_t n,
	size_t width, struct tensor W)
{
	if (conversion == ROUND_X)
		return rows_per_block(dev, n, width * sizeof(uint16_t));
	return rows_per_block(dev, W.rows, W.cols * sizeof(float));
}

static size_t scratch_bytes(const struct device *dev, enum conversion conversion, size_t n,
	size_t width, struct tensor W)
{
	const size_t rows = block_rows(dev, conversion, n, width, W);
	const size_t bytes = conversion == AS_THEY_ARE ? 0
			     : conversion == ROUND_X   ? rows * width * sizeof(uint16_t)
						       : rows * W.cols * sizeof(float);

	return (bytes + 255) / 256 * 256;
}

/* ---- y = x W^T + bias ------------------------------------------------------------------- */

size_t linear_scratch_bytes(const struct device *dev, size_t n, struct tensor W)
{
	return scratch_bytes(dev, forward_conversion(dev, DTYPE_F32, W.dtype), n, W.cols, W);
}

static struct product product_of(struct tensor x, struct tensor W, const float *bias,
	struct tensor y)
{
	const size_t in = W.cols, out = W.rows;

	return (struct product){y.rows, out, in, W.dtype, x.data, in, W.data, in, true, y.data, out,
		y.dtype != DTYPE_F32, 0, bias, NULL, NULL};
}

int linear_multiply(struct device *dev, struct tensor x, struct tensor W, struct tensor bias,
	struct tensor y, void *scratch, struct err *err)
{
	const enum conversion conversion = forward_conversion(dev, x.dtype, W.dtype);
	const size_t in = W.cols, out = W.rows;
	struct product p = product_of(x, W, (const float *)bias.data, y);
	size_t step;

	if (tensor_count(y) == 0)
		return 0;
	if (conversion == AS_THEY_ARE)
		return gemm_multiply(dev, &p, err);
	step = block_rows(dev, conversion, y.rows, in, W);
	if (conversion == ROUND_X) {
		for (size_t i = 0; i < y.rows; i += step) {
			p.m = y.rows - i < step ? y.rows - i : step;
			convert_round(dev, tensor_rows(x, i, p.m), W.dtype, scratch);
			p.A = scratch;
			p.C = tensor_rows(y, i, p.m).data;
			TRY(gemm_multiply(dev, &p, err));
		}
		return 0;
	}
	for (size_t j = 0; j < out; j += step) {
		p.type = DTYPE_F32;
		p.n = out - j < step ? out - j : step;
		convert_widen(dev, W, j, p.n, scratch);
		p.B = scratch;
		p.C = floats(y) + j;
		p.bias = bias.data ? (const float *)bias.data + j : NULL;
		TRY(gemm_multiply(dev, &p, err));
	}
	return 0;
fail:
	return err->code;
}

bool linear_is_one_product(const struct device *dev, size_t n, struct tensor W)
{
	const enum conversion conversion = forward_conversion(dev, DTYPE_F32, W.dtype);

	return conversion == AS_THEY_ARE ||
	       (conversion == ROUND_X && block_rows(dev, conversion, n, W.cols, W) == n);
}

int linear_multiply_masked(struct device *dev, struct tensor x, struct tensor W, const float *bias,
	float *spare, struct tensor y, uint32_t *mask, void *scratch, bool *masked, struct err *err)
{
	struct product p = product_of(x, W, bias, y);

	if (x.dtype != W.dtype) {
		convert_round(dev, x, W.dtype, scratch);
		p.A = scratch;
	}
	p.mask = mask;
	p.spare = spare;
	TRY(gemm_multiply_masked(dev, &p, masked, err));
	if (*masked)
		return 0;
	p.bias = NULL;
	p.mask = NULL;
	return gemm_multiply(dev, &p, err);
fail:
	return err->code;
}

int cuda_linear(struct device *dev, struct tensor x, struct tensor W, struct tensor bias,
	struct tensor y, struct err *err)
{
	const enum conversion conversion = forward_conversion(dev, x.dtype, W.dtype);
	void *scratch;

	TRY(cuda_scratch(dev, scratch_bytes(dev, conversion, y.rows, W.cols, W), &scratch, err));
	TRY(linear_multiply(dev, x, W, bias, y, scratch, err));
	return cuda_launched(dev, "op linear", err);
fail:
	return err->code;
}

/* ---- dx = beta dx + dy W ---------------------------------------------------------------- */

static int multiply_backward(struct device *dev, struct tensor dy, struct tensor W, double beta,
	struct tensor dx, void *scratch, struct err *err)
{
	const enum conversion conversion = backward_conversion(dev, dy.dtype, W.dtype);
	const size_t in = W.cols, out = W.rows;
	const size_t step = block_rows(dev, conversion, dy.rows, out, W);
	struct product p = {dx.rows, in, out, W.dtype, dy.data, out, W.data, in, false, dx.data, in,
		dx.dtype != DTYPE_F32, (float)beta, NULL, NULL, NULL};

	if (conversion == AS_THEY_ARE)
		return gemm_multiply(dev, &p, err);
	if (conversion == ROUND_X) {
		for (size_t i = 0; i < dx.rows; i += step) {
			p.m = dx.rows - i < step ? dx.rows - i : step;
			convert_round(dev, tensor_rows(dy, i, p.m), W.dtype, scratch);
			p.A = scratch;
			p.C = tensor_rows(dx, i, p.m).data;
			TRY(gemm_multiply(dev, &p, err));
		}
		return 0;
	}
	for (size_t j = 0; j < out; j += step) {
		p.type = DTYPE_F32;
		p.k = out - j < step ? out - j : step;
		convert_widen(dev, W, j, p.k, scratch);
		p.A = floats(dy) + j;
		p.B = scratch;
		p.beta = j > 0 ? 1 : (float)beta;
		TRY(gemm_multiply(dev, &p, err));
	}
	return 0;
fail:
	return err->code;
}

int cuda_linear_backward(struct device *dev, struct tensor dy, struct tensor W, double beta,
	struct tensor dx, struct err *err)
{
	const enum conversion conversion = backward_conversion(dev, dy.dtype, W.dtype);
	void *scratch;

	if (tensor_count(dx) == 0)
		return 0;
	if (W.rows == 0)
		return beta == 0 ? cuda_scale(dev, 0, dx, err) : 0;
	TRY(cuda_scratch(dev, scratch_bytes(dev, conversion, dy.rows, W.rows, W), &scratch, err));
	TRY(multiply_backward(dev, dy, W, beta, dx, scratch, err));
	return cuda_launched(dev, "op linear_backward", err);
fail:
	return err->code;
}
