/* SPDX-License-Identifier: MIT
 *
 * prompt_record.h - from one record of a prompt file, whatever the file's format, to prompts.
 * Internal to host/text; users include prompts.h.
 */
#ifndef SAENGINE_PROMPT_RECORD_H
#define SAENGINE_PROMPT_RECORD_H

#include "host/text/prompt.h"
#include "host/text/python_list.h"
#include "host/text/record.h"

struct prompt_list {
	struct prompt *data; /* owned, and its texts */
	size_t n, cap;
};

/* Appends the prompts of one record: none when it is left out, which is counted by reason, one, or
 * one per suffix. `suffixes` is scratch. Errors: ERR_INPUT with place, field, expected and found.
 */
int record_read(struct prompt_list *out, struct prompt_counts *counts, const struct record *record,
	const struct prompt_selection *selection, struct python_list *suffixes, struct err *err);

void prompt_free(struct prompt *p);

/* Copies to a prompt that has none what all forms of a record's prompt share: field, category,
 * answer, system text and context. */
int prompt_copy_shared(struct prompt *to, const struct prompt *from, struct err *err);

#endif
