/* SPDX-License-Identifier: MIT
 *
 * test_jinja.c - chat templates. tests/golden/jinja.json holds what Python's Jinja makes of some
 * 800 of them (tests/golden/make_jinja.py); tests/test_jinja.py compares live with many more.
 */
#include "tests/test.h"

#include "host/text/jinja/jinja.h"

#include <stdio.h>
#include <string.h>

/* Renders a template with the variables of a JSON object; *out is freed by the caller. */
static int render(const char *source, const char *variables, const char *date, struct text *out,
	struct err *err)
{
	struct jinja *t = NULL;
	json_t *given = NULL;

	*out = (struct text){0};
	err_clear(err);
	TRY(json_parse(&given, "variables", variables, strlen(variables), err));
	TRY(jinja_parse(&t, "t.jinja", source, strlen(source), err));
	TRY(jinja_render(t, given, date, out, err));
fail:
	jinja_free(t);
	json_decref(given);
	return err->code;
}

static bool equals(const struct text *out, const char *text, size_t n)
{
	return out->n == n && (n == 0 || memcmp(out->data, text, n) == 0);
}

static void check_renders(const char *source, const char *variables, const char *expected)
{
	struct text out;
	struct err err = {0};

	REQUIRE_OK(render(source, variables, "2024-07-26", &out, &err), &err);
	CHECK(equals(&out, expected, strlen(expected)), "%s: '%.*s', expected '%s'", source,
		(int)out.n, out.data, expected);
	free(out.data);
}

static void check_fails(const char *source, const char *variables, const char *part)
{
	struct text out;
	struct err err = {0};

	CHECK(render(source, variables, "2024-07-26", &out, &err) == ERR_INPUT,
		"%.200s: expected an error of bad input, found %d, '%.*s'", source, err.code,
		(int)out.n, out.data ? out.data : "");
	CHECK(strstr(err.text, part), "%.200s: expected '%s' in '%s'", source, part, err.text);
	free(out.data);
}

/* ---- against Python's Jinja ---------------------------------------------------------------- */

static void check_case(const json_t *variables, const char *source, size_t n,
	const json_t *expected)
{
	const json_t *text = json_object_get(expected, "text");
	const char *raised = json_string_value(json_object_get(expected, "raises"));
	struct text out = {0};
	struct jinja *t = NULL;
	struct err err = {0};

	if (jinja_parse(&t, "t.jinja", source, n, &err) == 0)
		jinja_render(t, variables, "2024-07-26", &out, &err);
	if (text)
		CHECK(err.code == 0 &&
				equals(&out, json_string_value(text), json_string_length(text)),
			"%s: expected '%s', found '%.*s' (%s)", source, json_string_value(text),
			(int)out.n, out.data ? out.data : "", err.code ? err.text : "no error");
	else
		CHECK(err.code == ERR_INPUT, "%s: expected an error, found '%.*s'", source,
			(int)out.n, out.data ? out.data : "");
	if (raised)
		CHECK(strstr(err.text, raised), "%s: expected '%s' in '%s'", source, raised,
			err.text);
	jinja_free(t);
	free(out.data);
}

TEST(templates_render_as_pythons_jinja_renders_them)
{
	char path[4096];
	json_t *golden = NULL;
	const json_t *cases;
	struct err err = {0};

	snprintf(path, sizeof path, "%s/tests/golden/jinja.json", test_source_root());
	REQUIRE_OK(json_read(&golden, path, &err), &err);
	cases = json_object_get(golden, "cases");
	CHECK(json_array_size(cases) > 700, "%zu cases", json_array_size(cases));
	for (size_t i = 0; i < json_array_size(cases); i++) {
		const json_t *source = json_array_get(json_array_get(cases, i), 0);

		check_case(json_object_get(golden, "variables"), json_string_value(source),
			json_string_length(source), json_array_get(json_array_get(cases, i), 1));
	}
	json_decref(golden);
}

/* ---- errors -------------------------------------------------------------------------------- */

