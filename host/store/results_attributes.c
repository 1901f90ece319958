/* SPDX-License-Identifier: MIT
 *
 * results_attributes.c - which types of values are let in, and attributes of one value. Contract:
 * results_door.h. Tests: tests/test_results_door.c.
 */
#include "host/store/results_door.h"

#include "host/base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- types ----------------------------------------------------------------------------- */

static bool is_one_of(hid_t type, const hid_t *types, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (H5Tequal(type, types[i]) > 0)
			return true;
	return false;
}

static bool is_integer(hid_t type)
{
	const hid_t types[] = {H5T_STD_I8LE, H5T_STD_I16LE, H5T_STD_I32LE, H5T_STD_I64LE,
		H5T_STD_U8LE, H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_U64LE, H5T_STD_I8BE,
		H5T_STD_I16BE, H5T_STD_I32BE, H5T_STD_I64BE, H5T_STD_U8BE, H5T_STD_U16BE,
		H5T_STD_U32BE, H5T_STD_U64BE};

	return is_one_of(type, types, sizeof types / sizeof *types);
}

static bool is_half(hid_t type)
{
	const hid_t half = results_type(RESULTS_F16);
	const bool is = H5Tequal(type, half) > 0;

	H5Tclose(half);
	return is;
}

static bool is_real(hid_t type)
{
	const hid_t types[] = {H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_IEEE_F32BE, H5T_IEEE_F64BE};

	return H5Tget_size(type) == 2 ? is_half(type)
				      : is_one_of(type, types, sizeof types / sizeof *types);
}

enum door_class door_class(hid_t type)
{
	switch (H5Tget_class(type)) {
	case H5T_INTEGER:
		return is_integer(type) ? DOOR_INTEGERS : DOOR_STRANGE;
	case H5T_FLOAT:
		return is_real(type) ? DOOR_REALS : DOOR_STRANGE;
	case H5T_STRING:
		return H5Tis_variable_str(type) > 0 ? DOOR_TEXTS : DOOR_STRANGE;
	default:
		return DOOR_STRANGE;
	}
}

/* ---- attributes ------------------------------------------------------------------------ */

/* One that has one value; H5I_INVALID_HID when there is none. */
static hid_t open_attribute(hid_t object, const char *name, hid_t *type)
{
	const hid_t a = H5Aexists(object, name) > 0 ? H5Aopen(object, name, H5P_DEFAULT)
						    : H5I_INVALID_HID;
	hid_t space;
	H5S_class_t extent;
	bool one;

	if (a < 0)
		return H5I_INVALID_HID;
	space = H5Aget_space(a);
	extent = H5Sget_simple_extent_type(space);
	one = extent == H5S_SCALAR ||
	      (extent == H5S_SIMPLE && H5Sget_simple_extent_npoints(space) == 1);
	H5Sclose(space);
	*type = one ? H5Aget_type(a) : H5I_INVALID_HID;
	if (*type >= 0)
		return a;
	H5Aclose(a);
	return H5I_INVALID_HID;
}

bool door_integer(hid_t object, const char *name, int64_t *value)
{
	hid_t type;
	const hid_t a = open_attribute(object, name, &type);
	uint64_t unsigned_value = 0;
	int64_t found = 0;
	bool read = false;

	if (a < 0)
		return false;
	/* HDF5 would clip what does not fit. */
	if (door_class(type) == DOOR_INTEGERS && H5Tget_sign(type) == H5T_SGN_NONE) {
		read = H5Aread(a, H5T_NATIVE_UINT64, &unsigned_value) >= 0 &&
		       unsigned_value <= INT64_MAX;
		found = (int64_t)unsigned_value;
	} else if (door_class(type) == DOOR_INTEGERS) {
		read = H5Aread(a, H5T_NATIVE_INT64, &found) >= 0;
	}
	if (read)
		*value = found;
	H5Tclose(type);
	H5Aclose(a);
	return read;
}

bool door_text(hid_t object, const char *name, char **value)
{
	hid_t type;
	const hid_t a = open_attribute(object, name, &type);
	char *text = NULL;

	*value = NULL;
	if (a < 0)
		return false;
	if (door_class(type) == DOOR_TEXTS && H5Aread(a, type, &text) >= 0 && text &&
		utf8_valid(text, strlen(text), NULL)) {
		*value = strdup(text);
		if (!*value)
			results_note_refusal(ENOMEM);
	}
	H5free_memory(text);
	H5Tclose(type);
	H5Aclose(a);
	return *value != NULL;
}
