/* SPDX-License-Identifier: MIT
 *
 * tokenizer_open.c - which file holds a tokenizer, and of which kind it is. Contract: tokenizer.h.
 */
#include "host/text/tokenizer.h"

#include "host/base/file.h"

#include <stdlib.h>
#include <string.h>

int tokenizer_find(char **path, const char *folder, struct err *err)
{
	static const char *const names[] = {"tokenizer.json", "tokenizer.model",
		"original/tokenizer.model"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		*path = path_join(folder, names[i]);
		if (!*path)
			return err_nomem(err, "a path", strlen(folder));
		if (file_exists(*path))
			return 0;
		free(*path);
	}
	*path = path_join(folder, names[0]);
	return *path ? 0 : err_nomem(err, "a path", strlen(folder));
}

int tokenizer_open(struct tokenizer **out, const char *path, struct err *err)
{
	struct file_map map;
	int rc;

	*out = NULL;
	if (file_map_open(&map, path, err))
		return err->code;
	rc = (map.size > 0 && map.data[0] == '{' ? tokenizer_parse : tokenizer_parse_tiktoken)(out,
		path, map.data ? (const char *)map.data : "", map.size, err);
	file_map_close(&map);
	return rc;
}
