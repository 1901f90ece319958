/* SPDX-License-Identifier: MIT
 *
 * model_folder.c - Contract: model_folder.h.
 */
#include "host/model/model_folder.h"

#include "host/base/file.h"
#include "host/formats/safetensors.h"
#include "host/model/adapter.h"

#include <stdlib.h>
#include <string.h>

static bool is_checkpoint(const char *folder)
{
	return file_exists_in(folder, "config.json") && safetensors_folder_exists(folder);
}

/* The folder of an adapter's base; NULL where an error is set. For the caller to free. */
static char *find_base(const char *path, const char *base, struct err *err)
{
	char *named = NULL;

	if (is_checkpoint(path) && *base) {
		err_set(err, ERR_CONFIG,
			"model.base: expected nothing, as %s holds a base beside its adapter, found %s",
			path, base);
		return NULL;
	}
	if (*base || is_checkpoint(path))
		return strdup(*base ? base : path);
	if (adapter_base(path, &named, err))
		return NULL;
	if (named && folder_exists(named))
		return named;
	err_set(err, ERR_CONFIG,
		"%s: a LoRA adapter without its base: expected the base's folder as model.base%s%s%s",
		path, named ? "; the adapter calls it \"" : "", named ? named : "",
		named ? "\", which is no folder here" : "");
	free(named);
	return NULL;
}

int model_folder_find(struct model_folder *folder, const char *path, const char *base,
	struct err *err)
{
	*folder = (struct model_folder){0};
	err_clear(err);
	if (!adapter_exists(path) && *base)
		return err_set(err, ERR_CONFIG,
			"model.base: expected a LoRA adapter as model.path, found no "
			"adapter_config.json in %s",
			path);
	folder->base = adapter_exists(path) ? find_base(path, base, err) : strdup(path);
	if (adapter_exists(path))
		folder->adapter = strdup(path);
	if (!err->code && (!folder->base || (adapter_exists(path) && !folder->adapter)))
		err_nomem(err, path, strlen(path));
	if (!err->code && folder->adapter && strcmp(folder->base, path) != 0 &&
		adapter_exists(folder->base))
		err_set(err, ERR_INPUT,
			"%s: expected the base of %s to be a model alone, found an adapter there as well",
			folder->base, path);
	if (err->code)
		model_folder_free(folder);
	return err->code;
}

void model_folder_free(struct model_folder *folder)
{
	free(folder->base);
	free(folder->adapter);
	*folder = (struct model_folder){0};
}
