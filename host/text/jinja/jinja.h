/* SPDX-License-Identifier: MIT
 *
 * jinja.h - chat templates as checkpoints publish them: the part of Jinja 2 that they are written
 * in, rendered as transformers renders it.
 *
 *	TRY(jinja_parse(&t, "chat_template.jinja", source, n, err));
 *	TRY(jinja_render(t, variables, "2024-07-26", &out, err));
 *
 * As transformers sets Jinja up: trim_blocks and lstrip_blocks; break and continue; {% generation
 * %}, which only marks its body; lists and dicts that cannot be changed; tojson as json.dumps with
 * ensure_ascii off; raise_exception, strftime_now, namespace, range, dict. Values print, compare
 * and count as Python's. What is outside (include and import, recursive loops, integers beyond 64
 * bits, a few filters and methods) is refused by name, never rendered in another way.
 *
 * Rendering changes nothing in a template: one serves any number of renders, and of threads.
 * Templates come from other people, so a render has bounds (jinja_parts.h).
 */
#ifndef SAENGINE_JINJA_H
#define SAENGINE_JINJA_H

#include "host/base/vec.h"
#include "host/formats/json.h"

#include <stdbool.h>
#include <stddef.h>

struct jinja; /* a parsed template */

/* Parses n bytes. `name` is for messages ("chat_template.jinja") and copied. *out is owned: free
 * it. Errors: ERR_INPUT with name, line, expected and found; a construct outside the part above is
 * named, with what to set instead. */
int jinja_parse(struct jinja **out, const char *name, const char *source, size_t n,
	struct err *err);

/* Accepts NULL. */
void jinja_free(struct jinja *t);

/* Appends the rendering to *out; nothing is appended where it fails. `variables`: an object of the
 * global variables (messages, add_generation_prompt, bos_token, ...), borrowed for the call; one
 * that it lacks is undefined, which is not the same as null. `date`, "YYYY-MM-DD": what
 * strftime_now formats, at 00:00:00; NULL: a template that calls it is refused by name.
 * Errors: ERR_INPUT with name and line where the template fails as it would in Python, or goes over
 * a bound. For raise_exception(text) the message ends with the template's own text. */
int jinja_render(const struct jinja *t, const json_t *variables, const char *date, struct text *out,
	struct err *err);

/* Whether a text is a day, "YYYY-MM-DD". */
bool jinja_is_date(const char *text);

/* Whether the template looks up a global variable (or function) of that name anywhere: one that it
 * does not look up has no effect. */
bool jinja_mentions(const struct jinja *t, const char *name);

#endif
