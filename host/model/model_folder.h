/* SPDX-License-Identifier: MIT
 *
 * model_folder.h - what a model's folder is: a checkpoint, a checkpoint with a LoRA adapter beside
 * it, or an adapter alone, whose base is elsewhere. Tests: tests/test_adapter.c.
 */
#ifndef SAENGINE_MODEL_FOLDER_H
#define SAENGINE_MODEL_FOLDER_H

#include "host/base/err.h"

struct model_folder {
	char *base;    /* config.json and weights; owned */
	char *adapter; /* adapter_config.json; owned, NULL = none */
};

/* `base` is the folder that the config names for an adapter alone, "" = none: then the one that the
 * adapter names, if it is there. As in transformers, an adapter beside a whole checkpoint is
 * applied to it. Errors: ERR_CONFIG: a base that is wanted and not named, or named and not wanted;
 * ERR_INPUT. */
int model_folder_find(struct model_folder *folder, const char *path, const char *base,
	struct err *err);

/* Accepts a zeroed one. */
void model_folder_free(struct model_folder *folder);

#endif
