/* SPDX-License-Identifier: MIT
 *
 * rows.c - moving and combining rows. Contract: ops.h. Twin: kernels/cpu/rows.c.
 */
#include "kernels/ref/ref.h"

#include <math.h>

int ref_copy(struct device *dev, struct tensor x, struct tensor y, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++)
		for (size_t j = 0; j < x.cols; j++)
			set(y, i, j, get(x, i, j));
	return 0;
}

int ref_to_half(struct device *dev, struct tensor x, struct tensor y, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++)
		for (size_t j = 0; j < x.cols; j++)
			set(y, i, j, get(x, i, j));
	return 0;
}

int ref_axpy(struct device *dev, double a, struct tensor x, struct tensor y, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++)
		for (size_t j = 0; j < x.cols; j++)
			set(y, i, j, get(y, i, j) + a * get(x, i, j));
	return 0;
}

int ref_scale(struct device *dev, double a, struct tensor x, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++)
		for (size_t j = 0; j < x.cols; j++)
			set(x, i, j, a == 0 ? 0 : a * get(x, i, j));
	return 0;
}

int ref_gather_rows(struct device *dev, struct tensor in, const int32_t *index, struct tensor out,
	struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < out.rows; i++)
		for (size_t j = 0; j < out.cols; j++)
			set(out, i, j, get(in, (size_t)index[i], j));
	return 0;
}

int ref_scatter_rows(struct device *dev, struct tensor in, const int32_t *index, struct tensor out,
	struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < in.rows; i++)
		for (size_t j = 0; j < in.cols; j++)
			set(out, (size_t)index[i], j, get(in, i, j));
	return 0;
}

int ref_advance(struct device *dev, size_t n, const int32_t *next, int32_t *token, int32_t *pos,
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

int ref_fill_ids(struct device *dev, size_t n, int32_t value, int32_t *id, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < n; i++)
		id[i] = value;
	return 0;
}

int ref_find_nonfinite(struct device *dev, struct tensor x, int32_t *first_bad, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows && i < (uint32_t)*first_bad; i++) {
		for (size_t j = 0; j < x.cols; j++) {
			if (!isfinite(get(x, i, j))) {
				*first_bad = (int32_t)i;
				return 0;
			}
		}
	}
	return 0;
}
