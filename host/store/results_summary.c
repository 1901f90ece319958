/* SPDX-License-Identifier: MIT
 *
 * results_summary.c - the small datasets of a result file in a file of their own. Contract:
 * results.h. Tests: tests/test_results.c, tests/test_resume.c.
 *
 * One rule, so that nobody has to say of a new dataset what it is: one of at most
 * RESULTS_SUMMARY_BYTES of values is copied, texts counted by their bytes, and with it the scales
 * of its dimensions; all attributes are. What is left out is named in /left_out. Links to the other
 * file are not made: readers that follow every link of a group could not open it without that file.
 *
 * What is read here this process has just written, so it does not come through results_door.h.
 */
#include "host/store/results_parts.h"

#include "host/base/file.h"
#include "host/base/vec.h"
#include "host/store/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5_hl.h>

static const struct {
	struct dataset dataset, bytes;
} left_out = {
	.dataset = {"/left_out/dataset", {"dataset"}, RESULTS_TEXT, "",
		"dataset that is in the result file alone"},
	.bytes = {"/left_out/bytes", {"dataset"}, RESULTS_I64, "1",
		"bytes of its values; of many texts, without the texts"},
};

const struct dataset_section results_summary_section = {"Left out (`NAME.summary.h5`)", NULL,
	DATASETS(left_out)};

/* A dataset of the result file. */
struct object {
	char *path; /* owned */
	haddr_t address;
	bool copied;
	size_t bytes; /* of values; where they are many texts, of pointers to them */
};

struct summary {
	hid_t from;
	struct results *to; /* owned */
	struct object_list {
		struct object *data;
		size_t n, cap;
	} objects;
	struct err *err;
};

static int fault(struct summary *s, const char *path)
{
	return s->err->code ? s->err->code : results_hdf5_error(s->to, path, s->err);
}

/* ---- values ---------------------------------------------------------------------------- */

/* Of a dataset or an attribute, as they are stored. */
struct values {
	hid_t type, space;
	size_t n;
	void *data; /* owned, and the texts in it */
};

static bool is_text(const struct values *v)
{
	return H5Tis_variable_str(v->type) > 0;
}

static bool make_room(struct values *v)
{
	v->n = (size_t)H5Sget_simple_extent_npoints(v->space);
	v->data = calloc(v->n + 1, H5Tget_size(v->type));
	return v->data != NULL;
}

static void free_values(struct values *v)
{
	if (v->data && v->n > 0 && is_text(v))
		H5Dvlen_reclaim(v->type, v->space, H5P_DEFAULT, v->data);
	free(v->data);
	H5Sclose(v->space);
	H5Tclose(v->type);
}

/* ---- attributes ------------------------------------------------------------------------ */

static herr_t copy_attribute(hid_t from, const char *name, const H5A_info_t *info, void *to)
{
	const hid_t a = H5Aopen(from, name, H5P_DEFAULT);
	struct values v = {H5Aget_type(a), H5Aget_space(a), 0, NULL};
	herr_t status = -1;
	hid_t b = H5I_INVALID_HID;

	(void)info;
	if (results_is_of_scales(name)) {
		status = 0;
	} else if (make_room(&v) && H5Aread(a, v.type, v.data) >= 0) {
		b = H5Acreate2(*(hid_t *)to, name, v.type, v.space, H5P_DEFAULT, H5P_DEFAULT);
		status = b < 0 ? -1 : H5Awrite(b, v.type, v.data);
	}
	free_values(&v);
	if (b >= 0 && H5Aclose(b) < 0)
		status = -1;
	H5Aclose(a);
	return status;
}

static int copy_attributes(struct summary *s, hid_t from, hid_t to, const char *path)
{
	return H5Aiterate2(from, H5_INDEX_NAME, H5_ITER_INC, NULL, copy_attribute, &to) < 0
		       ? fault(s, path)
		       : 0;
}

/* ---- datasets -------------------------------------------------------------------------- */

static bool is_compressed(hid_t dataset)
{
	const hid_t created = H5Dget_create_plist(dataset);
	const int n_filters = H5Pget_nfilters(created);

	H5Pclose(created);
	return n_filters > 0;
}

