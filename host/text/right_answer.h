/* SPDX-License-Identifier: MIT
 *
 * right_answer.h - does a reply give the right answer to a question?
 *
 * What counts depends on what the right answer looks like:
 *   a number (GSM8K)        the last number of the reply has its value; "1,234", "$18" and "18."
 *                           are numbers, and nothing is made of words
 *   a capital letter (ARC)  the reply's first choice letter: one that stands alone and is followed
 *                           by . ) : , or the end, as in "B. ..." and "(B)"; where there is none,
 *                           the first that stands alone ("A dog" gives A)
 *   any other text          it occurs in the reply, whole words, ASCII letters in either case
 */
#ifndef SAENGINE_RIGHT_ANSWER_H
#define SAENGINE_RIGHT_ANSWER_H

#include <stdbool.h>

bool is_right_answer(const char *reply, const char *answer);

#endif
