/* SPDX-License-Identifier: MIT
 *
 * output.h - whether the result file may get its name, asked before anything is computed: a run of
 * ten hours is not lost to the next one with the same `output`.
 */
#ifndef SAENGINE_OUTPUT_H
#define SAENGINE_OUTPUT_H

#include "host/lab/inputs.h"

/* Whether a file can be written there: the folder can, and nothing of another kind has the name.
 * Nothing is made. Errors: ERR_OUTPUT, ERR_CONFIG. */
int output_check_place(const struct config *config, struct err *err);

/* Whether what has the name of the output is a finished file of this run, to be made again, or
 * nothing. Files are compared as far as both runs read them. *other: whether it is not; then also
 * ERR_CONFIG with what differs. */
int output_check_finished(const struct config *config, const struct machine *m,
	const struct inputs *inputs, bool *other, struct err *err);

/* Renames it and its summary to NAME.old-N.h5, so that nothing is lost. Errors: ERR_OUTPUT. */
int output_set_aside(const struct config *config, struct err *err);

#endif
