/* SPDX-License-Identifier: MIT
 *
 * fuzz_encode.c - any bytes to the tokenizers of four families in small: refused when they are not
 * UTF-8, else encoded to ids that decode to the same text, but for what the family normalizes.
 */
#include "host/text/tokenizer.h"
#include "host/base/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define ADDED \
	"\"added_tokens\":[" \
	"{\"id\":600,\"content\":\"<s>\",\"normalized\":false,\"special\":false}," \
	"{\"id\":601,\"content\":\"\\n\\n\",\"normalized\":false}," \
	"{\"id\":602,\"content\":\"<w> \",\"normalized\":true,\"single_word\":true}]"
#define REGEX \
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|" \
	" ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define BYTE_LEVEL \
	"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\"," \
	"\"pattern\":{\"Regex\":\"" REGEX "\"},\"behavior\":\"Isolated\"}," \
	"{\"type\":\"ByteLevel\",\"use_regex\":false}]},\"decoder\":{\"type\":\"ByteLevel\"}"
#define SPIECE_DECODER \
	"\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":" \
	"{\"String\":\"\xe2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"}," \
	"{\"type\":\"Fuse\"}%s]}"
#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}"
#define STRIP ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}"

static const struct family {
	const char *before; /* the file up to its model, with one %s for the decoder's end */
	const char *decoder_end;
	bool byte_level;
	bool exact; /* decodes to the very text, a mark for a space apart */
} families[] = {
	{"{" ADDED "," BYTE_LEVEL "%s", "", true, true},
	{"{" ADDED ",\"normalizer\":{\"type\":\"NFC\"}," BYTE_LEVEL "%s", "", true, false},
	{"{" ADDED ",\"normalizer\":" REPLACE "," SPIECE_DECODER, "", false, true},
	{"{" ADDED ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","
	 "\"prepend\":\"\xe2\x96\x81\"}," REPLACE "]}," SPIECE_DECODER,
		STRIP, false, false},
	{"{" ADDED ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\","
	 "\"prepend_scheme\":\"first\",\"split\":true}," SPIECE_DECODER,
		STRIP, false, false},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

/* A vocabulary of all bytes, letters and a few merges. */
static struct tokenizer *make(const struct family *f)
{
	struct tokenizer *tok;
	struct err err;
	char file[16384];
	size_t n = (size_t)snprintf(file, sizeof file, f->before, f->decoder_end);

	n += (size_t)snprintf(file + n, sizeof file - n,
		",\"model\":{\"type\":\"BPE\",\"byte_fallback\":%s,\"vocab\":{",
		f->byte_level ? "false" : "true");
	for (int byte = 0; byte < 256; byte++) {
		const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
		static uint32_t other;
		char character[4];
		size_t length;

		other = byte == 0 ? 0x100 : other;
		length = utf8_spell(printable ? (uint32_t)byte : other, character);
		other += !printable;
		n += f->byte_level ? (size_t)snprintf(file + n, sizeof file - n, "\"%s%.*s\":%d,",
					     byte == '"' || byte == '\\' ? "\\" : "", (int)length,
					     character, byte)
				   : (size_t)snprintf(file + n, sizeof file - n, "\"<0x%02X>\":%d,",
					     byte, byte);
	}
	if (!f->byte_level)
		for (int c = 'a'; c <= 'z'; c++)
			n += (size_t)snprintf(file + n, sizeof file - n, "\"%c\":%d,", c, 300 + c);
	n += (size_t)snprintf(file + n, sizeof file - n,
		"%s\"<s>\":600,\"\\n\\n\":601,\"<w> \":602,\"ab\":500,\"aba\":501,\"aa\":502,\"ba\":503},\"merges\":[\"a b\",\"ab a\","
		"\"a a\",\"b a\"]}}",
		f->byte_level ? "" : "\"\xe2\x96\x81\":499,");
	MUST(n < sizeof file);
	if (tokenizer_parse(&tok, "family", file, n, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return tok;
}

/* Spaces and marks are one symbol to families that have the mark. */
static void unify(const char *s, size_t n, bool marks, struct text *out)
{
	struct err err;

	for (size_t i = 0; i < n; i++) {
		const bool mark = marks && n - i >= 3 && memcmp(s + i, "\xe2\x96\x81", 3) == 0;

		MUST(vec_push(out, mark ? ' ' : s[i], &err) == 0);
		i += mark ? 2 : 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tokenizer *tokenizers[N_FAMILIES];
	const char *text = size ? (const char *)data : "";

	for (int f = 0; f < N_FAMILIES; f++) {
		struct token_ids ids = {0};
		struct text back = {0}, one = {0}, other = {0};
		struct err err = {0};
		int rc;

		if (!tokenizers[f])
			tokenizers[f] = make(&families[f]);
		rc = tokenizer_encode(tokenizers[f], text, size, &ids, &err);
		MUST_EXPLAIN(rc, err);
		MUST((rc == 0) == utf8_valid(text, size, NULL));
		MUST(rc == 0 || ids.n == 0);
		MUST(tokenizer_decode(tokenizers[f], ids.data, ids.n, true, &back, &err) == 0);
		MUST(utf8_valid(back.data, back.n, NULL));
		unify(text, size, !families[f].byte_level, &one);
		unify(back.data, back.n, !families[f].byte_level, &other);
		MUST(rc || !families[f].exact ||
			(one.n == other.n &&
				(one.n == 0 || memcmp(one.data, other.data, one.n) == 0)));
		free(back.data);
		free(one.data);
		free(other.data);
		free(ids.data);
	}
	return 0;
}