TEST(what_is_outside_the_language_is_refused_by_its_name)
{
	static const struct {
		const char *source, *name;
	} cases[] = {{"a\n{% include 'x' %}", "t.jinja:2: the statement 'include'"},
		{"{% extends 'x' %}", "'extends'"}, {"{% block x %}{% endblock %}", "'block'"},
		{"{% import 'x' as y %}", "'import'"},
		{"{% autoescape true %}{% endautoescape %}", "'autoescape'"},
		{"{% for x in l recursive %}{% endfor %}", "a recursive loop"},
		{"{{ x|pprint }}", "the filter 'pprint'"},
		{"{{ x|striptags }}", "the filter 'striptags'"},
		{"{{ x is filter }}", "the test 'filter'"},
		{"{{ 'x'.encode() }}", "the method 'encode'"},
		{"{{ lipsum() }}", "the function 'lipsum'"}, {"{{ cycler(1) }}", "'cycler'"},
		{"{{ self }}", "'self'"}, {"{{ 2 ** 64 }}", "an integer beyond 64 bits"},
		{"{{ 9223372036854775808 }}", "an integer beyond 64 bits"},
		{"{{ 9223372036854775807 + 1 }}", "an integer beyond 64 bits"},
		{"{{ 'stra\xc3\x9f"
		 "e'|upper }}",
			"U+00DF"},
		{"{{ 'x'|map('upper') }}", "printing an iterator"},
		{"{{ range }}", "printing a function"},
		{"{{ x['a', 'b'] }}", "an index of several values"},
		{"{{ '\\N{DASH}' }}", "a character by its name"},
		{"{{ strftime_now('%s') }}", "the part '%s'"},
		{"{% macro f(caller) %}{% endmacro %}", "a parameter 'caller'"}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		check_fails(cases[i].source, "{}", cases[i].name);
		check_fails(cases[i].source, "{}",
			" is outside the part of Jinja that is followed here; set model.prefix and "
			"model.suffix, or model.template");
	}
}

