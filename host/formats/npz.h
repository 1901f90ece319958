/* SPDX-License-Identifier: MIT
 *
 * npz.h - NumPy archives (.npz): a ZIP with one .npy member per array, stored or deflated.
 * Knows no SAE. Formats: numpy/lib/_format_impl.py; PKWARE APPNOTE 6.3 with Zip64.
 */
#ifndef SAENGINE_NPZ_H
#define SAENGINE_NPZ_H

#include "host/base/err.h"
#include "host/formats/file_tensor.h"

struct npz;

/* Maps the archive and reads its directory; no array is read yet. *out is owned, close it.
 * Errors: ERR_INPUT naming file and member. */
int npz_open(struct npz **out, const char *path, struct err *err);

/* The same over bytes in memory, borrowed until close. */
int npz_parse(struct npz **out, const char *name, const void *bytes, size_t n, struct err *err);

/* Accepts NULL. Arrays read from it are invalid afterwards. */
void npz_close(struct npz *npz);

size_t npz_count(const struct npz *npz);
const char *npz_name(const struct npz *npz, size_t i); /* without ".npy" */

/* Threads that npz_read may use; 1 until this is called. */
void npz_use_threads(struct npz *npz, int n_threads);

/* The array `name`. A stored member is used where it lies in the mapping; a deflated one is
 * inflated once and kept until npz_close or npz_release. The first time, all of the member's bytes
 * are read and checked against its CRC-32.
 * Errors: ERR_INPUT for an absent array, an unsupported type (pickled objects among them), a
 * damaged member. */
int npz_read(struct npz *npz, const char *name, struct file_tensor *out, struct err *err);

/* Gives back the memory of inflated members and of mapped pages; arrays read before are
 * invalid. */
void npz_release(struct npz *npz);

#endif
