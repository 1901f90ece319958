/* SPDX-License-Identifier: MIT
 *
 * methods.c - Contract: methods.h.
 */
#include "host/method/methods.h"

#include <stddef.h>

const char *const method_names[N_METHODS + 1] = {
	[METHOD_COSSIM_AP] = "cossim_ap",
	[METHOD_AP] = "ap",
	[METHOD_COSSIM] = "cossim",
	[METHOD_ACTDIFF] = "actdiff",
	[METHOD_RANDOM] = "random",
	[N_METHODS] = NULL,
};
