/* SPDX-License-Identifier: MIT
 *
 * npz.c - Contract: npz.h. Tests: tests/test_formats.c.
 *
 * The directory at the archive's end is believed, as by Python's zipfile: of a member's own header
 * only the name is held against it and the length of the extra field taken, since writers that
 * stream leave zeros or Zip64 markers in the rest. Every offset and size is checked against the
 * file before it is used, and a member may not inflate to more than its directory entry says, nor
 * that to more than its .npy header asks for.
 *
 * The CRC-32 of a member is computed when it is first read, in pieces by several threads, as zlib
 * alone would be slower than a disk.
 */
#include "host/formats/npz.h"

#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/base/size.h"
#include "host/base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

/* An SAE has five arrays; every pair of members is compared. */
enum { METHOD_STORED = 0, METHOD_DEFLATED = 8, NPY_HEADER_MAX = 10000, MEMBERS_MAX = 4096 };
enum { CRC_PIECE = 4 << 20, CRC_PIECES = 64 }; /* bytes at least, pieces at most */

struct member {
	char *name; /* owned; without ".npy" */
	int method;
	uint32_t crc;
	size_t packed, unpacked;   /* bytes */
	const unsigned char *data; /* packed bytes in the archive */
	unsigned char *inflated;   /* owned; NULL until read */
	bool verified;             /* the bytes have the CRC-32 of the directory */
};

struct npz {
	struct file_map map;
	char *path; /* owned: for messages */
	struct member *members;
	size_t n_members;
	int n_threads; /* for CRC-32 */
};

/* ---- the directory --------------------------------------------------------------------- */

struct archive {
	const char *path;
	const unsigned char *data;
	size_t size;
};

struct directory {
	uint64_t offset, size, entries;
};

static int damaged(struct err *err, const char *path, const char *problem)
{
	return err_set(err, ERR_INPUT, "%s: not a readable .npz: %s", path, problem);
}

/* The end record lies in the last 65,557 bytes: 22 of its own and a comment of up to 65,535. */
static int find_directory(struct archive a, struct directory *out, struct err *err)
{
	const size_t reach = size_min(a.size, 22 + 65535);
	const unsigned char *end = NULL, *locator;
	uint64_t at;

	for (size_t back = 22; back <= reach && !end; back++)
		if (read_u32(a.data + a.size - back) == 0x06054b50)
			end = a.data + a.size - back;
	if (!end)
		return damaged(err, a.path, "no ZIP directory at its end (truncated download?)");
	out->entries = read_u16(end + 10);
	out->size = read_u32(end + 12);
	out->offset = read_u32(end + 16);
	if (out->entries != 0xffff && out->offset != 0xffffffff && out->size != 0xffffffff)
		return 0;
	locator = end - 20;
	if (end - a.data < 20 || read_u32(locator) != 0x07064b50)
		return 0; /* no Zip64 record: the saturated fields are real */
	at = read_u64(locator + 8);
	if (at > a.size || a.size - at < 56 || read_u32(a.data + at) != 0x06064b50)
		return damaged(err, a.path, "its Zip64 directory record is out of place");
	out->entries = read_u64(a.data + at + 32);
	out->size = read_u64(a.data + at + 40);
	out->offset = read_u64(a.data + at + 48);
	return 0;
}

/* Fields of an entry that did not fit 32 bits follow in extra field 1, in this order, only those
 * whose short field is saturated. */
static bool read_zip64(const unsigned char *extra, size_t n, uint64_t *unpacked, uint64_t *packed,
	uint64_t *offset)
{
	uint64_t *const fields[] = {unpacked, packed, offset};

	while (n >= 4) {
		const size_t length = read_u16(extra + 2);

		if (length > n - 4)
			return false;
		if (read_u16(extra) == 1) {
			size_t used = 4;

			for (int i = 0; i < 3; i++) {
				if (*fields[i] != 0xffffffff)
					continue;
				if (used + 8 > length + 4)
					return false;
				*fields[i] = read_u64(extra + used);
				used += 8;
			}
			return true;
		}
		extra += 4 + length;
		n -= 4 + length;
	}
	return true;
}

