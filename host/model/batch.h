/* SPDX-License-Identifier: MIT
 *
 * batch.h - the tokens of one pass: sequences packed end to end, no padding.
 *
 * A row is one token. Every row has a sequence and a position; keys and values of a sequence go
 * to consecutive rows of a cache, beginning at its cache_start. Some rows are "out rows": only
 * these are carried through the last block and unembedded, because nothing else of the last
 * block is ever read unless every row is wanted.
 */
#ifndef SAENGINE_BATCH_H
#define SAENGINE_BATCH_H

#include "host/base/err.h"
#include "kernels/ops.h"

/* How many of a sequence's last rows are out rows. */
enum { BATCH_OUT_NONE = 0, BATCH_OUT_LAST = 1, BATCH_OUT_ALL = INT32_MAX };

struct batch {
	struct device *dev;
	size_t max_rows, max_seqs;
	size_t n_rows, n_out;
	size_t n_idle;   /* so many of the last rows are nobody's: batch_add_idle */
	size_t n_seqs;   /* one more than the largest sequence id; all that there is room for, where
			  * the batch is kept open */
	size_t n_prefix; /* positions below this are the shared prefix's */
	size_t n_cache_rows; /* rows of cache in use, up to the end of the last sequence */
	bool packed;         /* row i's key goes to cache row i */

	/* On the host, [max_rows] or [max_seqs]. */
	int32_t *token, *seq, *pos, *cache_row;
	int32_t *out_row, *out_seq, *out_pos;
	int32_t *cache_start; /* by sequence */
	int32_t *label;       /* by sequence: what messages call it (a prompt's id) */

	/* The same on the device after batch_upload. */
	struct {
		int32_t *token, *seq, *pos, *cache_row;
		int32_t *out_row, *out_seq, *out_pos;
		int32_t *cache_start;
	} on_device;

	int32_t *host_memory; /* owned */
	void *device_memory;  /* owned */
};

/* Allocates room. Errors: ERR_DEVICE. */
int batch_init(struct batch *b, struct device *dev, size_t max_rows, size_t max_seqs,
	struct err *err);

/* Accepts a zeroed batch. */
void batch_free(struct batch *b);

/* Forgets all rows. Positions below n_prefix belong to a prefix that all sequences share. */
void batch_clear(struct batch *b, size_t n_prefix);

/* Appends n tokens of sequence `seq` (ids ascending within a batch), at positions first_pos and
 * on, with keys from cache row cache_start; the last n_out of them are out rows. The caller keeps
 * within max_rows and max_seqs (asserted). */
void batch_add(struct batch *b, size_t seq, const int32_t *tokens, size_t n, size_t first_pos,
	size_t cache_start, size_t n_out, int32_t label);

/* Appends n more tokens to the last sequence, behind its last position. */
void batch_extend(struct batch *b, const int32_t *tokens, size_t n, size_t n_out);

/* The whole sequence packed behind the others: position n_prefix on, its cache rows after
 * theirs. `tokens` are those behind the prefix. Returns the sequence's id. */
size_t batch_pack(struct batch *b, const int32_t *tokens, size_t n, size_t n_out, int32_t label);

/* Appends a row, an out row, that fills the batch up and is nobody's: what it computes is not
 * reported, also not that it is not finite. It is a token of a sequence of its own that has ended,
 * with a list of each clamp and cache rows, at a position it may write to. Any sequence that has no
 * row yet; behind all others' rows. */
void batch_add_idle(struct batch *b, size_t seq, int32_t token, size_t pos, size_t cache_start,
	int32_t label);

/* For a batch of one row per sequence that advances, on a cache of n_cache_rows. Ops are then given
 * all sequences that there is room for, whichever have rows. */
void batch_keep_open(struct batch *b, size_t n_cache_rows);

/* The host's side of op_advance: every row goes on to its sequence's next token, or if that is
 * negative, which only an idle row goes on from, to the same again. */
void batch_advance(struct batch *b, const int32_t *next);

/* Copies the lists to the device. */
int batch_upload(struct batch *b, struct err *err);

/* ERR_DEVICE: `what` is not finite at a sequence's position; its label, negative for what all
 * prompts begin with. */
int batch_not_finite(const char *what, int32_t label, int32_t position, struct err *err);

/* Rows, as ops take them; out rows likewise. */
struct rows batch_rows(const struct batch *b);
struct rows batch_out_rows(const struct batch *b);

#endif
