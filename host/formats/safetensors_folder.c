/* SPDX-License-Identifier: MIT
 *
 * safetensors_folder.c - a model folder: model.safetensors, or model.safetensors.index.json with
 * its shards. Where both are there the single file counts, as in transformers. Contract:
 * safetensors.h, safetensors_index.h. Tests: tests/test_formats.c, tests/fuzz/fuzz_shard_index.c.
 *
 * The index is not trusted: shard names must be plain file names, every tensor it lists must be in
 * the shard it names, and no tensor may be in two.
 */
#include "host/formats/safetensors_index.h"

#include "host/base/file.h"
#include "host/base/size.h"
#include "host/formats/safetensors.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT_NAMES = 256 }; /* room for the names of files that are not read */

/* Every tensor is looked for among them; published models have up to 200. */
enum { MAX_SHARDS = 1024 };

struct safetensors_folder {
	struct safetensors **shards;
	size_t n_shards;
	char **paths; /* the index first, where there is one, then the shards */
	size_t n_paths;
	char left[LEFT_NAMES];
};

/* Shard `name` of the folder: the open one, or opened now. */
static int open_shard(struct safetensors_folder *f, const char *folder, const char *name,
	struct safetensors **out, struct err *err)
{
	char *path = path_join(folder, name);
	const size_t first = f->n_paths - f->n_shards;

	if (!path)
		return err_nomem(err, name, strlen(folder) + strlen(name));
	for (size_t i = 0; i < f->n_shards; i++) {
		if (strcmp(f->paths[first + i], path) == 0) {
			free(path);
			*out = f->shards[i];
			return 0;
		}
	}
	if (f->n_shards == MAX_SHARDS)
		err_set(err, ERR_INPUT, "%s: expected at most %d shards, found more", folder,
			MAX_SHARDS);
	if (f->n_shards == MAX_SHARDS || safetensors_open(out, path, err)) {
		free(path);
		return err->code;
	}
	f->shards[f->n_shards++] = *out;
	f->paths[f->n_paths++] = path;
	return 0;
}

/* Where a tensor is. */
struct placed {
	const char *name;
	size_t shard;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct placed *)a)->name, ((const struct placed *)b)->name);
}

/* A tensor is in one shard only: which of two would be meant? */
static int check_unique(const struct safetensors_folder *f, struct err *err)
{
	const size_t first = f->n_paths - f->n_shards;
	struct placed *all;
	size_t n = 0;

	err_clear(err);
	for (size_t s = 0; s < f->n_shards; s++)
		n += safetensors_count(f->shards[s]);
	all = malloc((n + 1) * sizeof *all);
	if (!all)
		return err_nomem(err, f->paths[0], n * sizeof *all);
	n = 0;
	for (size_t s = 0; s < f->n_shards; s++)
		for (size_t k = 0; k < safetensors_count(f->shards[s]); k++)
			all[n++] = (struct placed){safetensors_at(f->shards[s], k)->name, s};
	qsort(all, n, sizeof *all, by_name);
	for (size_t i = 1; i < n && !err->code; i++)
		if (strcmp(all[i].name, all[i - 1].name) == 0)
			err_set(err, ERR_INPUT, "%s: tensor \"%s\" is also in %s; expected it once",
				f->paths[first + size_max(all[i].shard, all[i - 1].shard)],
				all[i].name,
				f->paths[first + size_min(all[i].shard, all[i - 1].shard)]);
	free(all);
	return err->code;
}

/* The text of a JSON string that is a plain file name; NULL for all else. */
static const char *plain_name(const json_t *value)
{
	const char *name = json_string_value(value);

	return name && *name && !strpbrk(name, "/\\") && !strstr(name, "..") &&
			       strlen(name) == json_string_length(value)
		       ? name
		       : NULL;
}

int safetensors_index_read(struct safetensors_index *index, json_t *json, const char *path,
	struct err *err)
{
	const char *tensor;
	json_t *map = json_object_get(json, "weight_map"), *value;

