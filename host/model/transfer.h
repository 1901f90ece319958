/* SPDX-License-Identifier: MIT
 *
 * transfer.h - values between host and device, whatever the device's activation type.
 */
#ifndef SAENGINE_TRANSFER_H
#define SAENGINE_TRANSFER_H

#include "host/base/err.h"
#include "kernels/ops.h"

/* All elements of an activation, row after row, to host memory of tensor_count(t) values. */
int download_floats(struct device *dev, struct tensor t, float *out, struct err *err);
int download_doubles(struct device *dev, struct tensor t, double *out, struct err *err);

/* The other way. */
int upload_floats(struct device *dev, const float *values, struct tensor t, struct err *err);

#endif
