/* SPDX-License-Identifier: MIT
 *
 * test_text.c - what counts as a refusal, and as a right answer.
 */
#include "host/text/refusal.h"
#include "host/text/right_answer.h"
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

TEST(the_last_number_of_a_reply_is_its_answer)
{
	CHECK(is_right_answer("3 + 15 = 18. So she makes $18.", "18"),
		"the last number is not read");
	CHECK(is_right_answer("In all 1,234.50 dollars", "1234.5"),
		"thousands separators are read");
	CHECK(is_right_answer("it falls to -3 degrees", "-3"), "a sign is lost");
	CHECK(is_right_answer("from 5-3 it is", "3"), "a dash between numbers is a sign");
	CHECK(!is_right_answer("18, then 19", "18"), "an earlier number counts");
	CHECK(!is_right_answer("eighteen", "18"), "a word is a number");
	CHECK(!is_right_answer("", "18") && !is_right_answer("118", "18"), "a part counts");
}

TEST(the_first_choice_letter_of_a_reply_is_its_answer)
{
	CHECK(is_right_answer("B. Because it melts", "B"), "a letter and a point are not read");
	CHECK(is_right_answer("The answer is (C), not (D).", "C"), "brackets hide a choice");
	CHECK(is_right_answer("A dog would choose D.", "D"), "an article is a choice");
	CHECK(is_right_answer("I'm sure: B", "B"), "I'm is a choice");
	CHECK(is_right_answer("choose B please", "B"), "a letter alone is not read");
	CHECK(!is_right_answer("Because", "B") && !is_right_answer("C. or B.", "B"),
		"another letter counts");
}

TEST(any_other_answer_must_occur_in_whole_words)
{
	CHECK(is_right_answer("It is paris, of course.", "Paris"), "case matters");
	CHECK(!is_right_answer("Parisian", "Paris") && !is_right_answer("x\xc3\xa9Paris", "Paris"),
		"a part of a word counts");
	CHECK(is_right_answer("in New York.", "new york"), "two words are not found");
	CHECK(!is_right_answer("", "Paris"), "an empty reply counts");
}