TEST(a_fault_is_told_with_name_line_expected_and_found)
{
	static const struct {
		const char *source, *text;
	} cases[] = {{"a\nb {{ x", "t.jinja:2: expected '}}', found the end of the template"},
		{"{% if x %}a", "t.jinja:1: expected {% endif %}, found the end of the template"},
		{"\n\n{% nope %}", "t.jinja:3: expected a statement, found 'nope'"},
		{"{{ 1 + }}", "t.jinja:1: expected a value, found '}}'"},
		{"{{ 1 2 }}", "expected '}}', found an integer"},
		{"{% for x y %}", "expected 'in', found 'y'"},
		{"{{ x|nope }}", "there is no filter 'nope'"},
		{"{{ x is nope }}", "there is no test 'nope'"}, {"{{ (1] }}", "an unexpected ']'"},
		{"{{ 'abc }}", "a string: expected its end, '"},
		{"{{ a ? b }}", "expected a name, a value or an operator, found '?'"},
		{"{{ \xc3\xa4 }}", "found '\xc3\xa4'"},
		{"\xff", "expected UTF-8, found another byte at 0"},
		{"{{ x.y }}", "t.jinja:1: 'x' is undefined"},
		{"{{ {}.y.z }}", "a dict has no attribute 'y'"},
		{"{{ [].append(1) }}", "the attribute 'append' of a list is not for templates"},
		{"{{ 1 + 'a' }}",
			"'+': expected two values that it is for, found an integer and a string"},
		{"{{ [1]|join(attribute='x.y') }}", "an integer has no attribute 'x'"},
		{"{% for a, b in [[1]] %}{% endfor %}", "expected 2 values to assign, found 1"},
		{"{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
			"'f' takes not more than 1 arguments"},
		{"{% macro f(a) %}{% endmacro %}{{ f(b=2) }}",
			"'f' takes no argument of the name 'b'"},
		{"{{ 'x'.strip(1) }}", "strip: expected a string, found an integer"},
		{"{{ 'x'.strip('a', 'b') }}", "strip: expected at most 1 arguments, found 2"},
		{"{{ 'x'|replace('a') }}", "replace: expected 2 arguments"},
		{"{{ range(1)|tojson }}", "tojson: expected a value that JSON has, found a range"},
		{"{% break %}", "break outside a loop"},
		{"\n{{ raise_exception('Only \"user\" is for this!') }}",
			"t.jinja:2: the template raises an exception: Only \"user\" is for this!"}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_fails(cases[i].source, "{}", cases[i].text);
}

TEST(a_template_cannot_take_more_than_its_bounds)
{
	static const struct {
		const char *source, *text;
	} cases[] = {
		{"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
			"steps"},
		{"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "levels of evaluation"},
		{"{% macro f(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}", "levels of evaluation"},
		{"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "levels of evaluation"},
		{"{{ 'x' * 999999999 }}", "MiB of text"}, {"{{ [1] * 999999999 }}", "steps"},
		{"{{ 'x'.ljust(999999999) }}", "steps"}, {"{{ '%999999d' % 1 }}", "a width up to"},
		{"{{ range(100001) }}", "range: more than 100000 numbers"},
		{"{{ range(-9223372036854775807, 9223372036854775807) }}",
			"more than 100000 numbers"},
		{"{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}"
		 "{% set ns.s = ns.s + ns.s %}{% endfor %}",
			"more than"},
		{"{% set ns = namespace(s=[1]) %}{% for i in range(99) %}"
		 "{% set ns.s = ns.s + ns.s %}{% endfor %}",
			"steps"},
		{"{% set s = 'x' * 16000000 %}{{ s }}{{ s }}", "more than"},
		{"{% set s = 'x' * 16000000 %}{% for i in range(9) %}{% set t = s|upper %}{% endfor %}",
			"more than"}};
	char deep[4096];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_fails(cases[i].source, "{}", cases[i].text);
	/* So deep that the parser, and then the tree alone, would be too deep. */
	for (size_t n = 50; n <= 1000; n += 950) {
		char *at = deep + sprintf(deep, "{{ ");

		memset(at, '(', n);
		at[n] = '1';
		memset(at + n + 1, ')', n);
		strcpy(at + 2 * n + 1, " }}");
		if (n == 50)
			check_renders(deep, "{}", "1");
		else
			check_fails(deep, "{}", "more than 200 brackets");
	}
	for (int n = 100; n <= 300; n += 200) {
		char *minus = deep + sprintf(deep, "{{ "), *plus = deep + 2000;

		memset(minus, '-', (size_t)n);
		strcpy(minus + n, "1 }}");
		plus += sprintf(plus, "{{ 0");
		for (int i = 0; i < n; i++)
			plus += sprintf(plus, "+1");
		strcpy(plus, " }}");
		if (n == 100) {
			check_renders(deep, "{}", "1");
			check_renders(deep + 2000, "{}", "100");
		} else {
			check_fails(deep, "{}", "levels");
			check_fails(deep + 2000, "{}", "levels");
		}
	}
}

/* ---- the interface ------------------------------------------------------------------------- */

TEST(a_rendering_is_appended_and_a_failed_one_is_not)
{
	struct text out = {0};
	struct jinja *t = NULL;
	json_t *variables = json_pack("{s:s}", "x", "1");
	struct err err = {0};
	static const char source[] = "ab{{ x.y.z if fail else x }}";

	REQUIRE_OK(jinja_parse(&t, "t", source, strlen(source), &err), &err);
	for (int i = 0; i < 2; i++)
		CHECK(jinja_render(t, variables, NULL, &out, &err) == 0, "%s", err.text);
	json_object_set_new(variables, "fail", json_true());
	CHECK(jinja_render(t, variables, NULL, &out, &err) == ERR_INPUT, "no error");
	CHECK(equals(&out, "ab1ab1", 6), "'%.*s'", (int)out.n, out.data);
	json_decref(variables);
	jinja_free(t);
	free(out.data);
}

TEST(a_template_that_calls_strftime_now_needs_a_date)
{
	static const struct {
		const char *date, *text;
	} cases[] = {{"2024-07-26", "26 Jul 2024, Friday, 208"},
		{"2024-02-29", "29 Feb 2024, Thursday, 060"},
		{"2000-01-01", "01 Jan 2000, Saturday, 001"},
		{"1999-12-31", "31 Dec 1999, Friday, 365"},
		{"2100-03-01", "01 Mar 2100, Monday, 060"}};
	static const char *const wrong[] = {"2023-02-29", "2024-13-01", "2024-1-01", "26 Jul 2024",
		"", "2024-07-26T00"};
	static const char source[] = "{{ strftime_now('%d %b %Y, %A, %j') }}";
	struct text out;
	struct err err = {0};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		REQUIRE_OK(render(source, "{}", cases[i].date, &out, &err), &err);
		CHECK(equals(&out, cases[i].text, strlen(cases[i].text)), "%s: '%.*s'",
			cases[i].date, (int)out.n, out.data);
		free(out.data);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		CHECK(render(source, "{}", wrong[i], &out, &err) == ERR_INPUT &&
				strstr(err.text, "expected a date YYYY-MM-DD"),
			"%s: %s", wrong[i], err.text);
	CHECK(render(source, "{}", NULL, &out, &err) == ERR_INPUT &&
			strstr(err.text, "calls strftime_now, for which there is no date"),
		"%s", err.text);
	/* Where it is not called it is not asked for. */
	CHECK(render("{% if no %}{{ strftime_now('') }}{% endif %}", "{}", NULL, &out, &err) == 0,
		"%s", err.text);
	free(out.data);
}

TEST(a_template_tells_which_variables_it_looks_up)
{
	static const char source[] =
		"{% set own = given %}{{ own }}{% for m in messages %}{{ m.attribute }}{{ loop.index }}"
		"{% if maybe is not defined %}{% set maybe = 1 %}{% endif %}{% endfor %}"
		"{% macro f(parameter, p=default_of) %}{{ parameter }}{{ inside }}{% endmacro %}"
		"{# commented #}{{ 'quoted' }}{% raw %}{{ raw }}{% endraw %}{{ strftime_now('%Y') }}";
	static const char *const yes[] = {"given", "messages", "maybe", "default_of", "inside",
		"strftime_now"};
	static const char *const no[] = {"own", "m", "loop", "attribute", "parameter", "p", "f",
		"commented", "quoted", "raw", "enable_thinking", ""};
	struct jinja *t = NULL;
	struct err err = {0};

	REQUIRE_OK(jinja_parse(&t, "t", source, strlen(source), &err), &err);
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		CHECK(jinja_mentions(t, yes[i]), "%s is looked up", yes[i]);
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		CHECK(!jinja_mentions(t, no[i]), "%s is not looked up", no[i]);
	jinja_free(t);
}

TEST(variables_are_what_json_says)
{
	check_renders("{{ x|tojson }}",
		"{\"x\": {\"z\": 1, \"a\": [null, true, false, -3, 2.0, 1e16, \"\\u00e9\\u0000\"]}}",
		"{\"z\": 1, \"a\": [null, true, false, -3, 2.0, 1e+16, \"\xc3\xa9\\u0000\"]}");
	check_renders("{{ x is none }}{{ y is defined }}", "{\"x\": null}", "TrueFalse");
	/* What is given goes before the function of that name. */
	check_renders("{{ range }}", "{\"range\": 5}", "5");
	check_renders("{{ messages[0].content }}", "{\"messages\": [{\"content\": \"{{ x }}\"}]}",
		"{{ x }}");
}

TEST(line_ends_of_all_kinds_are_the_same)
{
	check_renders("a\r\nb\rc\n{% if true %}\r\nd\r{% endif %}\r\n", "{}", "a\nb\nc\nd\n");
	check_renders("a\n\n", "{}", "a\n");
	check_renders("", "{}", "");
}
