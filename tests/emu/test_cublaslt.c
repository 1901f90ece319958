/* SPDX-License-Identifier: MIT
 *
 * test_cublaslt.c - how cuBLASLt is found (kernels/cuda/cublaslt.c), built for a version of it that
 * no machine has.
 */
#include "kernels/cuda/cublaslt.h"
#include "tests/test.h"

#include <string.h>

#include <dlfcn.h>

TEST(a_machine_without_cublaslt_is_told_where_it_comes_from)
{
	struct cublaslt lt;
	struct err err;

	CHECK(cublaslt_open(&lt, 3, &err) == ERR_DEVICE, "no error");
	CHECK(strcmp(err.text,
		      "device \"cuda:3\": libcublasLt.so.0 was not found (libcublasLt.so.0: cannot "
		      "open "
		      "shared object file: No such file or directory); it comes with the CUDA "
		      "toolkit, or with Python's nvidia-cublas package: add its folder to "
		      "LD_LIBRARY_PATH") == 0,
		"%s", err.text);
}

TEST(a_library_of_that_name_without_the_functions_is_refused_by_the_first_it_lacks)
{
	void *library = dlopen(HALF_CUBLASLT_LIBRARY, RTLD_NOW); /* found by its name from now on */
	struct cublaslt lt;
	struct err err;

	REQUIRE(library, "%s", dlerror());
	CHECK(cublaslt_open(&lt, 0, &err) == ERR_DEVICE, "no error");
	CHECK(strstr(err.text,
		      "device \"cuda:0\": libcublasLt.so.0 has no cublasLtGetStatusName (") ==
			err.text,
		"%s", err.text);
	dlclose(library);
}
