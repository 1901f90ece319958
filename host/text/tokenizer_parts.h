/* SPDX-License-Identifier: MIT
 *
 * tokenizer_parts.h - what a tokenizer is made of; shared by tokenizer.c, which runs it, and
 * tokenizer_file.c, which reads it from tokenizer.json.
 */
#ifndef SAENGINE_TOKENIZER_PARTS_H
#define SAENGINE_TOKENIZER_PARTS_H

#include "host/text/added_tokens.h"
#include "host/text/bpe.h"
#include "host/text/split.h"
#include "host/text/tokenizer.h"

enum normalizer_kind { NORMALIZER_REPLACE, NORMALIZER_PREPEND };

struct normalizer {
	enum normalizer_kind kind;
	char *from, *to; /* owned; PREPEND uses only `to` */
};

enum { MAX_STEPS = 8 };

struct tokenizer {
	struct bpe bpe;
	struct vocab spelling; /* every token as the file spells it, added tokens included */
	struct added_token *added;
	size_t n_added;
	struct added_set added_raw, added_normalized;
	struct normalizer normalizers[MAX_STEPS];
	size_t n_normalizers;
	struct split *splits[MAX_STEPS];
	size_t n_splits;
	int16_t *byte_of; /* [n_byte_of]: the byte of a <0xHH> token, else -1 */
	size_t n_byte_of;
	char *decode_from, *decode_to; /* owned; NULL: tokens decode as they are */
	bool decode_strip;             /* drop one space at the very start */
};

#endif
