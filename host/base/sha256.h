/* SPDX-License-Identifier: MIT
 *
 * sha256.h - SHA-256 (libcrypto), of bytes at once or as they come.
 */
#ifndef SAENGINE_SHA256_H
#define SAENGINE_SHA256_H

#include <stddef.h>

#define SHA256_HEX 65 /* 64 digits and the final zero */

/* Lower-case hexadecimal SHA-256 of `n` bytes. */
void sha256_bytes(const void *data, size_t n, char hex[SHA256_HEX]);

/* One that grows, owned by the caller; NULL when out of memory. */
struct sha256;
struct sha256 *sha256_begin(void);
void sha256_add(struct sha256 *h, const void *data, size_t n);

/* Of what was added so far; more may follow. */
void sha256_hex(struct sha256 *h, char hex[SHA256_HEX]);

/* Accepts NULL. */
void sha256_end(struct sha256 *h);

#endif
