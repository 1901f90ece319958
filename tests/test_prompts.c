/* SPDX-License-Identifier: MIT
 *
 * test_prompts.c - prompt files in every format, the selection among their records, and the one
 * clear error for each way a file can be wrong. Published sets are read where they lie in
 * ../shared/data/prompts: their counts and the SHA-256 of all prompts joined by line feeds are
 * those of Python's csv, json and ast modules.
 */
#include "host/base/vec.h"
#include "host/text/csv.h"
#include "host/text/prompt_take.h"
#include "host/text/python_list.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

/* Reads `content` under `name`; the texts of the prompts, separated by '|', go to `out`. Returns
 * the error code. */
static int texts_of(const char *name, const char *content, struct prompt_selection selection,
	char *out, size_t size, struct err *err)
{
	struct prompt_set set;
	size_t n = 0;
	int rc = prompt_set_parse(&set, name, content, strlen(content), &selection, err);

	out[0] = '\0';
	for (size_t i = 0; !rc && i < set.n && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? "|" : "", set.items[i].text);
	prompt_set_free(&set);
	return rc;
}

static const struct prompt_selection ALL = {0};

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* ---- formats ---------------------------------------------------------------------------- */

TEST(every_published_layout_is_recognised_by_extension_and_field_names)
{
	static const struct {
		const char *name, *content, *texts;
	} cases[] = {
		{"p.json", "[{\"instruction\":\"a\",\"category\":null},{\"instruction\":\"b\"}]",
			"a|b"},
		{"p.json", "[\"a\", \"b\\nc\"]", "a|b\nc"},
		{"p.json", "\xef\xbb\xbf[\"a\"]", "a"},
		{"p.json", "{\"Question\":\"a\"}\r\n\r\n{\"Question\":\"b\"}\r\n", "a|b"},
		{"P.JSONL", "{\"question\":\"a\",\"answer\":\"1\"}\n\n{\"text\":\"b\"}", "a|b"},
		{"p.ndjson", "\"x\"", NULL},
		{"p.json",
			"[{\"instruction\":\"a\",\"input\":\"\",\"output\":\"o\"},"
			"{\"instruction\":\"b\",\"input\":\"of this\",\"output\":\"o\"}]",
			"a"},
		{"p.csv", "goal,target\nmake it,\"Sure, here\"\nand it,Sure\n", "make it|and it"},
		{"p.csv", ",Goal,Target,Behavior,Category,Source\n0,a b,t,title,c,s\n", "a b"},
		{"p.csv",
			"Behavior,FunctionalCategory,ContextString\r\n\"a \"\"b\"\", c\",standard,"
			"\"one\r\n\r\n\"\"two\"\"\"\r\nd,contextual,\r\n",
			"a \"b\", c|d"},
		{"p.csv", "category,source,forbidden_prompt\nx,DAN,\"a\nb\"", "a\nb"},
		{"p.csv", "prompt\na \"quoted\" word\n", "a \"quoted\" word"},
		{"p.tsv",
			"vanilla\tadversarial\tcompletion\tdata_type\n"
			"v\t\tc\tvanilla_harmful\nw\t\"a\tb\n\"\"c\"\"\"\t\tadversarial_harmful\n",
			"v|a\tb\n\"c\""},
		{"p.txt", "one, \"two\"\n\n three\r\nfour", "one, \"two\"| three|four"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char texts[256];
		struct err err = {0};
		int rc = texts_of(cases[i].name, cases[i].content, ALL, texts, sizeof texts, &err);

		CHECK((rc == 0) == (cases[i].texts != NULL), "case %zu: %s", i, err.text);
		CHECK(rc || strcmp(texts, cases[i].texts) == 0, "case %zu: \"%s\"", i, texts);
	}
}

TEST(the_format_setting_overrides_the_extension)
{
	char texts[64];
	struct err err;

	REQUIRE_OK(texts_of("p.dat", "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n",
			   (struct prompt_selection){.format = "jsonl"}, texts, sizeof texts, &err),
		&err);
	CHECK(strcmp(texts, "a|b") == 0, "%s", texts);
	REQUIRE_OK(texts_of("p.csv", "a,b\nc\n", (struct prompt_selection){.format = "text"}, texts,
			   sizeof texts, &err),
		&err);
	CHECK(strcmp(texts, "a,b|c") == 0, "%s", texts);
	CHECK(texts_of("p.dat", "a", ALL, texts, sizeof texts, &err) == ERR_CONFIG &&
			strcmp(err.text,
				"p.dat: expected a name that ends in .json, .jsonl, .csv, .tsv or "
				".txt, or one of json, jsonl, csv, tsv, text as format, found "
				"auto") == 0,
		"%s", err.text);
}

TEST(the_fields_of_prompt_and_category_can_be_named)
{
	const char table[] = "id,ask,topic,instruction\n1,a,x,b\n2,c,y,d\n";
	struct prompt_set set;
	struct err err;

	REQUIRE_OK(prompt_set_parse(&set, "p.csv", table, sizeof table - 1,
			   &(struct prompt_selection){.text_field = "ask",
				   .category_field = "topic"},
			   &err),
		&err);
	CHECK(set.n == 2 && strcmp(set.items[1].text, "c") == 0 &&
			strcmp(set.items[1].category, "y") == 0,
		"the second prompt is %s (%s)", set.items[1].text, set.items[1].category);
	prompt_set_free(&set);
}

TEST(suffixes_are_a_prompt_each_and_keep_their_base)
{
	static const char *const files[] = {
		"goal,response\n"
		"do it,\"['now', \"\"it's\"\", 'a\\n\\x41\\'\\u00e9\\q',]\"\nrest,[]\nlast,[\"x\"]\n",
		"[{\"goal\":\"do it\",\"response\":[\"now\",\"it's\",\"a\\nA'\\u00e9\\\\q\"]},"
		"{\"goal\":\"rest\",\"response\":[]},{\"goal\":\"last\",\"response\":[\"x\"]}]",
	};
	static const char *const texts[] = {"do it now", "do it it's", "do it a\nA'\xc3\xa9\\q",
		"last x"};

	for (int f = 0; f < 2; f++) {
		struct prompt_set set;
		struct err err;

		REQUIRE_OK(prompt_set_parse(&set, f ? "p.json" : "p.csv", files[f],
				   strlen(files[f]),
				   &(struct prompt_selection){.suffix_field = "response"}, &err),
			&err);
		REQUIRE(set.n == 4, "%zu prompts", set.n);
		for (size_t i = 0; i < 4; i++) {
			const struct prompt *p = &set.items[i];

			CHECK(strcmp(p->text, texts[i]) == 0, "file %d: prompt %zu is \"%s\"", f, i,
				p->text);
			CHECK(strncmp(p->text, p->base, strlen(p->base)) == 0 &&
					strcmp(p->text + strlen(p->base) + 1, p->suffix) == 0,
				"\"%s\" is not \"%s\" + \"%s\"", p->text, p->base, p->suffix);
			CHECK(p->record == (i < 3 ? 0 : 2), "prompt %zu of record %zu", i,
				p->record);
		}
		prompt_set_free(&set);
	}
}

TEST(a_set_is_taken_as_its_bases_or_word_by_word)
{
	static const char table[] = "goal,response,category\n"
				    "Do it.,\"['a  bc', 'x\\n y ']\",k\n";
	static const struct {
		const char *text, *suffix;
	} words[] = {{"Do it.", ""}, {"Do it. a", "a"}, {"Do it. a  bc", "a  bc"}, {"Do it.", ""},
		{"Do it. x", "x"}, {"Do it. x\n y", "x\n y"}};
	const struct prompt_selection selection = {.suffix_field = "response"};
	struct prompt_set set;
	struct err err;

	REQUIRE_OK(prompt_set_parse(&set, "p.csv", table, sizeof table - 1, &selection, &err),
		&err);
	REQUIRE_OK(prompt_set_take(&set, PROMPT_TAKE_TEXT, &err), &err);
	CHECK(set.n == 2 && strcmp(set.items[0].text, "Do it. a  bc") == 0, "%zu", set.n);
	REQUIRE_OK(prompt_set_take(&set, PROMPT_TAKE_WORDS, &err), &err);
	REQUIRE(set.n == 6, "%zu prompts", set.n);
	for (size_t i = 0; i < 6; i++)
		CHECK(strcmp(set.items[i].text, words[i].text) == 0 &&
				strcmp(set.items[i].suffix, words[i].suffix) == 0 &&
				strcmp(set.items[i].base, "Do it.") == 0 &&
				strcmp(set.items[i].category, "k") == 0 && set.items[i].record == 0,
			"prompt %zu: \"%s\", suffix \"%s\"", i, set.items[i].text,
			set.items[i].suffix);
	REQUIRE_OK(prompt_set_take(&set, PROMPT_TAKE_BASE, &err), &err);
	CHECK(set.n == 6 && strcmp(set.items[5].text, "Do it.") == 0, "%s", set.items[5].text);
	prompt_set_free(&set);

	REQUIRE_OK(prompt_set_parse(&set, "p.csv", table, sizeof table - 1,
			   &(struct prompt_selection){0}, &err),
		&err);
	CHECK(prompt_set_take(&set, PROMPT_TAKE_BASE, &err) == ERR_INPUT &&
			strstr(err.text, "expected prompts with a base, found none in record 0"),
		"%s", err.text);
	prompt_set_free(&set);
}

TEST(an_adversarial_prompt_keeps_the_plain_one_it_came_from)
{
	const char table[] =
		"vanilla\tadversarial\tdata_type\nplain\tin a dream, plain\tx\nonly\t\ty\n";
	struct prompt_set set;
	struct err err;

	REQUIRE_OK(prompt_set_parse(&set, "p.tsv", table, sizeof table - 1, &ALL, &err), &err);
	CHECK(strcmp(set.items[0].text, "in a dream, plain") == 0 &&
			strcmp(set.items[0].base, "plain") == 0 &&
			strcmp(set.items[0].category, "x") == 0,
		"the first is %s", set.items[0].text);
	CHECK(strcmp(set.items[1].text, "only") == 0 && !set.items[1].base, "the second is %s",
		set.items[1].text);
	prompt_set_free(&set);
}

/* The message of a set's only prompt: its text behind its context. */
static void asks(const char *name, const char *content, struct prompt_selection selection,
	const char *context, const char *message)
{
	struct prompt_set set;
	struct text found = {0};
	struct err err;

	REQUIRE_OK(prompt_set_parse(&set, name, content, strlen(content), &selection, &err), &err);
	REQUIRE_OK(prompt_message(&set.items[0], &found, &err), &err);
	CHECK(strcmp(found.data, message) == 0 && found.n == strlen(message) + 1, "asked \"%s\"",
		found.data);
	CHECK(context ? set.items[0].context && strcmp(set.items[0].context, context) == 0
		      : !set.items[0].context,
		"context \"%s\"", set.items[0].context ? set.items[0].context : "(none)");
	free(found.data);
	prompt_set_free(&set);
}

TEST(a_context_is_put_before_its_request_as_harmbench_does)
{
	static const char table[] = "Behavior,ContextString\r\ndo,\"of\r\n\"\"x\"\"\"\r\n";
	static const char json[] = "[{\"instruction\":\"do\",\"context\":\"of x\"}]";
	static const char suffixes[] = "Behavior,ContextString,s\ndo,of,\"['a b']\"\n";
	struct prompt_set set;
	struct err err;

	asks("p.csv", table, ALL, "of\r\n\"x\"", "of\r\n\"x\"\n\n---\n\ndo");
	asks("p.csv", table, (struct prompt_selection){.no_context = true}, NULL, "do");
	asks("p.csv", "Behavior,ContextString\r\ndo,\r\n", ALL, NULL, "do");
	asks("p.csv", "Behavior,ContextString\r\ndo, \r\n", ALL, NULL, "do");
	asks("p.json", "[{\"instruction\":\"do\",\"ContextString\":null}]", ALL, NULL, "do");
	/* Other sets have a field of that name for other things. */
	asks("p.json", json, ALL, NULL, "do");
	asks("p.json", json, (struct prompt_selection){.context_field = "context"}, "of x",
		"of x\n\n---\n\ndo");
	asks("p.csv", suffixes, (struct prompt_selection){.suffix_field = "s"}, "of",
		"of\n\n---\n\ndo a b");
	REQUIRE_OK(prompt_set_parse(&set, "p.csv", suffixes, sizeof suffixes - 1,
			   &(struct prompt_selection){.suffix_field = "s"}, &err),
		&err);
	REQUIRE_OK(prompt_set_take(&set, PROMPT_TAKE_WORDS, &err), &err);
	REQUIRE(set.n == 3, "%zu prompts", set.n);
	for (size_t i = 0; i < set.n; i++)
		CHECK(set.items[i].context && strcmp(set.items[i].context, "of") == 0, "prompt %zu",
			i);
	prompt_set_free(&set);
}

TEST(answers_are_the_number_of_gsm8k_the_letter_of_arc_or_the_text)
{
	static const struct {
		const char *line, *text, *answer;
	} cases[] = {
		{"{\"question\":\"How many?\",\"answer\":\"2 + 2 = 4\\n#### 1,234\"}", "How many?",
			"1234"},
		{"{\"question\":\"Where?\",\"answer\":\"Paris, there\"}", "Where?", "Paris, there"},
		{"{\"question\":\"How many?\",\"answer\":7}", "How many?", "7"},
		{"{\"id\":\"1\",\"question\":{\"stem\":\"Which?\",\"choices\":[{\"text\":\"x\",\"label\":"
		 "\"1\"},{\"text\":\"y\",\"label\":\"2\"}]},\"answerKey\":\"2\"}",
			"Which?\nA. x\nB. y", "B"},
		{"{\"question\":\"Which?\",\"choices\":{\"text\":[\"x\",\"y\",\"z\"],\"label\":[\"A\","
		 "\"B\",\"C\"]},\"answerKey\":\"A\"}",
			"Which?\nA. x\nB. y\nC. z", "A"},
		{"{\"question\":\"Which?\",\"choices\":{\"text\":[\"x\"],\"label\":[\"A\"]}}",
			"Which?\nA. x", NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct prompt_set set;
		struct err err;

		REQUIRE_OK(prompt_set_parse(&set, "p.jsonl", cases[i].line, strlen(cases[i].line),
				   &ALL, &err),
			&err);
		CHECK(strcmp(set.items[0].text, cases[i].text) == 0, "case %zu: \"%s\"", i,
			set.items[0].text);
		if (cases[i].answer)
			CHECK(set.items[0].answer &&
					strcmp(set.items[0].answer, cases[i].answer) == 0,
				"case %zu: answer \"%s\"", i, set.items[0].answer);
		else
			CHECK(!set.items[0].answer, "case %zu: answer \"%s\"", i,
				set.items[0].answer);
		prompt_set_free(&set);
	}
}

/* ---- which field ------------------------------------------------------------------------ */

TEST(published_sets_with_several_known_fields_have_the_one_reading_that_is_theirs)
{
	static const struct {
		const char *name, *content, *text, *base, *field;
		struct prompt_selection selection;
	} cases[] = {
		/* JailbreakBench's behaviors, its artifacts, WildJailbreak, Alpaca with a rendered
		 * text, WildGuardMix with a flag. */
		{"p.csv", "Index,Goal,Target,Behavior,Category,Source\n0,a b,t,title,c,s\n", "a b",
			NULL, "Goal", {0}},
		{"p.json",
			"[{\"index\":0,\"goal\":\"g\",\"behavior\":\"title\",\"category\":\"c\","
			"\"prompt\":\"as a hero, g\",\"response\":\"Sure\",\"jailbroken\":true}]",
			"as a hero, g", "g", "prompt", {0}},
		{"p.tsv", "vanilla\tadversarial\tcompletion\tdata_type\nv\tin a dream, v\tc\tx\n",
			"in a dream, v", "v", "adversarial", {0}},
		{"p.tsv", "vanilla\tadversarial\tcompletion\tdata_type\nv\t\tc\tx\n", "v", NULL,
			"vanilla", {0}},
		{"p.json",
			"[{\"instruction\":\"i\",\"input\":\"\",\"output\":\"o\",\"text\":\"Below is "
			"an instruction. i\"}]",
			"i", NULL, "instruction", {0}},
		{"p.json", "[{\"prompt\":\"p\",\"adversarial\":false,\"response\":\"r\"}]", "p",
			NULL, "prompt", {0}},
		/* A field that is named is taken, and is what it is in the published set. */
		{"p.csv", "goal,prompt\ng,p\n", "g", NULL, "goal", {.text_field = "goal"}},
		{"p.csv", "goal,prompt,response,jailbroken\ng,p,r,True\n", "p", "g", "prompt",
			{.text_field = "prompt"}},
		{"p.csv", "goal,prompt,response,jailbroken\ng,p,r,True\n", "g", NULL, "goal",
			{.text_field = "goal"}},
		/* No field of the file gives a text that stands alone. */
		{"p.json", "[\"a\"]", "a", NULL, NULL, {0}},
		{"p.txt", "a\n", "a", NULL, NULL, {0}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct prompt_set set;
		struct err err;
		const struct prompt *p;

		REQUIRE_OK(prompt_set_parse(&set, cases[i].name, cases[i].content,
				   strlen(cases[i].content), &cases[i].selection, &err),
			&err);
		p = set.items;
		CHECK(set.n == 1 && strcmp(p->text, cases[i].text) == 0, "case %zu: \"%s\"", i,
			p->text);
		CHECK(same(p->base, cases[i].base), "case %zu: base \"%s\"", i, p->base);
		CHECK(same(p->field, cases[i].field), "case %zu: field \"%s\"", i, p->field);
		prompt_set_free(&set);
	}
}

TEST(fields_that_could_both_be_meant_are_an_error_that_names_them_and_the_setting)
{
	static const struct {
		const char *content, *message;
	} cases[] = {
		{"[{\"goal\":\"g\",\"prompt\":\"p\"}]",
			"one field that can be the prompt, found \"goal\" and \"prompt\"; text_field says "
			"which is meant"},
		/* Not an artifact without its response and flag; not JailbreakBench without Target.
		 */
		{"[{\"goal\":\"g\",\"behavior\":\"b\",\"prompt\":\"p\",\"response\":\"r\"}]",
			"one field that can be the prompt, found \"goal\", \"behavior\" and \"prompt\"; "
			"text_field says which is meant"},
		{"[{\"Goal\":\"g\",\"Behavior\":\"b\"}]",
			"one field that can be the prompt, found \"Goal\" and \"Behavior\"; text_field says "
			"which is meant"},
		/* A null may be a value that only this record lacks. */
		{"[{\"prompt\":null,\"text\":\"t\"}]",
			"one field that can be the prompt, found \"prompt\" and \"text\"; text_field says "
			"which is meant"},
		{"[{\"prompt\":\"p\",\"messages\":[{\"role\":\"user\",\"content\":\"p\"}]}]",
			"one field that can be the prompt, found \"prompt\" and \"messages\"; text_field "
			"says which is meant"},
		{"[{\"prompt\":\"p\",\"category\":\"c\",\"SemanticCategory\":\"s\"}]",
			"one field that can be the category, found \"category\" and \"SemanticCategory\"; "
			"category_field says which is meant"},
		{"[{\"prompt\":\"p\",\"system\":\"c\",\"system_prompt\":\"s\"}]",
			"one field that can be the system text, found \"system\" and \"system_prompt\"; "
			"system_field says which is meant"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char texts[64], message[512];
		struct err err = {0};

		snprintf(message, sizeof message, "p.json: record 0: expected %s",
			cases[i].message);
		CHECK(texts_of("p.json", cases[i].content, ALL, texts, sizeof texts, &err) ==
					ERR_INPUT &&
				strcmp(err.text, message) == 0,
			"case %zu says %s", i, err.text);
	}
}

TEST(an_input_is_left_out_and_counted_appended_or_ignored_as_the_set_says)
{
	static const char file[] =
		"[{\"instruction\":\"a\",\"input\":\"of\\nthis\"},"
		"{\"instruction\":\"b\",\"input\":\" \"},"
		"{\"instruction\":\"c\",\"input\":null},{\"instruction\":\"d\"}]";
	static const char *const texts[] = {[PROMPT_INPUT_LEAVE_OUT] = "b|c|d",
		[PROMPT_INPUT_APPEND] = "a\n\nof\nthis|b|c|d",
		[PROMPT_INPUT_IGNORE] = "a|b|c|d"};
	char found[64];
	struct err err;

	for (int i = 0; i < 3; i++) {
		/* Also where the field is named. */
		for (int named = 0; named < 2; named++) {
			const struct prompt_selection s = {.input = (enum prompt_input)i,
				.text_field = named ? "instruction" : NULL};

			REQUIRE_OK(texts_of("p.json", file, s, found, sizeof found, &err), &err);
			CHECK(strcmp(found, texts[i]) == 0, "%d: %s", i, found);
		}
	}
	CHECK(texts_of("p.json", "[{\"instruction\":\"a\",\"input\":[1]}]", ALL, found,
		      sizeof found, &err) == ERR_INPUT &&
			strcmp(err.text,
				"p.json: record 0: expected a string \"input\", found an array") ==
				0,
		"%s", err.text);
}

TEST(cells_that_stand_for_a_missing_value_are_refused_unless_they_are_texts)
{
	static const char *const missing[] = {"nan", "NaN", "NAN", "None", "null", "NULL", "N/A",
		"n/a", "NA", "#N/A", "#NA", "<NA>", " nan "};
	static const char *const texts[] = {"nanny", "none", "Nan", "N", "an N/A", "-"};
	static const char *const columns[] = {"goal", "category", "answer", "ContextString",
		"system"};
	char file[128], found[64], message[256];
	struct err err;

	for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
		snprintf(file, sizeof file, "goal\nx\n%s\n", missing[i]);
		snprintf(message, sizeof message,
			"p.csv:3: expected a text as its goal, found \"%s\", which stands for a "
			"missing value (na_is_text = true takes it as it is)",
			missing[i]);
		CHECK(texts_of("p.csv", file, ALL, found, sizeof found, &err) == ERR_INPUT &&
				strcmp(err.text, message) == 0,
			"\"%s\" says %s", missing[i], err.text);
		REQUIRE_OK(texts_of("p.csv", file, (struct prompt_selection){.na_is_text = true},
				   found, sizeof found, &err),
			&err);
		CHECK(strcmp(found + 2, missing[i]) == 0, "%s", found);
	}
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		snprintf(file, sizeof file, "goal\n%s\n", texts[i]);
		REQUIRE_OK(texts_of("p.csv", file, ALL, found, sizeof found, &err), &err);
	}
	for (size_t i = 1; i < sizeof columns / sizeof *columns; i++) {
		snprintf(file, sizeof file, "goal,%s\nx,N/A\n", columns[i]);
		snprintf(message, sizeof message,
			"p.csv:2: expected a text as its %s, found \"N/A\"", columns[i]);
		CHECK(texts_of("p.csv", file, ALL, found, sizeof found, &err) == ERR_INPUT &&
				strncmp(err.text, message, strlen(message)) == 0,
			"%s", err.text);
	}
}

/* ---- system texts and conversations ------------------------------------------------------ */

TEST(a_system_text_comes_from_its_record_and_blank_ones_are_none)
{
	static const struct {
		const char *content, *system;
		struct prompt_selection selection;
	} cases[] = {
		{"[{\"prompt\":\"p\",\"system\":\"Be brief.\"}]", "Be brief.", {0}},
		{"[{\"question\":\"p\",\"system_prompt\":\"Be brief.\"}]", "Be brief.", {0}},
		{"[{\"prompt\":\"p\",\"system\":\" \"}]", NULL, {0}},
		{"[{\"prompt\":\"p\",\"system\":null}]", NULL, {0}},
		{"[{\"prompt\":\"p\",\"system\":\"x\",\"who\":\"y\"}]", "y",
			{.system_field = "who"}},
		{"[{\"prompt\":\"p\",\"system\":\"x\"}]", NULL, {.no_system = true}},
		{"[{\"prompt\":\"p\",\"system\":\"x\",\"r\":[\"q\"]}]", "x", {.suffix_field = "r"}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct prompt_set set;
		struct err err;

		REQUIRE_OK(prompt_set_parse(&set, "p.json", cases[i].content,
				   strlen(cases[i].content), &cases[i].selection, &err),
			&err);
		CHECK(same(set.items[0].system, cases[i].system), "case %zu: \"%s\"", i,
			set.items[0].system);
		if (cases[i].selection.suffix_field) {
			REQUIRE_OK(prompt_set_take(&set, PROMPT_TAKE_WORDS, &err), &err);
			CHECK(set.n == 2 && same(set.items[1].system, cases[i].system), "%zu",
				set.n);
		}
		prompt_set_free(&set);
	}
}

TEST(a_conversation_is_one_list_of_roles_and_contents_whatever_its_spelling)
{
#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define REPLY(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define SYSTEM(text) "{\"role\":\"system\",\"content\":\"" text "\"}"
	static const struct {
		const char *content, *messages, *text;
		struct prompt_selection selection;
	} cases[] = {
		{"[{\"messages\":[" SYSTEM("s") "," USER("a") "," REPLY("b") "," USER("c") "]}]",
			"[" SYSTEM("s") "," USER("a") "," REPLY("b") "," USER("c") "]", "c", {0}},
		/* ShareGPT; other keys stay. */
		{"[{\"conversations\":[{\"from\":\"system\",\"value\":\"s\"},{\"from\":\"human\","
		 "\"value\":\"a\",\"weight\":0},{\"from\":\"gpt\",\"value\":\"b\"},{\"from\":"
		 "\"human\",\"value\":\"c\"}]}]",
			"[" SYSTEM("s") ",{\"role\":\"user\",\"content\":\"a\",\"weight\":0}," REPLY(
				"b") "," USER("c") "]",
			"c", {0}},
		/* A prompt that is a list, as trainers take it; contents in parts. */
		{"[{\"prompt\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a \"},"
		 "{\"type\":\"text\",\"text\":\"b\\n\"}]}]}]",
			"[" USER("a b\\n") "]", "a b\n", {0}},
		/* Tools. */
		{"[{\"messages\":[" USER("a") ",{\"role\":\"assistant\",\"content\":null,"
					      "\"tool_calls\":[{\"id\":1}]},{\"role\":\"tool\","
					      "\"name\":\"f\",\"content\":\"7\"}," USER("b") "]}]",
			"[" USER("a") ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
				      "{\"id\":1}]},{\"role\":\"tool\",\"content\":\"7\",\"name\":"
				      "\"f\"}," USER("b") "]",
			"b", {0}},
		/* A system text of its own is the first message. */
		{"[{\"messages\":[" USER("a") "],\"system\":\"s\"}]",
			"[" SYSTEM("s") "," USER("a") "]", "a", {0}},
		{"[{\"messages\":[" SYSTEM("t") "," USER("a") "],\"system\":\"s\"}]",
			"[" SYSTEM("t") "," USER("a") "]", "a", {.no_system = true}},
		/* The last reply. */
		{"[{\"messages\":[" USER("a") "," REPLY("b") "]}]", "[" USER("a") "]", "a",
			{.last_reply = PROMPT_LAST_REPLY_DROP}},
		{"[{\"messages\":[" USER("a") "," REPLY("Sure") "]}]",
			"[" USER("a") "," REPLY("Sure") "]", "a",
			{.last_reply = PROMPT_LAST_REPLY_BEGIN}},
		{"[{\"messages\":[" USER("a") "]}]", "[" USER("a") "]", "a",
			{.last_reply = PROMPT_LAST_REPLY_DROP}},
		/* A field that is named may hold one, and beside it a text may stand. */
		{"[{\"prompt\":\"p\",\"messages\":[" USER("a") "]}]", "[" USER("a") "]", "a",
			{.text_field = "messages"}},
		{"[{\"prompt\":\"p\",\"messages\":[" USER("a") "]}]", NULL, "p",
			{.text_field = "prompt"}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct prompt_set set;
		struct err err;

		REQUIRE_OK(prompt_set_parse(&set, "p.json", cases[i].content,
				   strlen(cases[i].content), &cases[i].selection, &err),
			&err);
		CHECK(same(set.items[0].messages, cases[i].messages), "case %zu: %s", i,
			set.items[0].messages);
		CHECK(strcmp(set.items[0].text, cases[i].text) == 0, "case %zu: \"%s\"", i,
			set.items[0].text);
		CHECK(!set.items[0].system, "case %zu: system \"%s\"", i, set.items[0].system);
		prompt_set_free(&set);
	}
}

TEST(each_fault_of_a_conversation_is_named_with_its_message)
{
	static const struct {
		const char *fields, *message;
		struct prompt_selection selection;
	} cases[] = {
		{"\"messages\":[" USER("a") "," REPLY("b") "]",
			"message 1 of \"messages\": expected the user's as the last, found the assistant's; "
			"last_reply = \"drop\" leaves it out, \"begin\" has replies go on from it",
			{0}},
		{"\"messages\":[" USER("a") "," REPLY("") "]",
			"message 1 of \"messages\": expected text that begins the reply, found none",
			{.last_reply = PROMPT_LAST_REPLY_BEGIN}},
		{"\"messages\":[" USER("a") "," REPLY("b") "," REPLY("c") "]",
			"message 1 of \"messages\": expected the user's as the last, found assistant",
			{.last_reply = PROMPT_LAST_REPLY_DROP}},
		{"\"messages\":[" USER("a") "," SYSTEM("b") "]",
			"message 1 of \"messages\": expected the user's as the last, found system",
			{0}},
		{"\"messages\":[" REPLY("b") "]",
			"expected a user's message in \"messages\", found none",
			{.last_reply = PROMPT_LAST_REPLY_BEGIN}},
		{"\"messages\":[]", "expected messages in \"messages\", found none", {0}},
		{"\"messages\":[7]",
			"message 0 of \"messages\": expected an object, found an integer", {0}},
		{"\"messages\":\"a\"", "expected a list of messages \"messages\", found a string",
			{0}},
		{"\"messages\":{}", "expected a list of messages \"messages\", found an object",
			{0}},
		{"\"messages\":[" USER(" ") "]",
			"message 0 of \"messages\": expected text, found none", {0}},
		{"\"messages\":[" USER("a\\u0000") "]",
			"message 0 of \"messages\": expected a text, found one that holds a zero byte",
			{0}},
		{"\"messages\":[{\"role\":\"user\",\"content\":null}]",
			"message 0 of \"messages\": expected a text, found null", {0}},
		{"\"messages\":[{\"role\":\"bot\",\"content\":\"a\"}]",
			"message 0 of \"messages\": expected as the role system, developer, user (or "
			"human), assistant (or gpt) or tool, found \"bot\"",
			{0}},
		{"\"messages\":[{\"content\":\"a\"}]",
			"message 0 of \"messages\": expected one of the keys \"role\" and \"from\", found "
			"none",
			{0}},
		{"\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"value\":\"b\"}]",
			"message 0 of \"messages\": expected one of the keys \"content\" and \"value\", "
			"found both",
			{0}},
		{"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]",
			"message 0 of \"messages\": expected parts {\"type\": \"text\", \"text\": ...} as "
			"content, found one of type \"image\"",
			{0}},
		{"\"messages\":[" SYSTEM("t") "," USER("a") "],\"system\":\"s\"",
			"expected one system text, found one in a field of its own and one in message 0 of "
			"\"messages\"; system = false leaves the field out",
			{0}},
		{"\"messages\":[" USER("a") "],\"ContextString\":\"s\"",
			"expected a conversation or a context, found \"messages\" and a context beside it; "
			"context = false leaves it out",
			{0}},
		{"\"messages\":[" USER("a") "],\"r\":[\"s\"]",
			"expected a text to put suffixes behind, found the conversation \"messages\"",
			{.suffix_field = "r"}},
		{"\"messages\":[" USER("None") "]",
			"expected a text as its messages, found \"None\", which stands for a missing value "
			"(na_is_text = true takes it as it is)",
			{0}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char file[512], texts[64], message[512];
		struct err err = {0};

		snprintf(file, sizeof file, "[{%s}]", cases[i].fields);
		snprintf(message, sizeof message, "p.json: record 0: %s", cases[i].message);
		CHECK(texts_of("p.json", file, cases[i].selection, texts, sizeof texts, &err) ==
					ERR_INPUT &&
				strcmp(err.text, message) == 0,
			"case %zu says %s", i, err.text);
	}
}

/* ---- selection -------------------------------------------------------------------------- */

TEST(what_was_taken_and_every_record_left_out_is_counted_by_reason)
{
	static const char *const kind_x[] = {"kind=x"};
	static const struct {
		const char *name, *content;
		struct prompt_selection selection;
		size_t n, n_records, left_out[N_PROMPT_LEFT_OUT];
		const char *described;
	} cases[] = {
		{"p.csv", "goal,kind\na,x\nb,y\nc,x\nd,x\n",
			{.where = kind_x, .n_where = 1, .limit = 2}, 2, 4,
			{[PROMPT_LEFT_OUT_WHERE] = 1, [PROMPT_LEFT_OUT_LIMIT] = 1},
			"field \"goal\", of 4 records left out: 1 by where, 1 beyond the limit"},
		{"p.json",
			"[{\"instruction\":\"a\",\"input\":\"x\"},{\"instruction\":\"b\",\"input\":\"\"}]",
			{0}, 1, 2, {[PROMPT_LEFT_OUT_INPUT] = 1},
			"field \"instruction\", of 2 records left out: 1 with an input"},
		{"p.json",
			"[{\"goal\":\"g\",\"prompt\":null,\"response\":null,\"jailbroken\":false},"
			"{\"goal\":\"g\",\"prompt\":\"p\",\"response\":\"r\",\"jailbroken\":true}]",
			{0}, 1, 2, {[PROMPT_LEFT_OUT_EMPTY] = 1},
			"field \"prompt\", of 2 records left out: 1 with an empty prompt"},
		{"p.csv", "goal,s\na,\"['x', 'y', 'z']\"\nb,[]\n",
			{.suffix_field = "s", .limit = 2}, 2, 2,
			{[PROMPT_LEFT_OUT_SUFFIX] = 1, [PROMPT_LEFT_OUT_LIMIT] = 1},
			"field \"goal\", of 2 records left out: 1 with no suffix, 1 beyond the limit"},
		{"p.tsv", "vanilla\tadversarial\nv\tw\nv\t\nv\tu\n", {0}, 3, 3, {0},
			"2 of field \"adversarial\", 1 of field \"vanilla\", of 3 records none left out"},
		{"p.txt", "a\n", {0}, 1, 1, {0}, "of 1 record none left out"},
		{"p.json",
			"[{\"messages\":[" USER("a") "]},{\"text\":\"b\",\"ContextString\":\"c\","
						     "\"system\":\"s\"}]",
			{0}, 2, 2, {0},
			"1 of field \"messages\", 1 of field \"text\", 1 with a context, 1 with a system "
			"text, 1 conversation, of 2 records none left out"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct prompt_set set;
		struct text described = {0};
		struct err err;

		REQUIRE_OK(prompt_set_parse(&set, cases[i].name, cases[i].content,
				   strlen(cases[i].content), &cases[i].selection, &err),
			&err);
		CHECK(set.n == cases[i].n && set.counts.n_records == cases[i].n_records,
			"case %zu: %zu of %zu", i, set.n, set.counts.n_records);
		CHECK(memcmp(set.counts.left_out, cases[i].left_out, sizeof cases[i].left_out) == 0,
			"case %zu: other numbers", i);
		REQUIRE_OK(prompt_set_take(&set,
				   cases[i].selection.suffix_field ? PROMPT_TAKE_WORDS
								   : PROMPT_TAKE_TEXT,
				   &err),
			&err);
		REQUIRE_OK(prompt_set_describe(&set, &described, &err), &err);
		CHECK(strcmp(described.data, cases[i].described) == 0, "case %zu: %s", i,
			described.data);
		free(described.data);
		prompt_set_free(&set);
	}
}

static const char TEN[] =
	"[{\"instruction\":\"0\"},{\"instruction\":\"1\"},{\"instruction\":\"2\"},"
	"{\"instruction\":\"3\"},{\"instruction\":\"4\"},{\"instruction\":\"5\"},"
	"{\"instruction\":\"6\"},{\"instruction\":\"7\"},{\"instruction\":\"8\"},"
	"{\"instruction\":\"9\"}]";

/* The chosen instructions in order, as one text of digits. */
static void chosen(struct prompt_selection selection, char *out)
{
	struct prompt_set set;
	struct err err = {0};

	out[0] = '\0';
	REQUIRE_OK(prompt_set_parse(&set, "ten.json", TEN, sizeof TEN - 1, &selection, &err), &err);
	for (size_t i = 0; i < set.n; i++) {
		CHECK((size_t)(set.items[i].text[0] - '0') == set.items[i].record,
			"record %zu is \"%s\"", set.items[i].record, set.items[i].text);
		strcat(out, set.items[i].text);
	}
	prompt_set_free(&set);
}

TEST(a_limit_takes_the_first_prompts_of_the_file)
{
	char found[16];

	chosen((struct prompt_selection){0}, found);
	CHECK(strcmp(found, "0123456789") == 0, "%s", found);
	chosen((struct prompt_selection){.limit = 3}, found);
	CHECK(strcmp(found, "012") == 0, "%s", found);
	chosen((struct prompt_selection){.limit = 11}, found);
	CHECK(strcmp(found, "0123456789") == 0, "%s", found);
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

TEST(where_keeps_records_that_have_one_of_the_values_of_every_field_it_names)
{
	const char table[] = "prompt,kind,size\na,x,1\nb,y,1\nc,z,1\nd,x,2\ne,\"y=1\",2\n";
	const char json[] =
		"[{\"prompt\":\"a\",\"label\":1,\"ok\":true},{\"prompt\":\"b\",\"label\":0,"
		"\"ok\":true},{\"prompt\":\"c\",\"label\":1,\"ok\":null}]";
	char texts[64];
	struct err err;
	static const struct {
		const char *where[3], *texts;
		size_t n;
		bool json;
	} cases[] = {
		{{"kind=x"}, "a|d", 1, false},
		{{"kind=x", "kind=z"}, "a|c|d", 2, false},
		{{"kind=x", "size=1", "kind=y"}, "a|b", 3, false},
		{{"kind=y=1"}, "e", 1, false},
		{{"label=1"}, "a|c", 1, true},
		{{"label=1", "ok=true"}, "a", 2, true},
		{{"ok="}, "c", 1, true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct prompt_selection selection = {.where = cases[i].where,
			.n_where = cases[i].n};

		REQUIRE_OK(texts_of(cases[i].json ? "p.json" : "p.csv",
				   cases[i].json ? json : table, selection, texts, sizeof texts,
				   &err),
			&err);
		CHECK(strcmp(texts, cases[i].texts) == 0, "case %zu: %s", i, texts);
	}
}

/* ---- errors ----------------------------------------------------------------------------- */

TEST(each_fault_of_a_prompt_file_is_named_with_line_or_record_field_expected_and_found)
{
	static const char *const kind_x[] = {"kind=x"};
	static const struct {
		const char *name, *content, *message;
		struct prompt_selection selection;
	} cases[] = {
		{"p.json", "{}",
			"p.json: expected an array of {\"instruction\": ...}, found an object",
			{0}},
		{"p.json", "[{\"instruction\":\"x\"},{\"instruction\":\" \\n\"}]",
			"p.json: record 1: its instruction is empty", {0}},
		{"p.json", "[{\"instruction\":7}]",
			"p.json: record 0: expected a string \"instruction\", found an integer",
			{0}},
		{"p.json", "[{\"instruction\":\"x\",\"ContextString\":[\"y\"]}]",
			"p.json: record 0: expected a string \"ContextString\", found an array",
			{0}},
		{"p.json", "[{\"instruction\":\"x\"}]",
			"p.json: record 0: expected a field \"about\", found the fields instruction",
			{.context_field = "about"}},
		{"p.json", "[{\"ask\":\"x\",\"id\":1}]",
			"p.json: record 0: expected a prompt in a field of a known name (instruction, Goal, "
			"Behavior, forbidden_prompt, prompt, question, text, messages; else set text_field), found "
			"the fields ask, id",
			{0}},
		{"p.json", "[{}]", "p.json: record 0: expected a field \"ask\", found nothing",
			{.text_field = "ask"}},
		{"p.json", "[3]",
			"p.json: record 0: expected an object or a text, found an integer", {0}},
		{"p.json", "[{\"instruction\":\"a\\u0000b\"}]",
			"p.json: record 0: its instruction holds a zero byte", {0}},
		{"p.json", "[{\"instruction\":\"a\xff\"}]",
			"p.json:1: expected UTF-8, found byte 0xff at offset 18", {0}},
		{"p.json", "[\n{\"instruction\":\"a\",\"instruction\":\"b\"}]",
			"p.json:2:32: not valid JSON: duplicate object key near '\"instruction\"'",
			{0}},
		{"p.json", "[]",
			"p.json: expected a prompt, found none; of 0 records none left out", {0}},
		{"p.json", "", "p.json:1:0: not valid JSON: '[' or '{' expected near end of file",
			{0}},
		{"p.jsonl", "{\"text\":\"a\"}\n\n{\"text\":}\n",
			"p.jsonl:3:9: not valid JSON: unexpected token near '}'", {0}},
		{"p.jsonl", "{\"text\":\"a\"}\n[1]\n",
			"p.jsonl:2: expected an object or a text, found an array", {0}},
		{"p.jsonl", "{\"text\":\"a\"}\n{\"text\":\"\"}", "p.jsonl:2: its text is empty",
			{0}},
		{"p.csv", "goal,kind\na,y\n",
			"p.csv: expected a prompt, found none; of 1 record left out: 1 by where",
			{.where = kind_x, .n_where = 1}},
		{"p.csv", "goal,type\na,y\n",
			"p.csv:2: expected a field \"kind\", found the fields goal, "
			"type",
			{.where = kind_x, .n_where = 1}},
		{"p.csv", "goal,type\na,y\n",
			"p.csv:2: expected a field \"topic\", found the fields goal, "
			"type",
			{.category_field = "topic"}},
		{"p.csv", "goal,type\na,y\n",
			"p.csv:2: expected a field \"response\", found the fields "
			"goal, type",
			{.suffix_field = "response"}},
		{"p.csv", "goal,x\na,y\n\nb\n",
			"p.csv:4: expected 2 columns as in the header, found 1", {0}},
		{"p.csv", "goal,x\n\"a\nb\",y\n,z\n", "p.csv:4: its goal is empty", {0}},
		{"p.csv", "goal,goal\na,b\n",
			"p.csv:1: expected columns of different names, found \"goal\" twice", {0}},
		{"p.csv", "goal,x\na,\"b\nc\nd\n",
			"p.csv:2: column 2: expected a closing quote, found the end of the file",
			{0}},
		{"p.csv", "goal,x\n\"a\n\"b\",y\n",
			"p.csv:3: column 1: expected a comma or a line end behind the closing quote, found "
			"'b' (quotes inside a quoted field are doubled)",
			{0}},
		{"p.tsv", "goal\tx\n\"a\",b\ty\n",
			"p.tsv:2: column 1: expected a tab or a line end behind the closing quote, found "
			"',' (quotes inside a quoted field are doubled)",
			{0}},
		{"p.csv", "", "p.csv: expected a prompt, found none; of 0 records none left out",
			{0}},
		{"p.txt", "a\nb\x80", "p.txt:2: expected UTF-8, found byte 0x80 at offset 3", {0}},
		{"p.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:abc\n",
			"p.csv: this is a git-lfs pointer, not the prompts; fetch them with `git lfs pull` "
			"or `huggingface-cli download`",
			{0}},
		{"p.json", "PAR1\x15",
			"p.json: expected text, found a Parquet file; convert it to JSON "
			"lines",
			{0}},
		{"p.jsonl", "\x28\xb5\x2f\xfd\x01",
			"p.jsonl: expected text, found a file compressed with "
			"zstd; unpack it",
			{0}},
		{"p.csv", "goal,r\na,['x' 'y']\n",
			"p.csv:2: offset 5 of a Python list: expected a comma or "
			"], found '''",
			{.suffix_field = "r"}},
		{"p.csv", "goal,r\na,\"['x', 3]\"\n",
			"p.csv:2: offset 6 of a Python list: expected a "
			"string in quotes, found '3'",
			{.suffix_field = "r"}},
		{"p.csv", "goal,r\na,['x\n",
			"p.csv:2: offset 3 of a Python list: expected a closing "
			"quote, found its end",
			{.suffix_field = "r"}},
		{"p.csv", "goal,r\na,['']\n", "p.csv:2: one of its suffixes is empty",
			{.suffix_field = "r"}},
		{"p.json", "[{\"goal\":\"a\",\"r\":[\"x\",4]}]",
			"p.json: record 0: element 1 of \"r\": "
			"expected a string, found an integer",
			{.suffix_field = "r"}},
		{"p.json", "[{\"goal\":\"a\",\"r\":4}]",
			"p.json: record 0: expected a list of texts "
			"\"r\", found an integer",
			{.suffix_field = "r"}},
		{"p.jsonl",
			"{\"question\":{\"stem\":\"?\",\"choices\":[{\"text\":\"x\",\"label\":\"A\"}]},"
			"\"answerKey\":\"D\"}",
			"p.jsonl:1: expected an answerKey among the labels of its choices, found \"D\"",
			{0}},
		{"p.jsonl",
			"{\"question\":\"?\",\"choices\":{\"text\":[\"x\",\"y\"],\"label\":[\"A\"]}}",
			"p.jsonl:1: expected a question with 1 to 26 choices and as many labels, found a "
			"string with 2",
			{0}},
		{"p.jsonl", "{\"question\":\"?\",\"choices\":{\"text\":[1],\"label\":[\"A\"]}}",
			"p.jsonl:1: choice 0: expected a string as text, found an integer", {0}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct err err = {0};
		char texts[64];

		CHECK(texts_of(cases[i].name, cases[i].content, cases[i].selection, texts,
			      sizeof texts, &err) == ERR_INPUT &&
				strcmp(err.text, cases[i].message) == 0,
			"case %zu says %s", i, err.text);
	}
}

TEST(deeply_nested_json_is_an_error_and_no_stack_overflow)
{
	static char deep[1 << 20];
	struct prompt_set set;
	struct err err;

	memset(deep, '[', sizeof deep);
	CHECK(prompt_set_parse(&set, "p.json", deep, sizeof deep, &ALL, &err) == ERR_INPUT &&
			strcmp(err.text,
				"p.json:1:2049: not valid JSON: maximum parsing depth reached "
				"near '['") == 0,
		"%s", err.text);
}

TEST(every_escape_of_a_python_string_is_python_s)
{
	static const struct {
		const char *list, *first;
	} cases[] = {
		{"['a']", "a"},
		{" [ \"it's\" , ] ", "it's"},
		{"['\\'\\\"\\\\']", "'\"\\"},
		{"['\\a\\b\\f\\n\\r\\t\\v']", "\a\b\f\n\r\t\v"},
		{"['\\101\\60\\7x']", "A0\7x"},
		{"['\\x41\\xe9']", "A\xc3\xa9"},
		{"['\\u20ac']", "\xe2\x82\xac"},
		{"['\\U0001F600']", "\xf0\x9f\x98\x80"},
		{"['a\\\nb']", "ab"},
		{"['\\d\\ ']", "\\d\\ "},
		{"['\\x00']", NULL},
		{"['\\ud800']", NULL},
		{"['\\U00110000']", NULL},
		{"['\\x4']", NULL},
		{"['\\N{DASH}']", NULL},
		{"['a\nb']", NULL},
		{"['a", NULL},
		{"['a\\", NULL},
		{"['a',", NULL},
		{"['a'] x", NULL},
		{"[,]", NULL},
		{"", NULL},
		{"'a'", NULL},
		{"[r'a']", NULL},
	};
	struct python_list list = {0};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct err err;
		int rc = python_list_parse(&list, "x", cases[i].list, strlen(cases[i].list), &err);

		CHECK((rc == 0) == (cases[i].first != NULL), "case %zu: %d", i, rc);
		if (rc == 0 && cases[i].first)
			CHECK(list.start.n == 1 && strcmp(list.text.data, cases[i].first) == 0,
				"case %zu: \"%s\"", i, list.text.data);
	}
	python_list_free(&list);
}

/* ---- the sets themselves ---------------------------------------------------------------- */

/* A path below ../shared, or $SAENGINE_SHARED. */
static void shared_path(char *out, size_t size, const char *file)
{
	const char *shared = getenv("SAENGINE_SHARED");

	if (shared)
		snprintf(out, size, "%s/%s", shared, file);
	else
		snprintf(out, size, "%s/../shared/%s", test_source_root(), file);
}

static void check_file(const char *path, const struct prompt_selection *selection, size_t n,
	const char *sha256)
{
	struct prompt_set set;
	struct text all = {0};
	struct err err;
	char found[SHA256_HEX];

	REQUIRE_OK(prompt_set_read(&set, path, selection, &err), &err);
	CHECK(set.n == n, "%s: %zu prompts, expected %zu", path, set.n, n);
	for (size_t i = 0; i < set.n; i++) {
		if (i > 0)
			(void)vec_push(&all, '\n', &err);
		if (prompt_message(&set.items[i], &all, &err) == 0)
			all.n--; /* the zero */
	}
	sha256_bytes(all.data, all.n, found);
	CHECK(!sha256 || strcmp(found, sha256) == 0, "%s: the prompts hash to %s", path, found);
	free(all.data);
	prompt_set_free(&set);
}

TEST(the_small_world_s_suffixes_and_lines_are_read)
{
	char path[512];
	static const struct {
		const char *file;
		size_t n;
		const char *suffixes, *sha256;
	} cases[] = {
		{"suffixes.csv", 1440, "response",
			"7eba474742a8ace9d51cee661050d6f4052ca7bd632d0c409a9e2b75bd22b05f"},
		{"qa_test.jsonl", 63, NULL, NULL},
		{"pile.jsonl", 300, NULL, NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(path, sizeof path, "%s/models/small-world/%s", test_source_root(),
			cases[i].file);
		check_file(path, &(struct prompt_selection){.suffix_field = cases[i].suffixes},
			cases[i].n, cases[i].sha256);
	}
}

TEST(published_sets_have_their_published_counts_and_python_s_texts)
{
	static const char *const standard[] = {"FunctionalCategory=standard"};
	static const struct {
		const char *file;
		size_t n;
		const char *sha256;
		struct prompt_selection selection;
	} cases[] = {
		{"raw/harmbench_test.csv", 320,
			"de825e052ce61cb60adcd12154f9519ddfb99958c62ffe123c845f74b262feb5", {0}},
		{"raw/harmbench_test.csv", 320,
			"21a92d6155da4d7bbb678adc411ee855ba37edca17a82c27631f71bcae69688b",
			{.no_context = true}},
		{"raw/harmbench_val.csv", 80,
			"f909b04e01f14ca5122e50e2dec52138d966907e08eac16f0fd6a3c9fb45bdd6", {0}},
		{"raw/harmbench_val.csv", 80,
			"fbca37ef1ca09c701d0db264f420461972798f5cf29ef27e8ed7ebdcdf7906ac",
			{.no_context = true}},
		{"raw/jailbreakbench.csv", 100,
			"f8cc489d29258926e9f7c4dfa349ff5f53535db199e995e6bbdb36a067245461", {0}},
		{"raw/advbench.csv", 520,
			"f035131936bb56f411e3a206c189d4ced7196138ed769752751deccd978c0c68", {0}},
		{"raw/strongreject.csv", 313,
			"d7bb690a815111671e0dfdd58b73179eed8c93a5a4ead80bb0e64321da7a1d0f", {0}},
		{"raw/harmbench_test.csv", 159,
			"cd30dddd8270a29d85d00740cf339b4eb1ada0a68dedb0a02a4b362b485752f8",
			{.where = standard, .n_where = 1}},
		{"raw/harmbench_val.csv", 41,
			"7b0baf803803fd2795452e2b9262544f12a9599c7598e2918ba199386a6f0b23",
			{.where = standard, .n_where = 1}},
		{"raw/advsuffixes.csv", 11763,
			"33f57703396dce2f587dc0415b0a390fbd702e8256412927795840a97351fd69",
			{.suffix_field = "response"}},
		{"advbench.json", 520,
			"f035131936bb56f411e3a206c189d4ced7196138ed769752751deccd978c0c68", {0}},
		{"harmbench_test.json", 159,
			"8014f8e8f6a35c61ef3683feb3e50d6c250c3f947ee8ed06412e4832bd8a2f6c", {0}},
		{"harmbench_val.json", 41,
			"7b0baf803803fd2795452e2b9262544f12a9599c7598e2918ba199386a6f0b23", {0}},
		{"jailbreakbench.json", 100,
			"f8cc489d29258926e9f7c4dfa349ff5f53535db199e995e6bbdb36a067245461", {0}},
		{"malicious_instruct.json", 100,
			"a64d69dd1004aac4a23aaff3748fb8f17161893f74db36f45b8bc849eb1bcce5", {0}},
		{"splits/harmful_test.json", 572,
			"ef4ca8f5a2d0ee92334c82ad9696dfde3a44806b1240fee848a77e08428885d0", {0}},
		{"splits/harmful_train.json", 260,
			"4449bc37f8f3179ba23d724409330d39fc913d5ac3c851e23820ba132ffe60ae", {0}},
		{"splits/harmful_val.json", 39,
			"08e68beb11b5c9b41fa02371192a141a5b136d2e5e846ffcb4ee9da481673abe", {0}},
		{"splits/harmless_test.json", 6266,
			"ce9df7b81038edaacda97f7605110a0c8459d22cbbf9d72d9a2ed21fcf44b578", {0}},
		{"splits/harmless_train.json", 18793,
			"28f69e43a0650401d1677651a9af0788ecbb6765ad68a4adf54e23bff7b15ec1", {0}},
		{"splits/harmless_val.json", 6264,
			"592c781a7bc3058b4e420f59ad327cac962f9a85573b8e3fc6e698076b07f68e", {0}},
		{"strongreject.json", 313,
			"d7bb690a815111671e0dfdd58b73179eed8c93a5a4ead80bb0e64321da7a1d0f", {0}},
	};
	char file[128], path[512];

	shared_path(path, sizeof path, "data/prompts/raw/advbench.csv");
	if (!file_exists(path))
		SKIP("no published prompt sets in ../shared/data/prompts");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(file, sizeof file, "data/prompts/%s", cases[i].file);
		shared_path(path, sizeof path, file);
		check_file(path, &cases[i].selection, cases[i].n, cases[i].sha256);
	}
}

/* The edited set has the spaces at the end of one instruction removed. */
TEST(a_filter_and_an_edited_set_agree)
{
	static const char *const standard[] = {"FunctionalCategory=standard"};
	struct prompt_set table, edited;
	struct err err;
	char path[512];

	shared_path(path, sizeof path, "data/prompts/raw/harmbench_test.csv");
	if (!file_exists(path))
		SKIP("no published prompt sets in ../shared/data/prompts");
	REQUIRE_OK(prompt_set_read(&table, path,
			   &(struct prompt_selection){.where = standard, .n_where = 1}, &err),
		&err);
	shared_path(path, sizeof path, "data/prompts/harmbench_test.json");
	REQUIRE_OK(prompt_set_read(&edited, path, &ALL, &err), &err);
	REQUIRE(table.n == edited.n, "%zu and %zu prompts", table.n, edited.n);
	for (size_t i = 0; i < table.n; i++)
		CHECK(strncmp(table.items[i].text, edited.items[i].text,
			      strlen(edited.items[i].text)) == 0 &&
				strcmp(table.items[i].category, edited.items[i].category) == 0,
			"prompt %zu: \"%s\" and \"%s\"", i, table.items[i].text,
			edited.items[i].text);
	prompt_set_free(&table);
	prompt_set_free(&edited);
}
