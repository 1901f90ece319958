/* SPDX-License-Identifier: MIT
 *
 * bpe.c - Contract: bpe.h. Tests: tests/test_tokenizer.c.
 *
 * A word is a doubly linked list of symbols and a heap of the merges now possible, lowest rank
 * first and leftmost first among equals. A popped merge whose symbols have changed meanwhile is
 * dropped. n log n, because for SentencePiece-like models a "word" is a whole prompt.
 */
#include "host/text/bpe.h"

#include "host/base/utf8.h"

struct symbol {
	int32_t id;
	int previous, next; /* -1 at the ends */
	bool gone;
};

struct candidate {
	uint32_t rank;
	int left; /* index of the left symbol */
	int32_t merged;
};

struct word {
	struct {
		struct symbol *data;
		size_t n, cap;
	} symbols;
	struct {
		struct candidate *data;
		size_t n, cap;
	} heap;
};

/* ---- merges ---------------------------------------------------------------------------- */

static size_t merge_place(const struct bpe *bpe, int32_t left, int32_t right)
{
	const uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
	size_t at = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (bpe->merges_size - 1);

	while (bpe->merges[at].left >= 0 &&
		(bpe->merges[at].left != left || bpe->merges[at].right != right))
		at = (at + 1) & (bpe->merges_size - 1);
	return at;
}

int bpe_init_merges(struct bpe *bpe, size_t n, struct err *err)
{
	bpe->merges_size = 64;
	while (bpe->merges_size < 2 * n)
		bpe->merges_size *= 2;
	bpe->merges = malloc(bpe->merges_size * sizeof *bpe->merges);
	if (!bpe->merges)
		return err_nomem(err, "merges", bpe->merges_size * sizeof *bpe->merges);
	for (size_t i = 0; i < bpe->merges_size; i++)
		bpe->merges[i].left = -1;
	return 0;
}

void bpe_add_merge(struct bpe *bpe, struct merge merge)
{
	/* Of a merge listed twice the later rank counts, as in the tokenizers library. */
	bpe->merges[merge_place(bpe, merge.left, merge.right)] = merge;
}

void bpe_free(struct bpe *bpe)
{
	vocab_free(&bpe->vocab);
	free(bpe->merges);
	*bpe = (struct bpe){0};
}

/* ---- the heap -------------------------------------------------------------------------- */

static bool before(struct candidate a, struct candidate b)
{
	return a.rank != b.rank ? a.rank < b.rank : a.left < b.left;
}

