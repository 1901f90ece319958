/* SPDX-License-Identifier: MIT
 *
 * module_pattern.c - Contract: module_pattern.h.
 */
#include "host/model/module_pattern.h"

#include <stdio.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MAX_PATTERN = 2048, MAX_STEPS = 100000 /* a name has some 60 bytes */ };

bool module_ends_with(const char *name, const char *end)
{
	const size_t n = strlen(name), m = strlen(end);

	return m <= n && strcmp(name + n - m, end) == 0 && (m == n || name[n - m - 1] == '.');
}

static int match(const char *before, const char *pattern, const char *name, bool *fits,
	struct err *err)
{
	char text[MAX_PATTERN + 32];
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *limits;
	PCRE2_SIZE at;
	int number, rc;

	if (strlen(pattern) >= MAX_PATTERN)
		return err_set(err, ERR_INPUT,
			"expected a pattern of less than %d bytes, found %zu", MAX_PATTERN,
			strlen(pattern));
	snprintf(text, sizeof text, "%s%s)", before, pattern);
	code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
		PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_UTF, &number, &at, NULL);
	if (!code)
		return err_set(err, ERR_INPUT, "expected a regular expression, found \"%.200s\"",
			pattern);
	data = pcre2_match_data_create(1, NULL);
	limits = pcre2_match_context_create(NULL);
	if (limits)
		pcre2_set_match_limit(limits, MAX_STEPS);
	rc = data && limits ? pcre2_match(code, (PCRE2_SPTR)name, strlen(name), 0, 0, data, limits)
			    : PCRE2_ERROR_NOMEMORY;
	pcre2_match_context_free(limits);
	pcre2_match_data_free(data);
	pcre2_code_free(code);
	*fits = rc >= 0;
	if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
		return err_set(err, ERR_INPUT, "the pattern \"%.200s\" takes too long for %s",
			pattern, name);
	return 0;
}

int module_fits(const char *pattern, const char *name, bool *fits, struct err *err)
{
	return match("(?:", pattern, name, fits, err);
}

int module_end_fits(const char *pattern, const char *name, bool *fits, struct err *err)
{
	/* Plain names, of which there may be one for every module. */
	if (!strpbrk(pattern, "\\^$*+?()[]{}|")) {
		*fits = module_ends_with(name, pattern);
		return 0;
	}
	return match("(?:.*\\.)?(?:", pattern, name, fits, err);
}
