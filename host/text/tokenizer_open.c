/* SPDX-License-Identifier: MIT
 *
 * tokenizer_open.c - which file holds a tokenizer, and of which kind it is. Contract: tokenizer.h.
 */
#include "host/text/tokenizer_parts.h"
#include "host/text/tokenizer_side.h"

#include "host/base/file.h"

/* The names of the file that holds the tokenizer itself. */
static const char *const names[] = {"tokenizer.json", "tokenizer.model",
	"original/tokenizer.model"};
enum { N_NAMES = sizeof names / sizeof *names };

/* The first of them that is there; N_NAMES where none is. */
static size_t find_name(const char *folder)
{
	size_t i = 0;

	while (i < N_NAMES && !file_exists_in(folder, names[i]))
		i++;
	return i;
}

bool tokenizer_is_in(const char *folder)
{
	return find_name(folder) < N_NAMES;
}

int tokenizer_open(struct tokenizer **out, const char *path, struct err *err)
{
	struct file_map map;
	int rc;

	*out = NULL;
	if (file_map_open(&map, path, err))
		return err->code;
	rc = file_check_size(path, map.size, LIMIT_TOKENIZER, err);
	if (rc == 0)
		rc = (map.size > 0 && map.data[0] == '{' ? tokenizer_parse
							 : tokenizer_parse_tiktoken)(out, path,
			map.data ? (const char *)map.data : "", map.size, err);
	file_map_close(&map);
	return rc;
}

/* A file that may be absent: *file stays NULL then. */
static int read_side(struct tokenizer *tok, const char *folder, const char *name, json_t **file,
	struct err *err)
{
	char *path = path_join(folder, name);

	err_clear(err);
	if (!path)
		return err_nomem(err, name, strlen(folder));
	if (file_exists(path)) {
		TRY(json_read(file, path, err));
		TRY(vec_push(&tok->files, path, err));
		return 0;
	}
fail:
	free(path);
	return err->code;
}

static int apply_side(struct tokenizer *tok, const char *folder, struct err *err)
{
	json_t *config = NULL, *special_map = NULL, *added = NULL, *model = NULL;
	int rc;

	err_clear(err);
	TRY(read_side(tok, folder, "tokenizer_config.json", &config, err));
	TRY(read_side(tok, folder, "special_tokens_map.json", &special_map, err));
	TRY(read_side(tok, folder, "added_tokens.json", &added, err));
	TRY(read_side(tok, folder, "config.json", &model, err));
	rc = tokenizer_side_apply(tok, &(struct tokenizer_side){config, special_map, added, model},
		err);
	if (rc)
		err_prefix(err, "%s", folder);
fail:
	json_decref(config);
	json_decref(special_map);
	json_decref(added);
	json_decref(model);
	return err->code;
}

int tokenizer_open_folder(struct tokenizer **out, const char *folder, struct err *err)
{
	struct tokenizer *tok = NULL;
	char *path = path_join(folder, names[find_name(folder) % N_NAMES]);

	*out = NULL;
	err_clear(err);
	if (!path) {
		err_nomem(err, "a path", strlen(folder));
		goto fail;
	}
	TRY(tokenizer_open(&tok, path, err));
	TRY(vec_push(&tok->files, path, err));
	path = NULL;
	TRY(apply_side(tok, folder, err));
	*out = tok;
	return 0;
fail:
	free(path);
	tokenizer_close(tok);
	return err->code;
}
