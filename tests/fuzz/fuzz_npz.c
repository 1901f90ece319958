/* SPDX-License-Identifier: MIT
 *
 * fuzz_npz.c - a NumPy archive in memory, every array of it read, twice: the second time from what
 * the first kept. Then the same with the CRC-32 of every member made right, since few mutations of
 * a member would have it, and what lies behind that check is to be reached too.
 */
#include "host/formats/npz.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include <zlib.h>

static unsigned sum_of(const struct file_tensor *t)
{
	unsigned sum = 0;

	for (size_t i = 0; i < t->bytes; i++)
		sum += t->data[i];
	return sum;
}

static void read_all(const uint8_t *data, size_t size)
{
	struct npz *npz;
	struct err err = {0};
	const int rc = npz_parse(&npz, "input", data, size, &err);

	MUST_EXPLAIN(rc, err);
	MUST((rc == 0) == (npz != NULL));
	for (size_t i = 0; npz && i < npz_count(npz); i++) {
		struct file_tensor first, again;
		const int read = npz_read(npz, npz_name(npz, i), &first, &err);

		MUST_EXPLAIN(read, err);
		if (read)
			continue;
		MUST(npz_read(npz, npz_name(npz, i), &again, &err) == 0);
		MUST(first.data == again.data && first.bytes == again.bytes);
		MUST(sum_of(&first) == sum_of(&again));
	}
	npz_close(npz);
}

/* ---- checksums made right --------------------------------------------------------------- */

static size_t number(const uint8_t *at, size_t bytes)
{
	size_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value |= (size_t)at[i] << 8 * i;
	return value;
}

/* Of what n deflated bytes become, at most 64 KiB of it. */
static uint32_t inflated_crc(const uint8_t *data, size_t n)
{
	static uint8_t out[1 << 16];
	z_stream stream = {.next_in = (uint8_t *)data,
		.avail_in = (uInt)n,
		.next_out = out,
		.avail_out = sizeof out};

	MUST(inflateInit2(&stream, -MAX_WBITS) == Z_OK);
	(void)inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	return (uint32_t)crc32(0, out, (uInt)stream.total_out);
}

/* The entry of the directory at `e`, which has 46 bytes and more. */
static void mend_entry(uint8_t *data, size_t size, uint8_t *e)
{
	const size_t packed = number(e + 20, 4), local = number(e + 42, 4);
	size_t from;
	uint32_t crc;

	if (local > size || size - local < 30)
		return;
	from = local + 30 + number(data + local + 26, 2) + number(data + local + 28, 2);
	if (from > size || packed > size - from)
		return;
	crc = number(e + 10, 2) == 8 ? inflated_crc(data + from, packed)
				     : (uint32_t)crc32(0, data + from, (uInt)packed);
	memcpy(e + 16, &crc, sizeof crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *mended = malloc(size ? size : 1);

	MUST(mended);
	read_all(data, size);
	if (size)
		memcpy(mended, data, size);
	for (size_t i = 0; i + 46 <= size; i++)
		if (number(mended + i, 4) == 0x02014b50)
			mend_entry(mended, size, mended + i);
	read_all(mended, size);
	free(mended);
	return 0;
}
