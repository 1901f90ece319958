/* SPDX-License-Identifier: MIT
 *
 * frame.h - what every result file holds beside what experiments write: prompts, shared dimension
 * scales, where it all came from.
 */
#ifndef SAENGINE_FRAME_H
#define SAENGINE_FRAME_H

#include "host/lab/inputs.h"
#include "host/lab/lab.h"
#include "host/lab/plan.h"
#include "host/store/dataset.h"

/* What is written, for the page: scales, prompts, their sets, files. */
extern const struct dataset_section frame_sections[4];

/* Declares all of it, and what is little: summary, stages, the config. */
int frame_plan(const struct lab *lab, struct plan *plan, struct err *err);

/* At the beginning: root attributes, /layer, /d_model, /prompt, /feature, /prompts, /prompt_sets,
 * /provenance. Errors: ERR_OUTPUT. */
int frame_write(const struct lab *lab, const struct inputs *inputs, struct err *err);

/* At the end, last: the attribute `finished`. */
int frame_write_finished(const struct lab *lab, struct err *err);

#endif
