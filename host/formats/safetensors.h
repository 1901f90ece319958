/* SPDX-License-Identifier: MIT
 *
 * safetensors.h - reading safetensors files: one file, or a model folder of one or many shards.
 * Knows no model. Layout and the mandatory checks: github.com/huggingface/safetensors.
 */
#ifndef SAENGINE_SAFETENSORS_H
#define SAENGINE_SAFETENSORS_H

#include "host/base/err.h"
#include "host/formats/file_tensor.h"

struct safetensors;

/* Maps and validates one file: header size, JSON, every dtype, shape and offset, no holes, no
 * overlaps, nothing after the last tensor. *out is owned, close it. Errors: ERR_INPUT naming the
 * file and, where it applies, the tensor. */
int safetensors_open(struct safetensors **out, const char *path, struct err *err);

/* The same over bytes in memory, borrowed until close. */
int safetensors_parse(struct safetensors **out, const char *name, const void *bytes, size_t n,
	struct err *err);

/* Accepts NULL. Tensors found in the file are invalid afterwards. */
void safetensors_close(struct safetensors *file);

/* Lets go of the mapped pages read so far (file_map_forget). */
void safetensors_release(const struct safetensors *file);

size_t safetensors_count(const struct safetensors *file);
const struct file_tensor *safetensors_at(const struct safetensors *file, size_t i);

/* NULL when there is none of that name. */
const struct file_tensor *safetensors_find(const struct safetensors *file, const char *name);

/* A folder as `huggingface-cli download` leaves it: model.safetensors, or, where that is not there,
 * model.safetensors.index.json and its shards. Other files of weights are left alone; alone, they
 * are ERR_INPUT that names them. */
struct safetensors_folder;

int safetensors_folder_open(struct safetensors_folder **out, const char *folder, struct err *err);
void safetensors_folder_close(struct safetensors_folder *folder);
const struct file_tensor *safetensors_folder_find(const struct safetensors_folder *folder,
	const char *name);

/* The name of the file that holds a tensor of the folder, without the folder. Borrowed. */
const char *safetensors_folder_file_of(const struct safetensors_folder *folder,
	const struct file_tensor *tensor);

/* Whether there is anything that safetensors_folder_open would read. */
bool safetensors_folder_exists(const char *folder);

/* Every tensor of every file: NULL from the i that is beyond the last. */
const struct file_tensor *safetensors_folder_at(const struct safetensors_folder *folder, size_t i);

/* The files read, index first where there is one; paths borrowed until close. */
size_t safetensors_folder_files(const struct safetensors_folder *folder);
const char *safetensors_folder_path(const struct safetensors_folder *folder, size_t i);

/* The names of other files of weights that lie there: "a, b and 3 more"; "" = none. */
const char *safetensors_folder_left(const struct safetensors_folder *folder);

#endif
