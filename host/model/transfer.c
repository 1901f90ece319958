/* SPDX-License-Identifier: MIT
 *
 * transfer.c - Contract: transfer.h. Conversion passes through a small buffer, so no second copy
 * of a large tensor is made.
 */
#include "host/model/transfer.h"

#include "host/base/size.h"

enum { CHUNK = 1024 };

static struct tensor elements(struct tensor t, size_t first, size_t n)
{
	return tensor_rows(tensor_view(t, tensor_count(t), 1), first, n);
}

int download_floats(struct device *dev, struct tensor t, float *out, struct err *err)
{
	double wide[CHUNK];

	if (t.dtype == DTYPE_F32)
		return device_download(dev, out, t.data, tensor_bytes(t), err);
	for (size_t i = 0, n; i < tensor_count(t); i += n) {
		n = size_min(CHUNK, tensor_count(t) - i);
		if (device_download(dev, wide, elements(t, i, n).data, n * sizeof *wide, err))
			return err->code;
		for (size_t j = 0; j < n; j++)
			out[i + j] = (float)wide[j];
	}
	return 0;
}

int download_doubles(struct device *dev, struct tensor t, double *out, struct err *err)
{
	float narrow[CHUNK];

	if (t.dtype == DTYPE_F64)
		return device_download(dev, out, t.data, tensor_bytes(t), err);
	for (size_t i = 0, n; i < tensor_count(t); i += n) {
		n = size_min(CHUNK, tensor_count(t) - i);
		if (device_download(dev, narrow, elements(t, i, n).data, n * sizeof *narrow, err))
			return err->code;
		for (size_t j = 0; j < n; j++)
			out[i + j] = narrow[j];
	}
	return 0;
}

int upload_floats(struct device *dev, const float *values, struct tensor t, struct err *err)
{
	double wide[CHUNK];

	if (t.dtype == DTYPE_F32)
		return device_upload(dev, t.data, values, tensor_bytes(t), err);
	for (size_t i = 0, n; i < tensor_count(t); i += n) {
		n = size_min(CHUNK, tensor_count(t) - i);
		for (size_t j = 0; j < n; j++)
			wide[j] = values[i + j];
		if (device_upload(dev, elements(t, i, n).data, wide, n * sizeof *wide, err))
			return err->code;
	}
	return 0;
}
