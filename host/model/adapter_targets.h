/* SPDX-License-Identifier: MIT
 *
 * adapter_targets.h - what an adapter_config.json declares: which modules are changed, and by what
 * scale. For adapter.c.
 */
#ifndef SAENGINE_ADAPTER_TARGETS_H
#define SAENGINE_ADAPTER_TARGETS_H

#include "host/model/module_pattern.h"

#include <jansson.h>
#include <stdint.h>

/* Refuses, by its key, what changes the arithmetic and is not done here. */
int adapter_config_check(const json_t *config, const char *path, struct err *err);

/* Whether target_modules, exclude_modules, modules_to_save and layers_to_transform mean the module.
 * `name` is the whole name, "model.layers.0.self_attn.q_proj". */
int adapter_targets(const json_t *config, const char *path, const char *name, enum module_kind kind,
	bool *targeted, struct err *err);

/* r and scale of a module. */
int adapter_scale(const json_t *config, const char *path, const char *name, int64_t *r,
	double *scale, struct err *err);

/* Whether an entry of modules_to_save means the module or what it is in. */
bool adapter_saves(const char *entry, const char *name);

#endif
