/* SPDX-License-Identifier: MIT
 *
 * results_answer.c - what is asked of an open file, answered: in this process, or in the child that
 * has the file open. Contract: results_parts.h. Tests: tests/test_results.c.
 */
#include "host/store/results_door.h"

#include <stdlib.h>
#include <string.h>

/* ---- attributes ------------------------------------------------------------------------ */

static int answer_attribute(const struct results_reader *r, const struct results_request *q,
	struct child_reply *reply, struct err *err)
{
	const bool integer = q->question == ASK_INTEGER;
	const hid_t object = door_object(r, q->path);
	int64_t value = 0;
	char *text = NULL;
	const bool found = object >= 0 && (integer ? door_integer(object, q->name, &value)
						   : door_text(object, q->name, &text));

	if (object >= 0)
		H5Oclose(object);
	if (!found)
		return err_set(err, ERR_INPUT, "%s: %s: expected %s attribute \"%s\"", r->path,
			q->path, integer ? "an integer" : "a text", q->name);
	memcpy(&reply->number[0], &value, sizeof value);
	reply->data = text;
	reply->n = text ? strlen(text) + 1 : 0;
	return 0;
}

/* ---- all ------------------------------------------------------------------------------- */

int results_answer(struct results_reader *r, const struct results_request *q,
	struct child_reply *reply, struct err *err)
{
	*reply = (struct child_reply){{0}, NULL, 0};
	err_clear(err);
	switch (q->question) {
	case ASK_OPEN:
		door_open_file(r, err);
		break;
	case ASK_HAS:
		reply->number[0] = door_find(r, q->path) != DOOR_NONE;
		break;
	case ASK_VALUES:
		results_answer_values(r, q, reply, err);
		break;
	case ASK_INTEGER:
	case ASK_TEXT:
		answer_attribute(r, q, reply, err);
		break;
	case ASK_LISTING:
		results_answer_listing(r, reply, err);
		break;
	}
	if (results_check_read(r, err)) {
		free(reply->data);
		*reply = (struct child_reply){{0}, NULL, 0};
	}
	return err->code;
}
