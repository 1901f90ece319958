/* SPDX-License-Identifier: MIT
 *
 * tokenizer_side.h - the tokens that the files beside a tokenizer.json declare. Precedence, as in
 * transformers 5 (tokenization_utils_base.py, tokenization_utils_tokenizers.py):
 *
 *   - tokenizer.json is the base: its vocabulary, its ids, its pipeline.
 *   - added_tokens_decoder of tokenizer_config.json: its flags (lstrip, rstrip, single_word,
 *     normalized, special) replace those of tokenizer.json; a token that is new gets the next free
 *     id, in the order of the ids declared.
 *   - Where tokenizer_config.json has no added_tokens_decoder, special_tokens_map.json goes before
 *     it, and the tokens of added_tokens.json are added.
 *   - The named tokens (bos_token, ...) and extra_special_tokens or additional_special_tokens
 *     behind them: one that is in no vocabulary gets the next free id.
 *
 * A declared id that is not the one a token gets is an error.
 */
#ifndef SAENGINE_TOKENIZER_SIDE_H
#define SAENGINE_TOKENIZER_SIDE_H

#include "host/formats/json.h"
#include "host/text/tokenizer.h"

/* What lies in the folder; NULL = there is no such file. Borrowed for the call. */
struct tokenizer_side {
	const json_t *config;      /* tokenizer_config.json */
	const json_t *special_map; /* special_tokens_map.json */
	const json_t *added;       /* added_tokens.json */
	const json_t *model;       /* config.json: its model_type and tokenizer_class */
};

/* Adds the tokens to a tokenizer that was just parsed, and names the special ones. Errors:
 * ERR_INPUT, beginning with the file's name without its folder. */
int tokenizer_side_apply(struct tokenizer *tok, const struct tokenizer_side *side, struct err *err);

#endif
