/* SPDX-License-Identifier: MIT
 *
 * test_text.c - prompt files and what counts as a refusal.
 */
#include "host/text/prompts.h"
#include "host/text/refusal.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static const char *prompt_file(const char *content)
{
	static char path[512];
	FILE *file;

	snprintf(path, sizeof path, "%s/prompts.json", test_scratch_folder());
	file = fopen(path, "wb");
	if (!file || fputs(content, file) < 0)
		test_fail(__FILE__, __LINE__, "%s: cannot write", path);
	if (file)
		fclose(file);
	return path;
}

static const char TEN[] =
	"[{\"instruction\":\"0\",\"category\":\"a\"},{\"instruction\":\"1\",\"category\":\"b\"},"
	"{\"instruction\":\"2\",\"category\":\"a\"},{\"instruction\":\"3\",\"category\":null},"
	"{\"instruction\":\"4\"},{\"instruction\":\"5\",\"category\":\"a\"},"
	"{\"instruction\":\"6\",\"category\":\"b\"},{\"instruction\":\"7\",\"category\":\"a\"},"
	"{\"instruction\":\"8\",\"category\":\"b\"},{\"instruction\":\"9\",\"category\":\"a\"}]";

/* The chosen instructions in order, as one text of digits. */
static void chosen(struct prompt_selection selection, char *out)
{
	struct prompt_set set;
	struct err err = {0};

	out[0] = '\0';
	REQUIRE_OK(prompt_set_read(&set, prompt_file(TEN), &selection, &err), &err);
	for (size_t i = 0; i < set.n; i++) {
		CHECK((size_t)(set.items[i].text[0] - '0') == set.items[i].record,
			"record %zu is \"%s\"", set.items[i].record, set.items[i].text);
		strcat(out, set.items[i].text);
	}
	prompt_set_free(&set);
}

TEST(prompts_are_selected_by_category_and_limit_in_the_order_of_the_file)
{
	char found[16];

	chosen((struct prompt_selection){0}, found);
	CHECK(strcmp(found, "0123456789") == 0, "%s", found);
	chosen((struct prompt_selection){.category = "a"}, found);
	CHECK(strcmp(found, "02579") == 0, "%s", found);
	chosen((struct prompt_selection){.category = "b", .limit = 2}, found);
	CHECK(strcmp(found, "16") == 0, "%s", found);
}

TEST(a_shuffle_keeps_every_prompt_and_depends_on_its_seed_alone)
{
	char one[16], again[16], other[16];
	bool seen[10] = {false};

	chosen((struct prompt_selection){.shuffle = true, .seed = 1}, one);
	chosen((struct prompt_selection){.shuffle = true, .seed = 1}, again);
	chosen((struct prompt_selection){.shuffle = true, .seed = 2}, other);
	CHECK(strcmp(one, again) == 0, "%s and %s", one, again);
	CHECK(strcmp(one, other) != 0, "two seeds give %s", one);
	for (size_t i = 0; one[i]; i++)
		seen[one[i] - '0'] = true;
	for (int i = 0; i < 10; i++)
		CHECK(seen[i], "prompt %d is lost", i);
}

TEST(bad_prompt_files_are_refused_with_the_record)
{
	static const struct {
		const char *content, *message;
	} cases[] = {
		{"{}", "expected an array of {\"instruction\": ...}, found an object"},
		{"[{\"instruction\":\"x\"},{\"instruction\":\" \\n\"}]",
			"record 1: its instruction is empty"},
		{"[{\"instruction\":7}]",
			"record 0: expected a string \"instruction\", found an integer"},
		{"[{\"text\":\"x\"}]", "record 0: expected a string \"instruction\", found nothing"},
		{"[{\"instruction\":\"a\\u0000b\"}]", "record 0: its instruction holds a zero byte"},
		{"[]", "no prompt"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *path = prompt_file(cases[i].content);
		struct prompt_set set;
		struct err err = {0};
		char expected[1024];

		snprintf(expected, sizeof expected, "%s: %s", path, cases[i].message);
		CHECK(prompt_set_read(&set, path, &(struct prompt_selection){0}, &err) == ERR_INPUT,
			"case %zu: code %d", i, err.code);
		CHECK(strcmp(err.text, expected) == 0, "case %zu says %s", i, err.text);
	}
}

TEST(a_refusal_is_found_anywhere_and_in_any_case)
{
	static const char *const substrings[] = {"I cannot", "I can\u2019t", "as an AI"};

	CHECK(is_refusal("Sorry. i CANNOT do that.", substrings, 3), "case matters");
	CHECK(is_refusal("No: I can\u2019t.", substrings, 3), "a typographic apostrophe is lost");
	CHECK(is_refusal("As an ai, no", substrings, 3), "the start is not searched");
	CHECK(!is_refusal("I can not", substrings, 3), "a near miss counts");
	CHECK(!is_refusal("I canno", substrings, 3), "a cut text counts");
	CHECK(!is_refusal("", substrings, 3), "an empty text counts");
}
