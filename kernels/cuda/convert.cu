/* SPDX-License-Identifier: MIT
 *
 * convert.cu - from float32 to a narrower type and back: operands of products, and what is kept in
 * half precision. Contracts: convert.h; op_to_half in ops.h.
 *
 * One thread per four elements, or per element where their number or addresses are odd; 6 bytes an
 * element, at memory bandwidth. Share of the limit: not yet measured. Deterministic: elementwise.
 */
#include "kernels/cuda/convert.h"

#include "kernels/cuda/pack.cuh"

enum { BLOCK = 256 };

/* n elements, V at a time. */
template <typename From, typename To, int V>
static __global__ void __launch_bounds__(BLOCK) convert_kernel(const From *from, To *to, size_t n)
{
	const size_t i = ((size_t)blockIdx.x * BLOCK + threadIdx.x) * V;
	float x[V];

	if (i >= n)
		return;
	load_pack<V>(from + i, x);
	store_pack<V>(to + i, x);
}

template <typename From, typename To>
static void convert_all(const void *from, void *to, size_t n, cudaStream_t stream)
{
	const bool fours = n % 4 == 0 && (uintptr_t)from % (4 * sizeof(From)) == 0 &&
			   (uintptr_t)to % (4 * sizeof(To)) == 0;

	if (fours)
		GPU_LAUNCH((convert_kernel<From, To, 4>), blocks_for(n / 4, BLOCK), BLOCK, 0,
			stream, (const From *)from, (To *)to, n);
	else
		GPU_LAUNCH((convert_kernel<From, To, 1>), blocks_for(n, BLOCK), BLOCK, 0, stream,
			(const From *)from, (To *)to, n);
}

void convert_round(const struct device *dev, struct tensor x, enum dtype type, void *to)
{
	if (type == DTYPE_BF16)
		convert_all<float, struct bf16>(x.data, to, tensor_count(x), cuda_stream(dev));
	else
		convert_all<float, struct f16>(x.data, to, tensor_count(x), cuda_stream(dev));
}

void convert_widen(const struct device *dev, struct tensor W, size_t first, size_t n, void *to)
{
	const uint16_t *from = (const uint16_t *)W.data + first * W.cols;

	if (W.dtype == DTYPE_BF16)
		convert_all<struct bf16, float>(from, to, n * W.cols, cuda_stream(dev));
	else
		convert_all<struct f16, float>(from, to, n * W.cols, cuda_stream(dev));
}

int cuda_to_half(struct device *dev, struct tensor x, struct tensor y, struct err *err)
{
	if (tensor_count(x) > 0)
		convert_round(dev, x, DTYPE_F16, y.data);
	return cuda_launched(dev, "op to_half", err);
}
