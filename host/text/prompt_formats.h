/* SPDX-License-Identifier: MIT
 *
 * prompt_formats.h - the records of a prompt file. Internal to host/text; users include prompts.h.
 */
#ifndef SAENGINE_PROMPT_FORMATS_H
#define SAENGINE_PROMPT_FORMATS_H

#include "host/text/prompt_record.h"

/* Appends the prompts of every record of a file of n bytes, well-formed UTF-8, and counts the
 * records and those left out. Errors: ERR_INPUT;
 * ERR_CONFIG for a format of unknown name. */
int prompt_format_read(struct prompt_list *out, struct prompt_counts *counts, const char *name,
	const char *bytes, size_t n, const struct prompt_selection *selection, struct err *err);

#endif
