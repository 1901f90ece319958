/* SPDX-License-Identifier: MIT
 *
 * chat_declared.h - the chat template that a checkpoint declares, and the file that does. As
 * transformers: the file chat_template.jinja, with those of the folder additional_chat_templates
 * beside it, goes before `chat_template` in tokenizer_config.json. Where neither is there,
 * chat_template.json, which processors of multimodal models have.
 */
#ifndef SAENGINE_CHAT_DECLARED_H
#define SAENGINE_CHAT_DECLARED_H

#include "host/base/err.h"

struct chat_declared {
	char *source; /* owned, as all here; NULL = the checkpoint declares none */
	char *path;   /* of the file */
	char *label;  /* "tokenizer_config.json", "tokenizer_config.json: rag" */
	char *other;  /* a file that declares one too, which is not used; NULL = none */
	char *names;  /* of those in files or a list, without the one looked for; NULL = none */
};

/* Finds the template of a checkpoint's folder. Of several that have names (a list in
 * tokenizer_config.json, files of additional_chat_templates) that of `name`, "default" where it is
 * NULL; a template without one is "default". *out is owned: chat_declared_free. That there is none
 * is no error. Errors: ERR_INPUT naming the file: `chat_template` of another kind, bytes that are
 * no UTF-8. */
int chat_declared_find(struct chat_declared *out, const char *folder, const char *name,
	struct err *err);

/* Reads a template that the config names by its path. */
int chat_declared_read(struct chat_declared *out, const char *path, struct err *err);

/* Accepts a zeroed struct. */
void chat_declared_free(struct chat_declared *d);

#endif
