/* SPDX-License-Identifier: MIT
 *
 * dtype.h - element types of tensors in files and on devices, and conversion of single values.
 */
#ifndef SAENGINE_DTYPE_H
#define SAENGINE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Also read by C++ and CUDA sources. */
enum dtype { DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_F16, DTYPE_I32, DTYPE_I64 };

/* Bytes of one element. */
static inline size_t dtype_bytes(enum dtype dtype)
{
	switch (dtype) {
	case DTYPE_F64:
	case DTYPE_I64:
		return 8;
	case DTYPE_BF16:
	case DTYPE_F16:
		return 2;
	case DTYPE_F32:
	case DTYPE_I32:
		break;
	}
	return 4;
}

/* "float32", "bfloat16", ...: the names users type and read. */
static inline const char *dtype_name(enum dtype dtype)
{
	static const char *const names[] = {"float32", "float64", "bfloat16", "float16", "int32",
		"int64"};

	return names[dtype];
}

static inline float bf16_to_f32(uint16_t h)
{
	const uint32_t bits = (uint32_t)h << 16;
	float f;

	memcpy(&f, &bits, sizeof f);
	return f;
}

/* Round to nearest, ties to even; NaN stays NaN. */
static inline uint16_t f32_to_bf16(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof bits);
	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float f16_to_f32(uint16_t h)
{
	const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	const uint32_t exponent = h >> 10 & 0x1f, mantissa = h & 0x3ff;
	uint32_t bits;
	float f;

	if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24 is exact in float32 */
		f = (float)mantissa * 0x1p-24f;
		memcpy(&bits, &f, sizeof bits);
		bits |= sign;
	} else if (exponent == 31) {
		bits = sign | 0x7f800000u | mantissa << 13;
	} else {
		bits = sign | (exponent + 112) << 23 | mantissa << 13;
	}
	memcpy(&f, &bits, sizeof f);
	return f;
}

/* Round to nearest, ties to even; overflow becomes infinity. Without branches, as rows are
 * converted on their way to a file: all three kinds of result are made and one is taken. */
static inline uint16_t f32_to_f16(float f)
{
	uint32_t bits, sign, normal, half;
	float shifted;

	memcpy(&bits, &f, sizeof bits);
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffffu;
	normal = (bits - (112u << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
	memcpy(&shifted, &bits, sizeof shifted);
	shifted += 0.5f; /* its last bit is worth 2^-24, as that of a subnormal half */
	memcpy(&half, &shifted, sizeof half);
	half -= 0x3f000000u;
	half = bits < 0x38800000u ? half : normal;
	half = bits >= 0x477ff000u ? 0x7c00 : half; /* 65520 and above round to infinity */
	half = bits > 0x7f800000u ? 0x7e00 : half;
	return (uint16_t)(sign | half);
}

#endif