	*index = (struct safetensors_index){.json = json};
	if (!json_is_object(map)) {
		err_set(err, ERR_INPUT, "%s: expected an object \"weight_map\", found %s", path,
			json_kind(map));
		goto fail;
	}
	index->tensors = calloc(json_object_size(map) + 1, sizeof *index->tensors);
	if (!index->tensors) {
		err_nomem(err, path, json_object_size(map) * sizeof *index->tensors);
		goto fail;
	}
	json_object_foreach(map, tensor, value)
	{
		const char *shard = plain_name(value);

		if (!shard) {
			err_set(err, ERR_INPUT,
				"%s: tensor \"%s\": expected the plain file name of a shard, found "
				"%s",
				path, tensor,
				json_is_string(value) ? json_string_value(value)
						      : json_kind(value));
			goto fail;
		}
		index->tensors[index->n++] = (struct safetensors_listed){tensor, shard};
	}
	return 0;
fail:
	safetensors_index_free(index);
	return err->code;
}

void safetensors_index_free(struct safetensors_index *index)
{
	free(index->tensors);
	json_decref(index->json);
	*index = (struct safetensors_index){0};
}

static int open_index(struct safetensors_folder *f, const char *folder, const char *path,
	struct err *err)
{
	struct safetensors_index index = {0};
	json_t *json;

	TRY(json_read(&json, path, err));
	TRY(safetensors_index_read(&index, json, path, err));
	f->shards = calloc(index.n + 1, sizeof *f->shards);
	f->paths = calloc(index.n + 2, sizeof *f->paths);
	if (!f->shards || !f->paths || !(f->paths[f->n_paths++] = strdup(path))) {
		err_nomem(err, path, index.n * sizeof *f->paths);
		goto fail;
	}
	for (size_t i = 0; i < index.n; i++) {
		const struct safetensors_listed *listed = &index.tensors[i];
		struct safetensors *shard;

		TRY(open_shard(f, folder, listed->shard, &shard, err));
		if (!safetensors_find(shard, listed->tensor)) {
			err_set(err, ERR_INPUT, "%s: tensor \"%s\" is not in %s as listed", path,
				listed->tensor, listed->shard);
			goto fail;
		}
	}
	safetensors_index_free(&index);
	return check_unique(f, err);
fail:
	safetensors_index_free(&index);
	return err->code;
}

/* ---- other files of weights ------------------------------------------------------------- */

/* Of an adapter only where it is without its config: then it is not applied. */
static bool holds_weights(const char *folder, const char *name)
{
	static const char *const patterns[] = {"model*.safetensors", "model.safetensors.index.json",
		"consolidated*", "pytorch_model*.bin", "pytorch_model.bin.index.json",
		"tf_model*.h5", "flax_model*.msgpack", "*.gguf", "*.pth"};

	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
		if (fnmatch(patterns[i], name, 0) == 0)
			return true;
	return fnmatch("adapter_model*", name, 0) == 0 &&
	       !file_exists_in(folder, "adapter_config.json");
}

/* All that is read lies in the folder itself. */
static bool is_read(const struct safetensors_folder *f, const char *name)
{
	bool read = false;

	for (size_t i = 0; i < f->n_paths; i++) {
		const char *slash = strrchr(f->paths[i], '/');

		read = read || strcmp(slash ? slash + 1 : f->paths[i], name) == 0;
	}
	return read;
}

/* The first three by name, and how many more. */
static int name_left(const struct safetensors_folder *f, const char *folder, char out[LEFT_NAMES],
	struct err *err)
{
	struct folder_names names;
	size_t found = 0, length = 0;

	out[0] = '\0';
	if (folder_list(&names, folder, ERR_INPUT, err))
		return err->code;
	for (size_t i = 0; i < names.n; i++) {
		const char *name = names.data[i];

		if (holds_weights(folder, name) && !is_read(f, name) && ++found <= 3)
			length += (size_t)snprintf(out + length, LEFT_NAMES - length, "%s%.60s",
				found > 1 ? ", " : "", name);
	}
	folder_names_free(&names);
	if (found > 3)
		snprintf(out + length, LEFT_NAMES - length, " and %zu more", found - 3);
	return 0;
}

