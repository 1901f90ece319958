/* SPDX-License-Identifier: MIT
 *
 * agree.h - what all ranks of a run must have alike, settled before they work: a rank that differs
 * would mix its results with theirs. Each step ends all ranks with one message that names the key,
 * both values and the ranks (ranks_agree.h), or none. Alone they do nothing.
 *
 *   settings   before a device is opened: the version and commit of the engine, the number of
 *              ranks, the kind of device, and every line of the resolved config that bears on
 *              results. Paths are settings like others: all ranks must name a file alike, as they
 *              do where they are given one config and one set of arguments. ERR_CONFIG.
 *   level      where `device` is "cpu", the lowest of the levels that the ranks' processors can
 *              run is taken by all; a level that the config sets is taken as it is, and must be
 *              one that all can run. ERR_DEVICE.
 *   device     when it is open: the arithmetic (device_arithmetic) and the types that are computed
 *              in. ERR_CONFIG.
 *   inputs     before the first unit: the bytes of every file that is read (inputs_agree in
 *              inputs.h). ERR_INPUT.
 */
#ifndef SAENGINE_AGREE_H
#define SAENGINE_AGREE_H

#include "host/config/config.h"
#include "host/work/ranks.h"
#include "kernels/ops.h"

/* Settings and level. `device` is the name to open: that of the config, the rank's own GPU, or the
 * agreed level. Errors: as above; ERR_OUTPUT, ERR_STOPPED. */
int agree_on_settings(const struct ranks *ranks, const struct config *config, char *device,
	size_t size, struct err *err);

/* `fault`: what device_open has said, with which all end, as do those whose device is open. `dev`
 * and `sae_dtype` ("" where there are no SAEs) are read where there is none. */
int agree_on_device(const struct ranks *ranks, const struct device *dev, const char *sae_dtype,
	const struct err *fault, struct err *err);

#endif