/* name [n_name]: the directory's. */
static int locate_data(struct archive a, struct member *m, const unsigned char *name, size_t n_name,
	uint64_t offset, uint64_t packed, struct err *err)
{
	const unsigned char *local;
	size_t skip;

	if (offset > a.size || a.size - offset < 30 || read_u32(a.data + offset) != 0x04034b50)
		return err_set(err, ERR_INPUT, "%s: array \"%s\": its ZIP member is out of place",
			a.path, m->name);
	local = a.data + offset;
	skip = 30 + (size_t)read_u16(local + 26) + read_u16(local + 28);
	if (skip > a.size - offset || packed > a.size - offset - skip)
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\": expected %llu bytes, but the file ends before", a.path,
			m->name, (unsigned long long)packed);
	if (read_u16(local + 26) != n_name || memcmp(local + 30, name, n_name) != 0)
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\": its ZIP member bears another name, \"%.*s\"", a.path,
			m->name, (int)size_min(read_u16(local + 26), 64), (const char *)local + 30);
	m->data = local + skip;
	return 0;
}

/* Reads the entry at *at and moves past it. */
static int read_entry(struct archive a, size_t *at, struct member *m, struct err *err)
{
	const unsigned char *e = a.data + *at;
	uint64_t unpacked, packed, offset;
	size_t n_name, n_extra, n_comment, total;

	if (a.size - *at < 46 || read_u32(e) != 0x02014b50)
		return damaged(err, a.path, "its directory ends early");
	n_name = read_u16(e + 28);
	n_extra = read_u16(e + 30);
	n_comment = read_u16(e + 32);
	total = 46 + n_name + n_extra + n_comment;
	if (a.size - *at < total)
		return damaged(err, a.path, "its directory ends early");
	m->method = read_u16(e + 10);
	m->crc = read_u32(e + 16);
	packed = read_u32(e + 20);
	unpacked = read_u32(e + 24);
	offset = read_u32(e + 42);
	m->name = strndup((const char *)e + 46, n_name);
	if (!m->name)
		return err_nomem(err, a.path, n_name);
	if (strlen(m->name) != n_name)
		return damaged(err, a.path, "the name of a member holds a zero byte");
	if (!read_zip64(e + 46 + n_name, n_extra, &unpacked, &packed, &offset))
		return damaged(err, a.path, "a Zip64 field is cut short");
	if (read_u16(e + 8) & 1)
		return err_set(err, ERR_INPUT, "%s: array \"%s\" is encrypted", a.path, m->name);
	if (m->method != METHOD_STORED && m->method != METHOD_DEFLATED)
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\": expected a stored or deflated member, found ZIP method %d",
			a.path, m->name, m->method);
	if (m->method == METHOD_STORED && packed != unpacked)
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\": stored with %llu bytes but said to hold %llu", a.path,
			m->name, (unsigned long long)packed, (unsigned long long)unpacked);
	if (locate_data(a, m, e + 46, n_name, offset, packed, err))
		return err->code;
	m->packed = (size_t)packed;
	m->unpacked = (size_t)unpacked;
	*at += total;
	return 0;
}

static int strip_suffix(struct npz *npz, struct member *m, struct err *err)
{
	const size_t n = strlen(m->name);

	if (!path_has_extension(m->name, ".npy"))
		return err_set(err, ERR_INPUT, "%s: expected only .npy members, found \"%s\"",
			npz->path, m->name);
	m->name[n - 4] = '\0';
	for (struct member *other = npz->members; other < m; other++)
		if (strcmp(other->name, m->name) == 0)
			return err_set(err, ERR_INPUT, "%s: array \"%s\" occurs twice", npz->path,
				m->name);
	return 0;
}

static int by_data(const void *a, const void *b)
{
	const struct member *const *x = a, *const *y = b;

	return (*x)->data < (*y)->data ? -1 : (*x)->data > (*y)->data;
}

