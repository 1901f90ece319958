/* SPDX-License-Identifier: MIT
 *
 * simd.h - the widest float vector of the level being compiled, in the compiler's own vector
 * types, and the functions the standard library does not vectorise.
 *
 * Loads and stores come in two forms: whole vectors, and the first n < VW elements with zeros
 * (or nothing) beyond, for the ends of rows.
 */
#ifndef SAENGINE_SIMD_H
#define SAENGINE_SIMD_H

#include "host/base/dtype.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { VW = 16 };
#elif defined(__AVX__)
enum { VW = 8 };
#else
enum { VW = 4 };
#endif

typedef float vf __attribute__((vector_size(4 * VW)));
typedef int32_t vi __attribute__((vector_size(4 * VW)));
typedef uint16_t vh __attribute__((vector_size(2 * VW)));
typedef uint32_t vu __attribute__((vector_size(4 * VW)));

static inline vf v_set(float a)
{
	return a - (vf){0};
}

static inline vf v_load(const float *p)
{
	vf v;

	memcpy(&v, p, sizeof v);
	return v;
}

static inline void v_store(float *p, vf v)
{
	memcpy(p, &v, sizeof v);
}

static inline vf v_load_n(const float *p, size_t n)
{
	vf v = {0};

	if (n >= VW)
		return v_load(p);
	memcpy(&v, p, n * sizeof *p);
	return v;
}

static inline void v_store_n(float *p, vf v, size_t n)
{
	if (n >= VW)
		v_store(p, v);
	else
		memcpy(p, &v, n * sizeof *p);
}

/* bfloat16 is the upper half of a float32. */
static inline vf v_load_bf16(const uint16_t *p)
{
	vh h;
	vu bits;
	vf v;

	memcpy(&h, p, sizeof h);
	bits = __builtin_convertvector(h, vu) << 16;
	memcpy(&v, &bits, sizeof v);
	return v;
}

/* The mask of a comparison picks: -1 takes a, 0 takes b. */
static inline vf v_pick(vi mask, vf a, vf b)
{
	vi x, y;
	vf r;

	memcpy(&x, &a, sizeof x);
	memcpy(&y, &b, sizeof y);
	x = (x & mask) | (y & ~mask);
	memcpy(&r, &x, sizeof r);
	return r;
}

static inline vf v_max(vf a, vf b)
{
	return v_pick(a > b, a, b);
}

/* In halves, which the compiler turns into shuffles: log2(VW) additions deep. */
static inline float v_sum(vf v)
{
	float part[VW];

	memcpy(part, &v, sizeof part);
	for (int half = VW / 2; half > 0; half /= 2)
		for (int i = 0; i < half; i++)
			part[i] += part[i + half];
	return part[0];
}

static inline float v_max_of(vf v)
{
	float max = v[0];

	for (int i = 1; i < VW; i++)
		max = v[i] > max ? v[i] : max;
	return max;
}

/* exp, to about 2 units in the last place. Below -87.3 it is 0; above 88 it stays at exp(88),
 * which no caller can tell from infinity (all subtract a maximum or add 1 and divide). NaN stays.
 *   x = n log 2 + r,  |r| <= log(2)/2;  exp(r) by a minimax polynomial (the coefficients of
 *   Cephes' expf);  2^n through the exponent bits. */
static inline vf v_exp(vf x)
{
	const vf shift = v_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
	vf n, r, p, scale;
	vu bits; /* unsigned: for x far below 0 the exponent wraps, and the result is not used */

	x = v_pick(x > v_set(88.0f), v_set(88.0f), x);
	n = x * v_set(1.44269504088896f) + shift;
	memcpy(&bits, &n, sizeof bits);
	bits = (bits << 23) + (127u << 23);
	memcpy(&scale, &bits, sizeof scale);
	n = n - shift;
	r = x - n * v_set(0.693359375f);
	r = r + n * v_set(2.12194440e-4f);
	p = v_set(1.9875691500e-4f);
	p = p * r + v_set(1.3981999507e-3f);
	p = p * r + v_set(8.3334519073e-3f);
	p = p * r + v_set(4.1665795894e-2f);
	p = p * r + v_set(1.6666665459e-1f);
	p = p * r + v_set(5.0000001201e-1f);
	p = p * r * r + r + v_set(1.0f);
	return v_pick(x < v_set(-87.3f), v_set(0.0f), p * scale);
}

/* tanh: near 0 an odd polynomial (Cephes' tanhf), where 1 - 2/(exp(2x) + 1) would lose its
 * relative accuracy. */
static inline vf v_tanh(vf x)
{
	const vf z = x * x;
	const vi near = (x < v_set(0.625f)) & (x > v_set(-0.625f));
	vf p, far;

	p = v_set(-5.70498872745e-3f);
	p = p * z + v_set(2.06390887954e-2f);
	p = p * z + v_set(-5.37397155531e-2f);
	p = p * z + v_set(1.33314422036e-1f);
	p = p * z + v_set(-3.33332819422e-1f);
	p = p * z * x + x;
	far = v_set(1.0f) - v_set(2.0f) / (v_exp(x + x) + v_set(1.0f));
	return v_pick(near, p, far);
}

/* sum_i a[i] b[i] */
static inline float v_dot(const float *a, const float *b, size_t n)
{
	vf s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
	size_t i = 0;

	for (; i + 4 * VW <= n; i += 4 * VW) {
		s0 += v_load(a + i) * v_load(b + i);
		s1 += v_load(a + i + VW) * v_load(b + i + VW);
		s2 += v_load(a + i + 2 * VW) * v_load(b + i + 2 * VW);
		s3 += v_load(a + i + 3 * VW) * v_load(b + i + 3 * VW);
	}
	for (; i < n; i += VW)
		s0 += v_load_n(a + i, n - i) * v_load_n(b + i, n - i);
	return v_sum((s0 + s1) + (s2 + s3));
}

/* y += a x */
static inline void v_axpy(float a, const float *x, float *y, size_t n)
{
	const vf va = v_set(a);
	size_t i = 0;

	for (; i + VW <= n; i += VW)
		v_store(y + i, v_load(y + i) + va * v_load(x + i));
	if (i < n)
		v_store_n(y + i, v_load_n(y + i, n - i) + va * v_load_n(x + i, n - i), n - i);
}

/* x = (1 - a) x + a target */
static inline void v_mix(float a, const float *target, float *x, size_t n)
{
	const vf keep = v_set(1 - a), take = v_set(a);

	for (size_t j = 0; j < n; j += VW)
		v_store_n(x + j, keep * v_load_n(x + j, n - j) + take * v_load_n(target + j, n - j),
			n - j);
}

/* x - x is 0 for finite x and NaN otherwise, so one sum tells. */
static inline bool v_all_finite(const float *x, size_t n)
{
	vf sum = {0};

	for (size_t j = 0; j < n; j += VW) {
		const vf v = v_load_n(x + j, n - j);

		sum += v - v;
	}
	return v_sum(sum) == 0;
}

#endif