static int heap_push(struct word *w, struct candidate c, struct err *err)
{
	size_t i = w->heap.n;

	if (vec_push(&w->heap, c, err))
		return err->code;
	while (i > 0 && before(c, w->heap.data[(i - 1) / 2])) {
		w->heap.data[i] = w->heap.data[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	w->heap.data[i] = c;
	return 0;
}

static struct candidate heap_pop(struct word *w)
{
	struct candidate *heap = w->heap.data, top = heap[0], last = heap[--w->heap.n];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < w->heap.n; i = child) {
		if (child + 1 < w->heap.n && before(heap[child + 1], heap[child]))
			child++;
		if (!before(heap[child], last))
			break;
		heap[i] = heap[child];
	}
	if (w->heap.n > 0)
		heap[i] = last;
	return top;
}

/* ---- one word -------------------------------------------------------------------------- */

static const struct merge *merge_at(const struct bpe *bpe, const struct word *w, int left)
{
	const struct symbol *s = w->symbols.data;
	const struct merge *m;

	if (left < 0 || s[left].gone || s[left].next < 0)
		return NULL;
	m = &bpe->merges[merge_place(bpe, s[left].id, s[s[left].next].id)];
	return m->left >= 0 ? m : NULL;
}

static int offer(const struct bpe *bpe, struct word *w, int left, struct err *err)
{
	const struct merge *m = merge_at(bpe, w, left);

	return m ? heap_push(w, (struct candidate){m->rank, left, m->merged}, err) : 0;
}

static int push_symbol(struct word *w, int32_t id, struct err *err)
{
	const int i = (int)w->symbols.n;

	if (vec_push(&w->symbols, ((struct symbol){id, i - 1, -1, false}), err))
		return err->code;
	if (i > 0)
		w->symbols.data[i - 1].next = i;
	return 0;
}

/* The unknown token of the characters before waits until a token follows, behind the bytes of
 * characters between: so does the tokenizers library. */
static int push_waiting(const struct bpe *bpe, struct word *w, bool *unk_waits, struct err *err)
{
	const bool waits = *unk_waits;

	*unk_waits = false;
	return waits ? push_symbol(w, bpe->unk, err) : 0;
}

/* A character that is no token: its bytes, or the unknown token, or nothing. */
static int push_unknown(const struct bpe *bpe, struct word *w, const char *s, size_t n,
	bool *unk_waits, struct err *err)
{
	bool all = bpe->byte_fallback;

	for (size_t i = 0; i < n && all; i++)
		all = bpe->byte_token[(unsigned char)s[i]] >= 0;
	for (size_t i = 0; i < n && all; i++)
		TRY(push_symbol(w, bpe->byte_token[(unsigned char)s[i]], err));
	if (all || bpe->unk < 0)
		return 0;
	if (!bpe->fuse_unk)
		TRY(push_waiting(bpe, w, unk_waits, err));
	*unk_waits = true;
	return 0;
fail:
	return err->code;
}

static int split_symbols(const struct bpe *bpe, struct word *w, const char *s, size_t n,
	struct err *err)
{
	bool unk_waits = false;

	for (size_t i = 0, length; i < n; i += length) {
		int32_t id;

		length = bpe->byte_level ? 1 : utf8_length(s + i, n - i);
		id = vocab_find(&bpe->vocab, s + i, length);
		if (id >= 0) {
			TRY(push_waiting(bpe, w, &unk_waits, err));
			TRY(push_symbol(w, id, err));
		} else {
			TRY(push_unknown(bpe, w, s + i, length, &unk_waits, err));
		}
	}
	return push_waiting(bpe, w, &unk_waits, err);
fail:
	return err->code;
}

static int merge_all(const struct bpe *bpe, struct word *w, struct err *err)
{
	struct symbol *s = w->symbols.data;

	for (int i = 0; i + 1 < (int)w->symbols.n; i++)
		TRY(offer(bpe, w, i, err));
	while (w->heap.n > 0) {
		const struct candidate c = heap_pop(w);
		const struct merge *m = merge_at(bpe, w, c.left);
		int right;

		if (!m || m->merged != c.merged)
			continue;
		right = s[c.left].next;
		s[c.left].id = c.merged;
		s[c.left].next = s[right].next;
		s[right].gone = true;
		if (s[right].next >= 0)
			s[s[right].next].previous = c.left;
		TRY(offer(bpe, w, s[c.left].previous, err));
		TRY(offer(bpe, w, c.left, err));
	}
	return 0;
fail:
	return err->code;
}

int bpe_encode(const struct bpe *bpe, const char *word, size_t n, struct token_ids *ids,
	struct err *err)
{
	struct word w = {0};
	int32_t whole;

	if (n == 0)
		return 0;
	if (bpe->ignore_merges && (whole = vocab_find(&bpe->vocab, word, n)) >= 0)
		return vec_push(ids, whole, err);
	TRY(split_symbols(bpe, &w, word, n, err));
	TRY(merge_all(bpe, &w, err));
	for (int i = w.symbols.n > 0 ? 0 : -1; i >= 0; i = w.symbols.data[i].next)
		TRY(vec_push(ids, w.symbols.data[i].id, err));
	free(w.symbols.data);
	free(w.heap.data);
	return 0;
fail:
	free(w.symbols.data);
	free(w.heap.data);
	return err->code;
}
