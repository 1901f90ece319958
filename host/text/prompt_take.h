/* SPDX-License-Identifier: MIT
 *
 * prompt_take.h - which forms of adversarial prompts a set is made of: as they are, what they were
 * before, or every step between.
 */
#ifndef SAENGINE_PROMPT_TAKE_H
#define SAENGINE_PROMPT_TAKE_H

#include "host/text/prompts.h"

enum prompt_take {
	PROMPT_TAKE_TEXT, /* the prompts as they are */
	PROMPT_TAKE_BASE, /* each prompt's base */
	PROMPT_TAKE_WORDS /* base; base and the first word of the suffix; ...; the whole prompt. The
			   * `suffix` of each is what of it is there, "" to begin with. A word ends
			   * before white space. */
};

/* Replaces the items of `set`, in order. Errors: ERR_INPUT when a prompt has no base or, for
 * WORDS, no suffix. */
int prompt_set_take(struct prompt_set *set, enum prompt_take take, struct err *err);

#endif
