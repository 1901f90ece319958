/* SPDX-License-Identifier: MIT
 *
 * results_hdf5.c - what results*.c ask of HDF5 in the same way: errors, files, types, attributes.
 * Contract: results_parts.h.
 */
#include "host/store/results_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ---------------------------------------------------------------------------- */

static herr_t innermost(unsigned n, const H5E_error2_t *e, void *text)
{
	(void)n;
	if (e->desc && *e->desc)
		snprintf(text, 256, "%s", e->desc);
	return 0;
}

/* HDF5's reason for the failure just seen: the innermost description. */
int results_hdf5_error(struct results *r, const char *what, struct err *err)
{
	char reason[256] = "unknown reason";

	H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, reason);
	H5Eclear2(H5E_DEFAULT);
	return err_set(err, errno == ENOMEM ? ERR_DEVICE : ERR_OUTPUT,
		"%s: cannot write %s: %s%s%s", r->part, what, reason, errno ? ": " : "",
		errno ? strerror(errno) : "");
}

static int refused; /* errno of the first call that failed since it was last 0 */

void results_note_refusal(int number)
{
	if (refused == 0)
		refused = number;
}

static herr_t note_number(unsigned n, const H5E_error2_t *e, void *unused)
{
	const char *number = e->desc ? strstr(e->desc, "errno = ") : NULL;

	(void)n, (void)unused;
	if (number)
		results_note_refusal(atoi(number + strlen("errno = ")));
	return 0;
}

/* HDF5 calls it as each of its functions fails, before what called that can overlook it. */
static herr_t note_failure(hid_t stack, void *unused)
{
	return H5Ewalk2(stack, H5E_WALK_UPWARD, note_number, unused);
}

void results_forget_refusal(void)
{
	refused = 0;
}

int results_check_read(const struct results_reader *r, struct err *err)
{
	if (refused == ENOMEM)
		return err_set(err, ERR_DEVICE, "%s: cannot be read: out of memory", r->path);
	if (refused)
		return err_set(err, ERR_INPUT, "%s: cannot be read: %s", r->path,
			strerror(refused));
	return err->code;
}

int results_close_written(struct results *r, hid_t dataset, const char *what, struct err *err)
{
	if (H5Dclose(dataset) < 0 && err->code == 0)
		results_hdf5_error(r, what, err);
	return err->code;
}

/* ---- files ----------------------------------------------------------------------------- */

void results_library_open(void)
{
	static bool opened;

	/* Ours are all closed by hand; what a full disk kept from being closed would crash the
	 * library's own cleanup at exit. */
	if (!opened)
		H5dont_atexit();
	opened = true;
	H5Eset_auto2(H5E_DEFAULT, note_failure, NULL);
}

hid_t results_file_access(void)
{
	const hid_t access = H5Pcreate(H5P_FILE_ACCESS);

	H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V110);
#if H5_VERSION_GE(1, 10, 7)
	H5Pset_file_locking(access, true, true);
#endif
	return access;
}

/* ---- types ----------------------------------------------------------------------------- */

/* The type in the file; owned by the caller. */
hid_t results_type(enum results_type type)
{
	hid_t t;

	switch (type) {
	case RESULTS_F16: /* IEEE half: 1 sign, 5 exponent, 10 mantissa */
		t = H5Tcopy(H5T_IEEE_F32LE);
		H5Tset_fields(t, 15, 10, 5, 0, 10);
		H5Tset_size(t, 2);
		H5Tset_ebias(t, 15);
		return t;
	case RESULTS_TEXT:
		t = H5Tcopy(H5T_C_S1);
		H5Tset_size(t, H5T_VARIABLE);
		H5Tset_cset(t, H5T_CSET_UTF8);
		return t;
	case RESULTS_F64:
		return H5Tcopy(H5T_IEEE_F64LE);
	case RESULTS_I32:
		return H5Tcopy(H5T_STD_I32LE);
	case RESULTS_I64:
		return H5Tcopy(H5T_STD_I64LE);
	case RESULTS_U8:
		return H5Tcopy(H5T_STD_U8LE);
	default:
		return H5Tcopy(H5T_IEEE_F32LE);
	}
}

size_t results_value_bytes(enum results_type type)
{
	static const size_t bytes[] = {[RESULTS_F32] = 4,
		[RESULTS_F64] = 8,
		[RESULTS_F16] = 2,
		[RESULTS_I32] = 4,
		[RESULTS_I64] = 8,
		[RESULTS_U8] = 1,
		[RESULTS_TEXT] = 64};

	return bytes[type];
}

size_t results_count(const struct results_dataset *d, size_t rows)
{
	size_t n = rows;

	for (int i = 1; i < d->n_dims; i++)
		n *= d->dims[i];
	return n;
}

/* ---- attributes ------------------------------------------------------------------------ */

int results_put_attribute(struct results *r, hid_t object, const char *name, hid_t type,
	const void *value, const char *where, struct err *err)
{
	hid_t space = H5Screate(H5S_SCALAR), a;
	herr_t status = -1;

	if (H5Aexists(object, name) > 0)
		H5Adelete(object, name);
	a = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
	if (a >= 0)
		status = H5Awrite(a, type, value);
	if (a >= 0 && H5Aclose(a) < 0)
		status = -1;
	H5Sclose(space);
	H5Tclose(type);
	return status < 0 ? results_hdf5_error(r, where, err) : 0;
}

int results_put_text(struct results *r, hid_t object, const char *name, const char *value,
	const char *where, struct err *err)
{
	return results_put_attribute(r, object, name, results_type(RESULTS_TEXT), &value, where,
		err);
}
