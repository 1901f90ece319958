/* SPDX-License-Identifier: MIT
 *
 * sae_file.c - what the formats share in finding their files. Contract: sae_file.h.
 */
#include "host/model/sae_file.h"

#include "host/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int sae_folders(const char *folder, sae_folder_visit *visit, void *context, struct err *err)
{
	DIR *dir = opendir(folder);
	int rc = 0;

	if (!dir)
		return err_set(err, ERR_INPUT, "%s: %s", folder, strerror(errno));
	for (const struct dirent *entry; errno = 0, rc == 0 && (entry = readdir(dir));) {
		char path[SAE_PATH];

		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		if (entry->d_name[0] != '.' && folder_exists(path))
			rc = visit(context, entry->d_name, err);
	}
	if (rc == 0 && errno) /* which alone tells an error from the end */
		rc = err_set(err, ERR_INPUT, "%s: %s", folder, strerror(errno));
	closedir(dir);
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