/* Members that share bytes make a small file of a great many large arrays. */
static int check_overlap(const struct npz *npz, struct err *err)
{
	const struct member **sorted = malloc(npz->n_members * sizeof *sorted + 1);
	int rc = 0;

	if (!sorted)
		return err_nomem(err, npz->path, npz->n_members * sizeof *sorted);
	for (size_t i = 0; i < npz->n_members; i++)
		sorted[i] = &npz->members[i];
	qsort(sorted, npz->n_members, sizeof *sorted, by_data);
	for (size_t i = 1; i < npz->n_members && !rc; i++)
		if (sorted[i - 1]->data + sorted[i - 1]->packed > sorted[i]->data)
			rc = err_set(err, ERR_INPUT,
				"%s: arrays \"%s\" and \"%s\" share bytes of the "
				"file; expected each its own",
				npz->path, sorted[i - 1]->name, sorted[i]->name);
	free(sorted);
	return rc;
}

int npz_parse(struct npz **out, const char *name, const void *bytes, size_t n, struct err *err)
{
	const struct archive a = {name, bytes, n};
	struct npz *npz = calloc(1, sizeof *npz);
	struct directory directory = {0};
	size_t at;

	*out = NULL;
	if (!npz || !(npz->path = strdup(name))) {
		err_nomem(err, name, sizeof *npz);
		goto fail;
	}
	npz->n_threads = 1;
	if (is_lfs_pointer(bytes, n)) {
		err_set(err, ERR_INPUT,
			"%s: this is a git-lfs pointer, not the arrays; fetch them with `git lfs pull` "
			"or `huggingface-cli download`",
			name);
		goto fail;
	}
	TRY(find_directory(a, &directory, err));
	if (directory.offset > n || directory.entries > (n - directory.offset) / 46) {
		damaged(err, name, "its directory does not fit the file");
		goto fail;
	}
	if (directory.entries > MEMBERS_MAX) {
		err_set(err, ERR_INPUT, "%s: expected at most %d arrays, found %llu", name,
			MEMBERS_MAX, (unsigned long long)directory.entries);
		goto fail;
	}
	npz->members = calloc((size_t)directory.entries + 1, sizeof *npz->members);
	if (!npz->members) {
		err_nomem(err, name, directory.entries * sizeof *npz->members);
		goto fail;
	}
	at = (size_t)directory.offset;
	for (uint64_t i = 0; i < directory.entries; i++) {
		struct member *m = &npz->members[npz->n_members++];

		TRY(read_entry(a, &at, m, err));
		TRY(strip_suffix(npz, m, err));
	}
	if (at - directory.offset != directory.size) {
		damaged(err, name, "its directory holds more or fewer arrays than it says");
		goto fail;
	}
	TRY(check_overlap(npz, err));
	*out = npz;
	return 0;
fail:
	npz_close(npz);
	return err->code;
}

int npz_open(struct npz **out, const char *path, struct err *err)
{
	struct file_map map;

	*out = NULL;
	if (file_map_open(&map, path, err))
		return err->code;
	if (npz_parse(out, path, map.data, map.size, err)) {
		file_map_close(&map);
		return err->code;
	}
	(*out)->map = map;
	return 0;
}

void npz_release(struct npz *npz)
{
	for (size_t i = 0; i < npz->n_members; i++) {
		free(npz->members[i].inflated);
		npz->members[i].inflated = NULL;
	}
	file_map_forget(&npz->map);
}

void npz_close(struct npz *npz)
{
	if (!npz)
		return;
	npz_release(npz);
	for (size_t i = 0; i < npz->n_members; i++)
		free(npz->members[i].name);
	free(npz->members);
	free(npz->path);
	file_map_close(&npz->map);
	free(npz);
}

void npz_use_threads(struct npz *npz, int n_threads)
{
	npz->n_threads = n_threads;
}

size_t npz_count(const struct npz *npz)
{
	return npz->n_members;
}

const char *npz_name(const struct npz *npz, size_t i)
{
	return npz->members[i].name;
}

/* ---- one array ------------------------------------------------------------------------- */

/* The header of a .npy is a Python dictionary literal; these are the forms NumPy writes. */
struct npy {
	char type[16];
	bool fortran;
	int n_dims;
	size_t shape[FILE_TENSOR_DIMS];
	size_t header_bytes; /* up to the data */
};

