/* SPDX-License-Identifier: MIT
 *
 * sparse.h - sparse feature rows that grow to what they must hold.
 */
#ifndef SAENGINE_SPARSE_H
#define SAENGINE_SPARSE_H

#include "host/base/err.h"
#include "kernels/ops.h"

/* On the device. A zeroed struct with `dev` set is empty. */
struct sparse {
	struct device *dev;
	struct csr csr;
	size_t row_capacity;
	void *memory; /* owned, device */
};

/* Accepts a zeroed struct. */
void sparse_free(struct sparse *s);

/* Sparse encoding of x by all features of an SAE (op_sae_encode). */
int sparse_encode(struct sparse *s, const struct sae_weights *sae, struct tensor x,
	struct err *err);

/* out = b - a on the union of supports (op_csr_difference). */
int sparse_difference(struct sparse *out, const struct sparse *a, const struct sparse *b,
	struct err *err);

/* In host memory. */
struct host_csr {
	size_t n_rows;
	int32_t *indptr, *indices; /* [n_rows + 1], [indptr[n_rows]] */
	float *values;
	size_t row_capacity, capacity;
};

/* Copies to the host, growing `out` as needed. */
int sparse_download(const struct sparse *s, struct host_csr *out, struct err *err);

/* Accepts a zeroed struct. */
void host_csr_free(struct host_csr *h);

#endif
