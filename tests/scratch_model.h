/* SPDX-License-Identifier: MIT
 *
 * scratch_model.h - a checkpoint's folder that a test fills file by file.
 */
#ifndef SAENGINE_SCRATCH_MODEL_H
#define SAENGINE_SCRATCH_MODEL_H

#include "host/base/file.h"
#include "tests/test.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder, in the scratch folder; made if it is not there. */
static inline const char *scratch_model(void)
{
	const char *path = in_scratch("model");

	mkdir(path, 0777);
	return path;
}

/* A file in it; none of that name where `text` is NULL. */
static inline void write_model_file(const char *name, const char *text)
{
	struct err err;
	char path[512];

	snprintf(path, sizeof path, "%s/%s", scratch_model(), name);
	unlink(path);
	if (text)
		REQUIRE_OK(file_write_text(path, text, &err), &err);
}

#endif