/* A dataset that grew has its final size in the copy, and no room for more. */
static hid_t create_like(struct summary *s, const char *path, hid_t from, const struct values *v)
{
	const hid_t properties = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
	hsize_t dims[H5S_MAX_RANK];
	const int rank = H5Sget_simple_extent_dims(v->space, dims, NULL);
	const hid_t space = H5Screate_simple(rank, dims, NULL);
	hid_t dataset;

	if (v->n > 0 && is_compressed(from)) {
		H5Pset_chunk(properties, rank, dims);
		H5Pset_shuffle(properties);
		H5Pset_deflate(properties, 4);
	}
	H5Pset_create_intermediate_group(links, 1);
	dataset = H5Dcreate2(s->to->file, path, v->type, space, links, properties, H5P_DEFAULT);
	H5Sclose(space);
	H5Pclose(links);
	H5Pclose(properties);
	return dataset;
}

static int copy_values(struct summary *s, const char *path, hid_t from, hid_t *to)
{
	struct values v = {H5Dget_type(from), H5Dget_space(from), 0, NULL};

	*to = H5I_INVALID_HID;
	if (!make_room(&v))
		err_nomem(s->err, path, v.n * H5Tget_size(v.type));
	else if ((v.n > 0 && H5Dread(from, v.type, H5S_ALL, H5S_ALL, H5P_DEFAULT, v.data) < 0) ||
		 (*to = create_like(s, path, from, &v)) < 0 ||
		 (v.n > 0 && H5Dwrite(*to, v.type, H5S_ALL, H5S_ALL, H5P_DEFAULT, v.data) < 0))
		fault(s, path);
	free_values(&v);
	return s->err->code;
}

static int copy_dataset(struct summary *s, struct object *object);

struct attaching {
	struct summary *summary;
	hid_t to;
};

static herr_t attach_scale(hid_t from, unsigned dimension, hid_t scale, void *context)
{
	struct attaching *a = context;
	struct object_list *objects = &a->summary->objects;
	H5O_info_t info;
	size_t i = 0;

	(void)from;
	if (H5Oget_info2(scale, &info, H5O_INFO_BASIC) < 0)
		return -1;
	while (i < objects->n && objects->data[i].address != info.addr)
		i++;
	if (i == objects->n || copy_dataset(a->summary, &objects->data[i]) ||
		results_attach_scale(a->summary->to, a->to, dimension, objects->data[i].path,
			objects->data[i].path, a->summary->err))
		return -1;
	return 0;
}

static int copy_dataset(struct summary *s, struct object *object)
{
	const hid_t from = object->copied ? H5I_INVALID_HID
					  : H5Dopen2(s->from, object->path, H5P_DEFAULT);
	struct attaching attaching = {s, H5I_INVALID_HID};
	char name[256] = "";
	hid_t space;
	int rank;

	if (object->copied)
		return 0;
	object->copied = true;
	if (from < 0)
		return fault(s, object->path);
	if (copy_values(s, object->path, from, &attaching.to) ||
		copy_attributes(s, from, attaching.to, object->path))
		goto done;
	if (H5DSis_scale(from) > 0) {
		if (H5DSget_scale_name(from, name, sizeof name) < 0 ||
			H5DSset_scale(attaching.to, name) < 0)
			fault(s, object->path);
		goto done;
	}
	space = H5Dget_space(from);
	rank = H5Sget_simple_extent_ndims(space);
	H5Sclose(space);
	for (unsigned i = 0; i < (unsigned)rank && s->err->code == 0; i++)
		if (H5DSiterate_scales(from, i, NULL, attach_scale, &attaching) < 0)
			fault(s, object->path);
done:
	if (attaching.to >= 0)
		results_close_written(s->to, attaching.to, object->path, s->err);
	H5Dclose(from);
	return s->err->code;
}

/* ---- the file -------------------------------------------------------------------------- */

/* Of texts their bytes, unless the pointers to them are too many already. */
static size_t bytes_of(hid_t dataset)
{
	const hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
	size_t bytes = (size_t)H5Sget_simple_extent_npoints(space) * H5Tget_size(type);
	hsize_t text_bytes;

	if (H5Tis_variable_str(type) > 0 && bytes > 0 && bytes <= RESULTS_SUMMARY_BYTES &&
		H5Dvlen_get_buf_size(dataset, type, space, &text_bytes) >= 0)
		bytes = (size_t)text_bytes;
	H5Sclose(space);
	H5Tclose(type);
	return bytes;
}