static const char *skip_spaces(const char *s)
{
	while (*s == ' ')
		s++;
	return s;
}

/* The text after `'key':` in the dictionary, or NULL. */
static const char *npy_value(const char *header, const char *key)
{
	char quoted[32];
	const char *at;

	snprintf(quoted, sizeof quoted, "'%s':", key);
	at = strstr(header, quoted);
	return at ? skip_spaces(at + strlen(quoted)) : NULL;
}

static bool read_npy_type(const char *s, struct npy *out)
{
	const char *end = s && *s == '\'' ? strchr(s + 1, '\'') : NULL;

	if (!end || (size_t)(end - s) > sizeof out->type)
		return false;
	memcpy(out->type, s + 1, (size_t)(end - s - 1));
	out->type[end - s - 1] = '\0';
	return true;
}

static bool read_npy_shape(const char *s, struct npy *out)
{
	if (!s || *s++ != '(')
		return false;
	for (out->n_dims = 0; *(s = skip_spaces(s)) != ')'; out->n_dims++) {
		unsigned long long dim;
		char *end;

		if (*s < '0' || *s > '9' || out->n_dims == FILE_TENSOR_DIMS)
			return false;
		dim = strtoull(s, &end, 10);
		if (end - s > 18) /* would overflow below anyway */
			return false;
		out->shape[out->n_dims] = (size_t)dim;
		s = skip_spaces(end);
		if (*s == ',')
			s++;
		else if (*s != ')')
			return false;
	}
	return true;
}

static bool read_npy_header(const unsigned char *data, size_t n, struct npy *out)
{
	char header[NPY_HEADER_MAX + 1];
	const char *order;
	size_t length, start;

	if (n < 10 || memcmp(data, "\x93NUMPY", 6) != 0)
		return false;
	start = data[6] == 1 ? 10 : 12;
	if (data[6] < 1 || data[6] > 3 || n < start)
		return false;
	length = data[6] == 1 ? read_u16(data + 8) : read_u32(data + 8);
	if (length > NPY_HEADER_MAX || length > n - start)
		return false;
	memcpy(header, data + start, length);
	header[length] = '\0';
	order = npy_value(header, "fortran_order");
	if (!order || !read_npy_type(npy_value(header, "descr"), out) ||
		!read_npy_shape(npy_value(header, "shape"), out))
		return false;
	out->fortran = strncmp(order, "True", 4) == 0;
	if (!out->fortran && strncmp(order, "False", 5) != 0)
		return false;
	out->header_bytes = start + length;
	return true;
}

static int inflate_member(const struct npz *npz, struct member *m, struct err *err)
{
	z_stream stream = {0};
	size_t in = m->packed, room = m->unpacked;
	int status = Z_OK;

	if (m->unpacked / 1032 > m->packed) /* deflate cannot do better: a bomb */
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\": said to inflate from %zu to %zu bytes, which is impossible",
			npz->path, m->name, m->packed, m->unpacked);
	m->inflated = memory_alloc(m->unpacked + 1);
	if (!m->inflated)
		return err_nomem(err, npz->path, m->unpacked);
	if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
		return err_nomem(err, npz->path, m->unpacked);
	stream.next_in = (unsigned char *)m->data;
	stream.next_out = m->inflated;
	while (status == Z_OK) { /* zlib counts in 32 bits; without progress it says Z_BUF_ERROR */
		const size_t in_now = size_min(in, 1u << 30), out_now = size_min(room, 1u << 30);

		stream.avail_in = (uInt)in_now;
		stream.avail_out = (uInt)out_now;
		status = inflate(&stream, Z_NO_FLUSH);
		in -= in_now - stream.avail_in;
		room -= out_now - stream.avail_out;
	}
	inflateEnd(&stream);
	if (status != Z_STREAM_END || room != 0)
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\": expected %zu bytes after inflation, found %s%zu",
			npz->path, m->name, m->unpacked,
			status == Z_STREAM_END ? "" : "damage after ", m->unpacked - room);
	return 0;
}

struct crc_pieces {
	const unsigned char *data;
	size_t n, piece;
	uint32_t crc[CRC_PIECES];
};