static int no_weights(const struct safetensors_folder *f, const char *folder, struct err *err)
{
	char found[LEFT_NAMES];
	bool other; /* than shards without their index */

	if (name_left(f, folder, found, err))
		return err->code;
	other = *found && !strstr(found, ".safetensors");
	return err_set(err, ERR_INPUT,
		"%s: expected model.safetensors or model.safetensors.index.json, found %s%s%s",
		folder, *found ? "only " : "neither", found,
		other ? "; convert to safetensors" : "");
}

/* ---- opening ---------------------------------------------------------------------------- */

static int open_single(struct safetensors_folder *f, const char *folder, struct err *err)
{
	struct safetensors *file;

	f->shards = calloc(1, sizeof *f->shards);
	f->paths = calloc(1, sizeof *f->paths);
	if (!f->shards || !f->paths)
		return err_nomem(err, folder, sizeof *f->paths);
	return open_shard(f, folder, "model.safetensors", &file, err);
}

int safetensors_folder_open(struct safetensors_folder **out, const char *folder, struct err *err)
{
	struct safetensors_folder *f = calloc(1, sizeof *f);
	char *index = path_join(folder, "model.safetensors.index.json");
	char *single = path_join(folder, "model.safetensors");

	*out = NULL;
	if (!f || !index || !single) {
		err_nomem(err, folder, sizeof *f);
		goto fail;
	}
	if (!folder_exists(folder)) {
		err_set(err, ERR_INPUT, "%s: no such folder", folder);
		goto fail;
	}
	if (file_exists(single)) {
		TRY(open_single(f, folder, err));
	} else if (file_exists(index)) {
		TRY(open_index(f, folder, index, err));
	} else {
		no_weights(f, folder, err);
		goto fail;
	}
	TRY(name_left(f, folder, f->left, err));
	free(index);
	free(single);
	*out = f;
	return 0;
fail:
	free(index);
	free(single);
	safetensors_folder_close(f);
	return err->code;
}

bool safetensors_folder_exists(const char *folder)
{
	return file_exists_in(folder, "model.safetensors") ||
	       file_exists_in(folder, "model.safetensors.index.json");
}

void safetensors_folder_close(struct safetensors_folder *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_shards; i++)
		safetensors_close(f->shards[i]);
	for (size_t i = 0; i < f->n_paths; i++)
		free(f->paths[i]);
	free(f->shards);
	free(f->paths);
	free(f);
}

const struct file_tensor *safetensors_folder_find(const struct safetensors_folder *f,
	const char *name)
{
	for (size_t i = 0; i < f->n_shards; i++) {
		const struct file_tensor *t = safetensors_find(f->shards[i], name);

		if (t)
			return t;
	}
	return NULL;
}

const char *safetensors_folder_file_of(const struct safetensors_folder *f,
	const struct file_tensor *tensor)
{
	const char *path = f->paths[0], *slash;

	for (size_t i = 0; i < f->n_shards; i++)
		if (safetensors_find(f->shards[i], tensor->name) == tensor)
			path = f->paths[f->n_paths - f->n_shards + i];
	slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

const struct file_tensor *safetensors_folder_at(const struct safetensors_folder *f, size_t i)
{
	for (size_t s = 0; s < f->n_shards; s++) {
		const size_t n = safetensors_count(f->shards[s]);

		if (i < n)
			return safetensors_at(f->shards[s], i);
		i -= n;
	}
	return NULL;
}

size_t safetensors_folder_files(const struct safetensors_folder *f)
{
	return f->n_paths;
}

const char *safetensors_folder_path(const struct safetensors_folder *f, size_t i)
{
	return f->paths[i];
}

const char *safetensors_folder_left(const struct safetensors_folder *f)
{
	return f->left;
}