static int list_dataset(struct summary *s, const char *name, haddr_t address)
{
	struct object object = {.path = malloc(strlen(name) + 2), .address = address};
	const hid_t dataset = H5Dopen2(s->from, name, H5P_DEFAULT);

	if (dataset < 0 || !object.path) {
		fault(s, name);
	} else {
		sprintf(object.path, "/%s", name);
		object.bytes = bytes_of(dataset);
		vec_push(&s->objects, object, s->err);
	}
	if (dataset >= 0)
		H5Dclose(dataset);
	if (s->err->code)
		free(object.path);
	return s->err->code;
}

/* Groups come with their attributes; one that has none is made by what is put into it. */
static int copy_group(struct summary *s, const char *name, const H5O_info_t *info)
{
	const bool root = strcmp(name, ".") == 0;
	const hid_t from = H5Oopen(s->from, name, H5P_DEFAULT);
	hid_t links, to = H5I_INVALID_HID;

	if (from >= 0 && info->num_attrs > 0) {
		links = H5Pcreate(H5P_LINK_CREATE);
		H5Pset_create_intermediate_group(links, 1);
		to = root ? H5Gopen2(s->to->file, "/", H5P_DEFAULT)
			  : H5Gcreate2(s->to->file, name, links, H5P_DEFAULT, H5P_DEFAULT);
		H5Pclose(links);
	}
	if (from < 0 || (info->num_attrs > 0 && to < 0))
		fault(s, name);
	else if (to >= 0)
		copy_attributes(s, from, to, name);
	if (to >= 0 && H5Gclose(to) < 0)
		fault(s, name);
	if (from >= 0)
		H5Oclose(from);
	return s->err->code;
}

static herr_t visit(hid_t file, const char *name, const H5O_info_t *info, void *context)
{
	struct summary *s = context;

	(void)file;
	if (info->type == H5O_TYPE_DATASET)
		list_dataset(s, name, info->addr);
	else if (info->type == H5O_TYPE_GROUP)
		copy_group(s, name, info);
	return s->err->code ? -1 : 0;
}

static int name_left_out(struct summary *s, const char *of)
{
	const size_t n = s->objects.n;
	const char *slash = strrchr(of, '/'), **paths = malloc(n * sizeof *paths + 1);
	int64_t *bytes = malloc(n * sizeof *bytes + 1);
	size_t n_left_out = 0;

	if (!paths || !bytes) {
		err_nomem(s->err, "what is left out", n * sizeof *bytes);
		goto fail;
	}
	for (size_t i = 0; i < n; i++) {
		if (s->objects.data[i].copied)
			continue;
		paths[n_left_out] = s->objects.data[i].path;
		bytes[n_left_out++] = (int64_t)s->objects.data[i].bytes;
	}
	TRY(dataset_write(s->to, &left_out.dataset, NULL, &n_left_out, paths, s->err));
	TRY(dataset_write(s->to, &left_out.bytes, NULL, &n_left_out, bytes, s->err));
	results_attribute_text(s->to, "/", "summary_of", slash ? slash + 1 : of, s->err);
fail:
	free(paths);
	free(bytes);
	return s->err->code;
}

static int fill(struct summary *s, const char *of)
{
	if (H5Ovisit2(s->from, H5_INDEX_NAME, H5_ITER_INC, visit, s, H5O_INFO_ALL) < 0)
		fault(s, "/");
	for (size_t i = 0; i < s->objects.n && s->err->code == 0; i++)
		if (s->objects.data[i].bytes <= RESULTS_SUMMARY_BYTES)
			copy_dataset(s, &s->objects.data[i]);
	return s->err->code ? s->err->code : name_left_out(s, of);
}

int results_summarize(struct results *r, struct err *err)
{
	struct summary s = {.from = r->file, .err = err};
	char path[4200];

	err_clear(err);
	if (!r->path)
		return 0;
	path_beside(r->path, ".summary.h5", path, sizeof path);
	if (results_create(&s.to, path, err))
		return err->code;
	errno = 0;
	if (fill(&s, r->path))
		results_discard(s.to);
	else
		results_finish(s.to, err);
	for (size_t i = 0; i < s.objects.n; i++)
		free(s.objects.data[i].path);
	free(s.objects.data);
	return err->code;
}
