/* SPDX-License-Identifier: MIT
 *
 * same_results.c - Contract: same_results.h.
 */
#include "tests/same_results.h"

#include "tests/result_differences.h"
#include "tests/test.h"

static void fail(const char *difference)
{
	test_fail(__FILE__, __LINE__, "%s", difference);
}

int same_results(const char *path_a, const char *path_b, const char *group)
{
	hid_t file_a, file_b, a, b;
	int n = 0;

	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
	file_a = H5Fopen(path_a, H5F_ACC_RDONLY, H5P_DEFAULT);
	file_b = H5Fopen(path_b, H5F_ACC_RDONLY, H5P_DEFAULT);
	a = H5Gopen2(file_a, group, H5P_DEFAULT);
	b = H5Gopen2(file_b, group, H5P_DEFAULT);
	if (a < 0 || b < 0)
		test_fail(__FILE__, __LINE__, "no %s in %s", group, a < 0 ? path_a : path_b);
	else
		n = result_differences(a, b, fail);
	H5Gclose(a);
	H5Gclose(b);
	H5Fclose(file_a);
	H5Fclose(file_b);
	return n;
}
