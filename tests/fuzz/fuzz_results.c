/* SPDX-License-Identifier: MIT
 *
 * fuzz_results.c - an HDF5 file in memory, read as a result file in every way. The first byte tells
 * what the others are:
 *
 *   even  orders to the library, each a byte and its arguments: objects, attributes and links of
 *         every type, shape, layout and filter, under the names that are read. Whatever is made so
 *         is a valid file, and is read in this process.
 *   odd   changes to a small file, four bytes each: where, what, with what. The library may crash
 *         on what that makes, so a child reads it: what must hold is that this process goes on.
 */
#include "host/base/file.h"
#include "host/base/size.h"
#include "host/store/results.h"
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <hdf5.h>

static const char *const names[] = {"/x", "/g", "/g/y", "/left_out", "/left_out/dataset",
	"/left_out/bytes", "/unit/part", "/t"};
static const char *const attributes[] = {"type", "compress", "is_scale", "ends_of", "long_name",
	"units", "scale_0", "scale_1", "title", "summary_of", "stage", "unit"};

enum { N_NAMES = sizeof names / sizeof *names, VALUES = 1 << 14 };

/* ---- a file in memory ------------------------------------------------------------------ */

enum { PATH = 64 };

/* Names of their own for processes side by side. */
static void memory_path(const char *what, char path[PATH])
{
	snprintf(path, PATH, "/dev/shm/fuzz-results-%d-%s.h5", (int)getpid(), what);
}

