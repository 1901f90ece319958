/* SPDX-License-Identifier: MIT
 *
 * sha256.c - Contract: sha256.h. Tests: tests/test_base.c.
 */
#include "host/base/sha256.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

struct sha256 {
	EVP_MD_CTX *all, *copy; /* owned; the copy is what sha256_hex ends */
};

static void hex_of(const unsigned char *digest, char hex[SHA256_HEX])
{
	for (int i = 0; i < 32; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
}

void sha256_bytes(const void *data, size_t n, char hex[SHA256_HEX])
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	EVP_Digest(data, n, digest, NULL, EVP_sha256(), NULL);
	hex_of(digest, hex);
}

struct sha256 *sha256_begin(void)
{
	struct sha256 *h = malloc(sizeof *h);

	if (!h)
		return NULL;
	*h = (struct sha256){EVP_MD_CTX_new(), EVP_MD_CTX_new()};
	if (h->all && h->copy && EVP_DigestInit_ex(h->all, EVP_sha256(), NULL) &&
		EVP_MD_CTX_copy_ex(h->copy, h->all)) /* from here on it has its memory */
		return h;
	sha256_end(h);
	return NULL;
}

void sha256_add(struct sha256 *h, const void *data, size_t n)
{
	EVP_DigestUpdate(h->all, data, n);
}

void sha256_hex(struct sha256 *h, char hex[SHA256_HEX])
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	EVP_MD_CTX_copy_ex(h->copy, h->all);
	EVP_DigestFinal_ex(h->copy, digest, NULL);
	hex_of(digest, hex);
}

void sha256_end(struct sha256 *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->all);
	EVP_MD_CTX_free(h->copy);
	free(h);
}
