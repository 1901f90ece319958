/* SPDX-License-Identifier: MIT
 *
 * sample.h - a digest of a file that may be too large to be read by everyone who uses it: two
 * machines compare their copies by it in seconds. Of a file above SAMPLE_WHOLE bytes the SHA-256 is
 * of its size and of 2 MiB: the first and the last SAMPLE_END bytes and SAMPLE_BLOCKS blocks of
 * SAMPLE_BLOCK bytes, evenly spread. It tells other weights, other revisions, files cut short or
 * shifted, and a header that differs; not a few bytes changed between the blocks.
 */
#ifndef SAENGINE_SAMPLE_H
#define SAENGINE_SAMPLE_H

#include "host/base/file.h"

enum {
	SAMPLE_WHOLE = 4 << 20,
	SAMPLE_END = 512 << 10, /* the header of a safetensors file with thousands of tensors */
	SAMPLE_BLOCK = 16 << 10,
	SAMPLE_BLOCKS = 64
};

/* Up to SAMPLE_WHOLE bytes the same as sha256_file. Errors: ERR_INPUT. */
int sample_file(const char *path, char hex[SHA256_HEX], struct err *err);

#endif