static void crc_of_piece(void *context, size_t i, int thread)
{
	struct crc_pieces *p = context;
	const size_t at = i * p->piece;

	(void)thread;
	p->crc[i] = (uint32_t)crc32_z(crc32_z(0, NULL, 0), p->data + at,
		size_min(p->piece, p->n - at));
}

static uint32_t crc_of(const unsigned char *data, size_t n, int n_threads)
{
	struct crc_pieces p = {data, n, size_max(CRC_PIECE, n / CRC_PIECES + 1), {0}};
	const size_t n_pieces = (n + p.piece - 1) / p.piece;
	uint32_t whole = (uint32_t)crc32_z(0, NULL, 0);

	threads_run(n_pieces, n_threads, crc_of_piece, &p);
	for (size_t i = 0; i < n_pieces; i++)
		whole = (uint32_t)crc32_combine64(whole, p.crc[i],
			(off64_t)size_min(p.piece, n - i * p.piece));
	return whole;
}

static int verify(const struct npz *npz, struct member *m, const unsigned char *data,
	struct err *err)
{
	const uint32_t found = crc_of(data, m->unpacked, npz->n_threads);

	if (found != m->crc)
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\": expected the CRC-32 %08x of the archive's directory, found "
			"%08x (damaged download?)",
			npz->path, m->name, m->crc, found);
	m->verified = true;
	return 0;
}

static int member_bytes(const struct npz *npz, struct member *m, const unsigned char **data,
	struct err *err)
{
	if (m->method == METHOD_DEFLATED && !m->inflated)
		TRY(inflate_member(npz, m, err));
	*data = m->method == METHOD_STORED ? m->data : m->inflated;
	if (!m->verified)
		TRY(verify(npz, m, *data, err));
	return 0;
fail:
	free(m->inflated);
	m->inflated = NULL;
	return err->code;
}

static bool npy_dtype(const char *type, enum dtype *out)
{
	static const struct {
		const char *name;
		enum dtype dtype;
	} known[] = {{"<f4", DTYPE_F32}, {"<f8", DTYPE_F64}, {"<f2", DTYPE_F16}, {"<i4", DTYPE_I32},
		{"<i8", DTYPE_I64}};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (strcmp(known[i].name, type) == 0) {
			*out = known[i].dtype;
			return true;
		}
	}
	return false;
}

int npz_read(struct npz *npz, const char *name, struct file_tensor *out, struct err *err)
{
	const unsigned char *data = NULL;
	struct member *m = NULL;
	struct npy npy;
	size_t bytes;

	for (size_t i = 0; i < npz->n_members && !m; i++)
		if (strcmp(npz->members[i].name, name) == 0)
			m = &npz->members[i];
	if (!m)
		return err_set(err, ERR_INPUT, "%s: expected an array \"%s\", found none",
			npz->path, name);
	if (member_bytes(npz, m, &data, err))
		return err->code;
	if (!read_npy_header(data, m->unpacked, &npy))
		return err_set(err, ERR_INPUT, "%s: array \"%s\": its .npy header is not readable",
			npz->path, name);
	if (strchr(npy.type, 'O'))
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\" holds pickled Python objects, which are not read",
			npz->path, name);
	*out = (struct file_tensor){.name = m->name, .known = true, .n_dims = npy.n_dims};
	out->column_major = npy.fortran && npy.n_dims > 1;
	if (!npy_dtype(npy.type, &out->dtype))
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\": expected little-endian numbers, found \"%s\"", npz->path,
			name, npy.type);
	bytes = dtype_bytes(out->dtype);
	for (int i = 0; i < npy.n_dims; i++) {
		out->shape[i] = npy.shape[i];
		if (size_mul_overflow(bytes, npy.shape[i], &bytes))
			bytes = SIZE_MAX;
	}
	if (bytes != m->unpacked - npy.header_bytes)
		return err_set(err, ERR_INPUT,
			"%s: array \"%s\": expected %zu bytes for its shape and type, found %zu",
			npz->path, name, bytes, m->unpacked - npy.header_bytes);
	out->type = dtype_name(out->dtype);
	out->data = data + npy.header_bytes;
	out->bytes = bytes;
	return 0;
}