static void write_file(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	MUST(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* ---- orders ---------------------------------------------------------------------------- */

struct orders {
	const uint8_t *data;
	size_t n;
};

static unsigned next(struct orders *o)
{
	if (o->n == 0)
		return 0;
	o->n--;
	return *o->data++;
}

static hid_t text_type(size_t size)
{
	const hid_t type = H5Tcopy(H5T_C_S1);

	H5Tset_size(type, size);
	H5Tset_cset(type, H5T_CSET_UTF8);
	return type;
}

static hid_t compound_type(hid_t member)
{
	const hid_t type = H5Tcreate(H5T_COMPOUND, 64);

	H5Tinsert(type, "a", 0, member);
	return type;
}

static hid_t changed(hid_t type, bool precision)
{
	const hid_t copy = H5Tcopy(type);

	if (precision)
		H5Tset_precision(copy, 24);
	else
		H5Tset_ebias(copy, 100);
	return copy;
}

static hid_t enum_type(void)
{
	const hid_t type = H5Tenum_create(H5T_NATIVE_INT32);

	H5Tenum_insert(type, "one", (int32_t[]){1});
	return type;
}

static hid_t make_type(unsigned which)
{
	const hsize_t many = 3000;
	hid_t text, type;

	switch (which % 20) {
	case 0:
		return H5Tcopy(H5T_STD_I64LE);
	case 1:
		return H5Tcopy(H5T_STD_I32LE);
	case 2:
		return H5Tcopy(H5T_IEEE_F32LE);
	case 3:
		return text_type(H5T_VARIABLE);
	case 4:
		return H5Tcopy(H5T_STD_U64BE);
	case 5:
		return H5Tcopy(H5T_IEEE_F64LE);
	case 6:
		return H5Tcopy(H5T_STD_U8LE);
	case 7:
		return changed(H5T_STD_I32LE, true);
	case 8:
		return changed(H5T_IEEE_F32LE, false);
	case 9:
		return text_type(1 + which);
	case 10:
		return text_type((size_t)1 << 30);
	case 11:
		return enum_type();
	case 12:
		return compound_type(H5T_NATIVE_INT64);
	case 13:
		return H5Tarray_create2(H5T_NATIVE_INT32, 1, &many);
	case 14:
		return H5Tvlen_create(H5T_NATIVE_INT32);
	case 15:
		return H5Tcopy(H5T_STD_REF_OBJ);
	case 16:
		return H5Tcreate(H5T_OPAQUE, 1 + which);
	case 17:
		return H5Tcopy(H5T_STD_B32LE);
	case 18:
		return H5Tcopy(H5T_STD_I16BE);
	default:
		text = text_type(H5T_VARIABLE);
		type = compound_type(text);
		H5Tclose(text);
		return type;
	}
}

static hid_t make_space(struct orders *o, hsize_t dims[32], int *rank)
{
	const unsigned which = next(o);

	*rank = 1;
	dims[0] = next(o);
	for (int i = 1; i < 32; i++)
		dims[i] = 1;
	switch (which % 8) {
	case 0:
		*rank = 0;
		return H5Screate(H5S_SCALAR);
	case 1:
		*rank = -1;
		return H5Screate(H5S_NULL);
	case 2:
		dims[0] = 1;
		break;
	case 3:
		dims[0] = (hsize_t)1 << dims[0] % 63;
		break;
	case 4:
		*rank = 32;
		break;
	case 5:
		dims[1] = next(o);
		*rank = 2;
		break;
	case 6:
		dims[2] = next(o) % 8;
		*rank = 3;
		break;
	default:
		break;
	}
	return H5Screate_simple(*rank, dims, NULL);
}

/* Values for a write: texts where the type has them, else bytes that are no pointers. NULL when the
 * type or the number is not for that. */
static const void *values_for(hid_t type, hid_t space)
{
	static const char *const texts[] = {"/x", "", "na\xc3\xafve", "\xff", "/g/y", "x\x1b[2J"};
	static const char *many_texts[VALUES / sizeof(char *)];
	static uint8_t bytes[VALUES];
	const hssize_t n = H5Sget_simple_extent_npoints(space);

	if (n < 0 || (size_t)n > VALUES / H5Tget_size(type) ||
		H5Tdetect_class(type, H5T_VLEN) > 0 || H5Tdetect_class(type, H5T_REFERENCE) > 0)
		return NULL;
	for (size_t i = 0; i < sizeof many_texts / sizeof *many_texts; i++)
		many_texts[i] = texts[i % (sizeof texts / sizeof *texts)];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = i % 8 ? 0 : (uint8_t)(i / 8);
	if (H5Tis_variable_str(type) > 0)
		return many_texts;
	return H5Tdetect_class(type, H5T_STRING) > 0 && H5Tget_class(type) == H5T_COMPOUND ? NULL
											   : bytes;
}

static void set_virtual(struct orders *o, hid_t properties, hid_t space, int rank)
{
	static const char *const files[] = {".", "/etc/passwd", "r.units/0.h5", "%b", ""};
	const hsize_t now[32] = {2}, most[32] = {H5S_UNLIMITED}, start[32] = {0},
		      one[32] = {[0 ... 31] = 1}, all[32] = {H5S_UNLIMITED, [1 ... 31] = 1};
	const char *file = files[next(o) % 5];
	const char *dataset = names[next(o) % N_NAMES];
	hid_t endless;

	if (next(o) % 2 || rank != 1) {
		H5Pset_virtual(properties, space, file, dataset, space);
		return;
	}
	endless = H5Screate_simple(1, now, most);
	H5Sselect_hyperslab(endless, H5S_SELECT_SET, start, NULL, one, all);
	H5Pset_virtual(properties, endless, file, dataset, endless);
	H5Sclose(endless);
}

static hid_t make_layout(struct orders *o, hid_t space, int rank, const hsize_t *dims)
{
	const hid_t p = H5Pcreate(H5P_DATASET_CREATE);
	const unsigned which = next(o), filters = which % 6 == 2 ? next(o) : 0;
	hsize_t chunk[32];

	for (int i = 0; i < 32; i++)
		chunk[i] = dims[i] > 64 || dims[i] == 0 ? 64 : dims[i];
	switch (which % 6) {
	case 1:
		H5Pset_layout(p, H5D_COMPACT);
		break;
	case 2:
		if (filters & 1)
			chunk[0] = (hsize_t)1 << filters % 32;
		H5Pset_chunk(p, rank > 0 ? rank : 1, chunk);
		if (filters & 2)
			H5Pset_shuffle(p);
		if (filters & 4)
			H5Pset_deflate(p, 1);
		if (filters & 8)
			H5Pset_deflate(p, 9);
		if (filters & 16)
			H5Pset_fletcher32(p);
		if (filters & 32)
			H5Pset_nbit(p);
		if (filters & 64)
			H5Pset_filter(p, 30000, H5Z_FLAG_OPTIONAL, 0, NULL);
		break;
	case 3:
		H5Pset_external(p, "/dev/null", 0, H5F_UNLIMITED);
		break;
	case 4:
		set_virtual(o, p, space, rank);
		break;
	default:
		break;
	}
	return p;
}

static bool packs_bits(hid_t layout)
{
	unsigned flags;
	size_t n = 0;

	return H5Pget_filter_by_id2(layout, H5Z_FILTER_NBIT, &flags, &n, NULL, 0, NULL, NULL) >= 0;
}

static void make_dataset(struct orders *o, hid_t file, hid_t links)
{
	const char *name = names[next(o) % N_NAMES];
	const hid_t type = make_type(next(o));
	hsize_t dims[32];
	int rank;
	const hid_t space = make_space(o, dims, &rank);
	const hid_t layout = make_layout(o, space, rank, dims);
	const hid_t dataset = H5Dcreate2(file, name, type, space, links, layout, H5P_DEFAULT);
	const void *values = values_for(type, space);

	/* The library writes behind its own memory where it packs bits (1.10.8). */
	if (dataset >= 0 && values && H5Pget_layout(layout) != H5D_VIRTUAL &&
		H5Pget_external_count(layout) == 0 && !packs_bits(layout))
		H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
	H5Dclose(dataset);
	H5Pclose(layout);
	H5Sclose(space);
	H5Tclose(type);
}

static void make_attribute(struct orders *o, hid_t file)
{
	const unsigned of = next(o);
	const char *object = of % 4 == 0 ? "/" : names[of / 4 % N_NAMES];
	const char *name = attributes[next(o) % (sizeof attributes / sizeof *attributes)];
	const hid_t type = make_type(next(o));
	hsize_t dims[32];
	int rank;
	const hid_t space = make_space(o, dims, &rank);
	const void *values = values_for(type, space);
	const hid_t a = values ? H5Acreate_by_name(file, object, name, type, space, H5P_DEFAULT,
					 H5P_DEFAULT, H5P_DEFAULT)
			       : H5I_INVALID_HID;

	if (a >= 0) {
		H5Awrite(a, type, values);
		H5Aclose(a);
	}
	H5Sclose(space);
	H5Tclose(type);
}

static void make_link(struct orders *o, hid_t file, hid_t links)
{
	static const char *const strange[] = {"/a\x1b[2J", "/\xff", "/g/a\nb", "/\xe2\x80\xae",
		"/g"};
	const unsigned which = next(o);
	const char *name = which & 8 ? strange[next(o) % 5] : names[next(o) % N_NAMES];
	const char *target = next(o) % 4 ? names[next(o) % N_NAMES] : "/";

	switch (which % 4) {
	case 0:
		H5Lcreate_soft(target, file, name, links, H5P_DEFAULT);
		break;
	case 1:
		H5Lcreate_external("other.h5", target, file, name, links, H5P_DEFAULT);
		break;
	default:
		H5Lcreate_hard(file, target, file, name, links, H5P_DEFAULT);
	}
}

static void make_file(struct orders *o, const char *path)
{
	const hid_t access = H5Pcreate(H5P_FILE_ACCESS), links = H5Pcreate(H5P_LINK_CREATE);
	hid_t file;

	if (next(o) % 2)
		H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
	file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
	MUST(file >= 0);
	H5Pset_create_intermediate_group(links, 1);
	while (o->n > 0) {
		const unsigned which = next(o);

		if (which % 8 < 3)
			make_dataset(o, file, links);
		else if (which % 8 < 6)
			make_attribute(o, file);
		else
			make_link(o, file, links);
	}
	H5Pclose(links);
	H5Pclose(access);
	H5Fclose(file);
}

/* ---- reading --------------------------------------------------------------------------- */

static void free_texts(char **texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

static void read_dataset(struct results_reader *r, const char *name)
{
	struct err err = {0};
	size_t dims[3], n;
	void *data;
	char **texts;

	for (int rank = 1; rank <= 3; rank++) {
		MUST_EXPLAIN(results_read_ints(r, name, rank, dims, (int32_t **)&data, &err), err);
		free(data);
		err = (struct err){0};
		MUST_EXPLAIN(results_read_floats(r, name, rank, dims, (float **)&data, &err), err);
		free(data);
		err = (struct err){0};
	}
	for (int type = RESULTS_F32; type <= RESULTS_U8; type++) {
		MUST_EXPLAIN(results_read_all(r, name, (enum results_type)type, &data, &n, &err),
			err);
		free(data);
		err = (struct err){0};
	}
	MUST_EXPLAIN(results_read_texts(r, name, &n, &texts, &err), err);
	MUST(texts || n == 0);
	free_texts(texts, n);
}

static void read_all(struct results_reader *r)
{
	struct err err = {0};
	char *listing = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&listing, &n);

	MUST(to);
	MUST_EXPLAIN(results_list(r, to, &err), err);
	fclose(to);
	for (size_t i = 0; i < n; i++)
		MUST(listing[i] == '\n' || (unsigned char)listing[i] >= 0x20);
	free(listing);
	for (size_t i = 0; i < N_NAMES; i++) {
		bool has;

		err = (struct err){0};
		MUST_EXPLAIN(results_has(r, names[i], &has, &err), err);
		read_dataset(r, names[i]);
		for (size_t k = 0; i < 2 && k < sizeof attributes / sizeof *attributes; k++) {
			int64_t value;
			char *text;

			err = (struct err){0};
			MUST_EXPLAIN(results_read_attribute_integer(r, i ? names[i] : "/",
					     attributes[k], &value, &err),
				err);
			err = (struct err){0};
			MUST_EXPLAIN(results_read_attribute_text(r, i ? names[i] : "/",
					     attributes[k], &text, &err),
				err);
			free(text);
		}
	}
}

/* As a unit, into a file of its own. */
static void join(struct results_reader *r)
{
	struct results *results;
	struct err err = {0};
	char path[PATH];
	int rc;

	memory_path("joined", path);
	MUST(results_create(&results, path, &err) == 0);
	rc = results_join(results, r, &err);
	MUST(rc == 0 || (rc == err.code && err.text[0]));
	results_discard(results);
}

static void read_made(const uint8_t *data, size_t size)
{
	struct results_reader *r;
	struct err err = {0};
	char path[PATH];

	memory_path("made", path);
	make_file(&(struct orders){data, size}, path);
	MUST(results_open(&r, path, &err) == 0);
	read_all(r);
	join(r);
	results_reader_close(r);
	unlink(path);
}

/* ---- changes --------------------------------------------------------------------------- */

/* What is changed: a file with one of each that is read, of the oldest form, which has no
 * checksums that would be wrong then, or of the newest. */
static const uint8_t ORDERS[] = {0, /* /x [4, 3] f32 */ 0, 0, 2, 5, 4, 3, 0,
	/* /left_out/dataset [3] texts, /left_out/bytes [3] i64 */ 0, 4, 3, 7, 3, 0, 0, 5, 0, 7, 3,
	0,
	/* /g/y [64] i32, deflated */ 0, 2, 1, 7, 64, 2, 6, /* /t virtual */ 0, 7, 1, 7, 4, 4, 0, 0,
	1,
	/* attributes of / and /x */ 3, 0, 8, 3, 0, 0, 3, 0, 9, 3, 0, 0, 3, 1, 4, 3, 0, 0, 3, 1, 0,
	0, 0, 0, 3, 1, 1, 0, 0, 0, 3, 1, 2, 0, 0, 0, 3, 1, 3, 3, 0, 0, 3, 1, 5, 3, 0, 0, 3, 1, 6, 3,
	0, 0, 3, 1, 7, 3, 0, 0};

struct image {
	uint8_t *bytes;
	size_t n;
};

static struct image image_of(bool newest)
{
	uint8_t orders[sizeof ORDERS];
	struct image image;
	struct file_map map;
	struct err err;
	char path[PATH];

	memory_path("image", path);
	memcpy(orders, ORDERS, sizeof orders);
	orders[0] = newest;
	make_file(&(struct orders){orders, sizeof orders}, path);
	MUST(file_map_open(&map, path, &err) == 0);
	image = (struct image){malloc(map.size), map.size};
	MUST(image.bytes);
	memcpy(image.bytes, map.data, map.size);
	file_map_close(&map);
	unlink(path);
	return image;
}

static void change(struct image *image, const uint8_t edit[4])
{
	const size_t at = (size_t)(edit[0] | edit[1] << 8) % image->n, rest = image->n - at;
	size_t from;

	switch (edit[2] % 6) {
	case 0:
		image->bytes[at] = edit[3];
		break;
	case 1:
		image->bytes[at] ^= (uint8_t)(1 << edit[3] % 8);
		break;
	case 2:
		memset(image->bytes + at, edit[3], size_min(rest, 8));
		break;
	case 3:
		from = (size_t)edit[3] * 16 % image->n;
		memmove(image->bytes + at, image->bytes + from,
			size_min(8, image->n - size_max(at, from)));
		break;
	case 4:
		image->bytes[at] = (uint8_t)(image->bytes[at] + edit[3]);
		break;
	default:
		if (edit[3] == 255 && at > 0)
			image->n = at;
	}
}

static void read_changed(const uint8_t *data, size_t size)
{
	static struct image images[2];
	struct results_reader *r = NULL;
	struct image image;
	struct err err = {0};
	char path[PATH];
	int rc;

	for (int i = 0; i < 2; i++)
		if (!images[i].bytes)
			images[i] = image_of(i);
	image = images[size > 0 && data[0] % 2];
	image.bytes = malloc(image.n + 8);
	MUST(image.bytes);
	memcpy(image.bytes, images[size > 0 && data[0] % 2].bytes, image.n);
	for (size_t i = 1; i + 4 <= size; i += 4)
		change(&image, data + i);
	memory_path("changed", path);
	write_file(path, image.bytes, image.n);
	rc = results_open_foreign(&r, path, &err);
	MUST_EXPLAIN(rc, err);
	if (rc == 0)
		read_all(r);
	results_reader_close(r);
	unlink(path);
	free(image.bytes);
}

/* A second for a child, whose limit is this process's where that is lower. */
static void limit_children(void)
{
	struct rlimit limit;

	signal(SIGXCPU, SIG_IGN); /* here it is no limit */
	MUST(getrlimit(RLIMIT_CPU, &limit) == 0);
	limit.rlim_cur = 1;
	MUST(setrlimit(RLIMIT_CPU, &limit) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
	limit_children();
	if (size > 0 && data[0] % 2 && (size - 2) % 4 == 0)
		read_changed(data + 1, size - 1);
	else if (size > 0 && data[0] % 2)
		return 0; /* a part of a change is none, and a child takes its time */
	else
		read_made(data + (size > 0), size - (size > 0));
	return 0;
}
