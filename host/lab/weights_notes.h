/* SPDX-License-Identifier: MIT
 *
 * weights_notes.h - in words, what became of a model's files: which were read and which were left,
 * where the head comes from, what an adapter changed, what was declared or stored and not used.
 */
#ifndef SAENGINE_WEIGHTS_NOTES_H
#define SAENGINE_WEIGHTS_NOTES_H

#include "host/lab/machine.h"

enum { WEIGHTS_NOTES = 6 };

struct weights_note {
	const char *label; /* static: "weights", "head", "adapter", "context", "unused", "unread" */
	char text[1024];
};

/* Returns how many there are. */
size_t weights_notes(const struct machine *m, struct weights_note notes[WEIGHTS_NOTES]);

#endif
