/* SPDX-License-Identifier: MIT
 *
 * jinja_render.c - renders what standard input asks for, for tests/test_jinja.py: lines of
 *
 *	{"template": "...", "variables": {...}, "date": "2024-07-26"}
 *
 * each answered by a line {"text": "..."} or {"error": "..."}; the date may be left out.
 *
 *	jinja_render --bench TEMPLATE VARIABLES TOKENIZER N
 *
 * renders the files' template N times and tokenizes the result N times, and prints microseconds of
 * each and their ratio. TOKENIZER: a tokenizer.json.
 */
#include "host/base/file.h"
#include "host/text/jinja/jinja.h"
#include "host/text/tokenizer.h"

#include <stdio.h>
#include <time.h>

static int render(const json_t *request, struct text *out, struct err *err)
{
	const json_t *template = json_object_get(request, "template");
	struct jinja *t = NULL;

	if (!json_is_string(template) || !json_is_object(json_object_get(request, "variables")))
		return err_set(err, ERR_INPUT, "expected a template and variables");
	TRY(jinja_parse(&t, "t", json_string_value(template), json_string_length(template), err));
	TRY(jinja_render(t, json_object_get(request, "variables"),
		json_string_value(json_object_get(request, "date")), out, err));
fail:
	jinja_free(t);
	return err->code;
}

static int answer(const char *line, size_t n)
{
	json_t *request, *reply;
	struct text out = {0};
	struct err err = {0};
	int rc = json_parse(&request, "request", line, n, &err);

	if (rc == 0)
		rc = render(request, &out, &err);
	reply = json_object();
	json_object_set_new(reply, rc ? "error" : "text",
		rc ? json_string_nocheck(err.text) : json_stringn(out.data ? out.data : "", out.n));
	json_dumpf(reply, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(reply);
	json_decref(request);
	free(out.data);
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int bench(char **argv, struct err *err)
{
	const long n = strtol(argv[3], NULL, 10);
	struct file_map source = {0};
	struct tokenizer *tok = NULL;
	struct jinja *t = NULL;
	struct token_ids ids = {0};
	struct text out = {0};
	json_t *variables = NULL;
	double start, rendering, tokenizing;

	err_clear(err);
	TRY(file_map_open(&source, argv[0], err));
	TRY(jinja_parse(&t, argv[0], (const char *)source.data, source.size, err));
	TRY(json_read(&variables, argv[1], err));
	TRY(tokenizer_open(&tok, argv[2], err));
	start = now();
	for (long i = 0; i < n; i++) {
		out.n = 0;
		TRY(jinja_render(t, variables, "2024-07-26", &out, err));
	}
	rendering = now() - start;
	start = now();
	for (long i = 0; i < n; i++) {
		ids.n = 0;
		TRY(tokenizer_encode(tok, out.data, out.n, &ids, err));
	}
	tokenizing = now() - start;
	printf("%zu bytes, %zu tokens: rendering %.1f us, tokenizing %.1f us, ratio %.2f\n", out.n,
		ids.n, 1e6 * rendering / (double)n, 1e6 * tokenizing / (double)n,
		rendering / tokenizing);
fail:
	json_decref(variables);
	tokenizer_close(tok);
	jinja_free(t);
	file_map_close(&source);
	free(out.data);
	free(ids.data);
	return err->code;
}

int main(int argc, char **argv)
{
	struct err err = {0};
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (argc == 6 && strcmp(argv[1], "--bench") == 0) {
		if (bench(argv + 2, &err))
			fprintf(stderr, "jinja_render: %s\n", err.text);
		return err.code;
	}
	if (argc != 1) {
		fprintf(stderr, "usage: jinja_render [--bench TEMPLATE VARIABLES TOKENIZER N]\n");
		return ERR_CONFIG;
	}
	while ((n = getline(&line, &cap, stdin)) > 0) {
		answer(line, (size_t)n);
		fflush(stdout);
	}
	free(line);
	return 0;
}
