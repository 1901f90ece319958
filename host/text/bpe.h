/* SPDX-License-Identifier: MIT
 *
 * bpe.h - byte-pair encoding of one word: symbols, then the merges of lowest rank first.
 */
#ifndef SAENGINE_BPE_H
#define SAENGINE_BPE_H

#include "host/text/token_ids.h"
#include "host/text/vocab.h"

/* A merge of two tokens into a third; a lower rank goes first. */
struct merge {
	int32_t left, right, merged;
	uint32_t rank;
};

struct bpe {
	struct vocab vocab;   /* what words are spelled in: bytes for byte-level models */
	struct merge *merges; /* open addressing by (left, right); left -1 = free */
	size_t merges_size;
	bool byte_level;         /* symbols are bytes, not characters */
	bool ignore_merges;      /* a word that is a token is that token */
	bool byte_fallback;      /* an unknown character becomes its bytes' tokens */
	bool fuse_unk;           /* neighbouring unknown characters become one */
	int32_t unk;             /* -1 = none: unknown characters are dropped */
	int32_t byte_token[256]; /* ids of <0x00> .. <0xFF>; -1 = absent */
};

/* Room for n merges. vocab and flags are the caller's to fill. */
int bpe_init_merges(struct bpe *bpe, size_t n, struct err *err);
void bpe_add_merge(struct bpe *bpe, struct merge merge);
void bpe_free(struct bpe *bpe);

/* Appends the ids of one word of well-formed UTF-8 (or of bytes, for a byte-level model). */
int bpe_encode(const struct bpe *bpe, const char *word, size_t n, struct token_ids *ids,
	struct err *err);

#endif
