/* SPDX-License-Identifier: MIT
 *
 * sae_file.c - what the formats share in finding their files. Contract: sae_file.h.
 */
#include "host/model/sae_file.h"

#include "host/base/file.h"

#include <stdio.h>
#include <string.h>

int sae_folders(const char *folder, sae_folder_visit *visit, void *context, struct err *err)
{
	struct folder_names names;
	int rc = folder_list(&names, folder, ERR_INPUT, err);

	for (size_t i = 0; rc == 0 && i < names.n; i++) {
		char path[SAE_PATH];

		snprintf(path, sizeof path, "%s/%s", folder, names.data[i]);
		if (folder_exists(path))
			rc = visit(context, names.data[i], err);
	}
	folder_names_free(&names);
	return rc;
}

void sae_config_path(const struct sae_file *file, char path[SAE_PATH])
{
	const int folder = (int)(strlen(file->path) - strlen(file->format->file_name));

	snprintf(path, SAE_PATH, "%.*s%s", folder, file->path, file->format->config_name);
}

int sae_config_open(const struct sae_file *file, char path[SAE_PATH], json_t **out, struct err *err)
{
	sae_config_path(file, path);
	return json_read(out, path, err);
}

static bool is_there(const char *folder, const char *name)
{
	char path[SAE_PATH + 64];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return file_exists(path);
}

bool sae_format_holds(const struct sae_format *format, const char *folder)
{
	return is_there(folder, format->file_name) &&
	       (!format->by_config || is_there(folder, format->config_name));
}
