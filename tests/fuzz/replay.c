/* SPDX-License-Identifier: MIT
 *
 * replay.c - runs a fuzz target as an ordinary program, without libFuzzer: over every file of the
 * folders named, whole and cut short at every length. Each input lies in memory of its own size, so
 * that AddressSanitizer sees a read behind its end. Exit status 1 when there is no input: a corpus
 * that went missing must not pass.
 */
#include "host/base/file.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { CUTS_MAX = 4096 };

static void run(const unsigned char *bytes, size_t n)
{
	unsigned char *copy = malloc(n ? n : 1);

	MUST(copy);
	if (n)
		memcpy(copy, bytes, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static size_t replay_file(const char *path)
{
	struct file_map map;
	struct err err;
	size_t n = 0;

	if (file_map_open(&map, path, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	for (; n <= map.size && n <= CUTS_MAX; n++)
		run(map.data, n);
	if (map.size > CUTS_MAX)
		run(map.data, map.size);
	file_map_close(&map);
	return n;
}

int main(int argc, char **argv)
{
	size_t n_files = 0, n_inputs = 0;

	for (int i = 1; i < argc; i++) {
		struct folder_names names;
		struct err err;

		if (folder_list(&names, argv[i], ERR_INPUT, &err)) {
			fprintf(stderr, "%s\n", err.text);
			return 1;
		}
		for (size_t k = 0; k < names.n; k++) {
			char *path = path_join(argv[i], names.data[k]);

			MUST(path);
			n_inputs += replay_file(path);
			free(path);
		}
		n_files += names.n;
		folder_names_free(&names);
	}
	printf("%zu inputs from %zu files\n", n_inputs, n_files);
	return n_files > 0 ? 0 : 1;
}
