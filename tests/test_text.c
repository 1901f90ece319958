/* SPDX-License-Identifier: MIT
 *
 * test_text.c - what counts as a refusal.
 */
#include "host/text/refusal.h"
#include "tests/test.h"

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
