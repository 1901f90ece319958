/* SPDX-License-Identifier: MIT
 *
 * cublaslt.c - finds cuBLASLt. Contract: cublaslt.h. Tests: tests/emu/test_cublaslt.c. Where
 * kernels run on the CPU, tests/emu/cublaslt.cc is both this file and the library.
 */
#include "kernels/cuda/cublaslt.h"

#include <stddef.h>
#include <string.h>

#include <dlfcn.h>

static const struct {
	const char *name;
	size_t at; /* in struct cublaslt */
} functions[] = {
#define FUNCTION(name) {"cublasLt" #name, offsetof(struct cublaslt, name)},
	CUBLASLT_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

int cublaslt_open(struct cublaslt *out, int ordinal, struct err *err)
{
	void *library = dlopen(CUBLASLT_LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return err_set(err, ERR_DEVICE,
			"device \"cuda:%d\": " CUBLASLT_LIBRARY
			" was not found (%s); it comes with the CUDA "
			"toolkit, or with Python's nvidia-cublas package: add its folder to "
			"LD_LIBRARY_PATH",
			ordinal, dlerror());
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		void *function = dlsym(library, functions[i].name);

		if (!function)
			return err_set(err, ERR_DEVICE,
				"device \"cuda:%d\": " CUBLASLT_LIBRARY " has no %s (%s)", ordinal,
				functions[i].name, dlerror());
		memcpy((char *)out + functions[i].at, &function, sizeof function);
	}
	return 0;
}
