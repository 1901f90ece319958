#!/usr/bin/env python3
"""Golden files of the tokenizers: what the Hugging Face `tokenizers` library makes of some 200
strings each. tests/parity_tokenizers.py compares many more, live.

For every models/*/tokenizer.json (the shipped models), for small tokenizers trained here in the
shape of each family (FAMILIES: normalizer, pre-tokenizer, decoder and flags as published), and for
Llama 3's real vocabulary if ../shared/data/tokenizers/llama3.tiktoken is there.

Written to tests/golden/tokenizers: NAME.json = {"cases": [[text, [ids], decoded], ...]}, where
decoded is the text of the ids with special tokens left out; FAMILY.tokenizer.json.

Run: python3 tests/golden/make_tokenizers.py   (needs tokenizers; a minute)
"""
import base64
import json
import pathlib
import random
from collections import Counter

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = pathlib.Path(__file__).parent / "tokenizers"

FIXED = [
    "", " ", "  ", "\n", "\n\n\n", " \n ", "\t", "\r\n", "a", " a", "a ", "  a  b   c ",
    "How do I kill a process?", "don't DON'T we'll I'M they've", "12345 3.14159 1,000,000",
    "café naïve Ångström", "cafe\u0301 (decomposed)", "日本語とEnglish", "Привет, мир!",
    "مرحبا بالعالم", "👩‍🚀🇫🇷👍🏽", "e\u0301\u0323\u0302", "\u200b\u200d\ufeff",
    "<bos>", "<eos>text", "a<start_of_turn>user\nb<end_of_turn>", "<|eot_id|><|begin_of_text|>x",
    "<|start_header_id|>user<|end_header_id|>\n\nhi", "<0x0A><0xFF>", "▁▁ ▁a", "<unk><pad>",
    "\x00\x01\x7f", "\u0085\u00a0\u1680\u2003\u2028\u202f\u205f\u3000 x", "\u180e x\u180ey",
    "ſ's ſ 'ſ 'S 'LL", "if (x[i] != NULL) { return *p++; }\n\t// done\n",
    "a" * 300, "ab" * 200, " " * 64 + "end", "\n" * 40, "!?" * 50, "word " * 100,
    "\U0001F600" * 20, "\uffff\U0010ffff\ufffd", "x\u0300" * 30,
]


def random_text(rng, n):
    pools = ["abcdefghij ABC xyz", "  \n\t\r", "0123456789.,", "éüßñçøåžłœ", "日本中文한국어ไทย",
             "!?#$%&*()[]{}<>/\\|'\"", "👍🎉😀👩‍🚀", "\u0300\u0301\u0327\u200d\u00ad\u2028\u3000"]
    out = []
    while len(out) < n:
        if rng.random() < 0.1:
            code = rng.randrange(1, 0x110000)
            if 0xD800 <= code < 0xE000:
                continue
            out.append(chr(code))
        else:
            pool = rng.choice(pools)
            out.extend(rng.choice(pool) for _ in range(rng.randrange(1, 8)))
    return "".join(out)


def prompts(folder):
    for file in sorted((folder / "small-world").glob("*.json")):
        try:
            records = json.loads(file.read_text())
        except json.JSONDecodeError:
            continue
        for record in records[:10]:
            if isinstance(record, dict) and "instruction" in record:
                yield record["instruction"]


SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPIECE = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                            decoders.Strip(" ", 1, 0)])


def byte_level(split, normalizer=None, ignore_merges=False):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    return tok, pre_tokenizers.ByteLevel.alphabet()


def individual_digits():
    tok, alphabet = byte_level("")
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    return tok, alphabet


def sentencepiece(normalizer, pre_tokenizer, decoder):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer:
        tok.normalizer = normalizer
    if pre_tokenizer:
        tok.pre_tokenizer = pre_tokenizer
    tok.decoder = decoder
    return tok, []


def metaspace(scheme, split):
    return pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=split)


LEGACY = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
FAMILIES = {
    "qwen": byte_level(SPLIT % "", normalizers.NFC()),
    "llama3": byte_level(SPLIT % "{1,3}", ignore_merges=True),
    "gemma": sentencepiece(normalizers.Replace(" ", "▁"),
                           pre_tokenizers.Split(" ", "merged_with_previous"),
                           decoders.Sequence([decoders.Replace("▁", " "),
                                              decoders.ByteFallback(), decoders.Fuse()])),
    "llama2": sentencepiece(LEGACY, None, SPIECE),
    "mistral": sentencepiece(None, metaspace("first", False), SPIECE),
    "metaspace_always": sentencepiece(None, metaspace("always", True), decoders.Metaspace()),
    "metaspace_never": sentencepiece(None, metaspace("never", True),
                                     decoders.Metaspace(prepend_scheme="never")),
    "smollm": individual_digits(),
}
# The first ids, the token before every text, and the added tokens that are not special.
SPECIAL = {
    "qwen": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
               "<|eot_id|>", "<|eom_id|>"],
    "gemma": ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
    "smollm": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
}
SPIECE_SPECIAL = ["<unk>", "<s>", "</s>"]
BOS = {"llama3": "<|begin_of_text|>", "gemma": "<bos>", "llama2": "<s>", "mistral": "<s>"}
PLAIN = {
    "qwen": ["<tool_call>", "<think>", "</think>"],
    "gemma": ["\n" * n for n in range(1, 9)] + ["▁" * n for n in range(2, 6)] + ["<table>", "</b>"],
}
# Every way in which an added token may be peculiar; in all families.
PECULIAR = [AddedToken("<tag> x", normalized=True), AddedToken("<e\u0301>", normalized=True),
            AddedToken("<word>", single_word=True, normalized=False),
            AddedToken("<left>", lstrip=True, normalized=False),
            AddedToken("<right>", rstrip=True, normalized=False),
            AddedToken("<both> ", lstrip=True, rstrip=True, normalized=True),
            AddedToken("\t\t", normalized=False)]


def corpus():
    rng = random.Random(3)
    words = "the of and to in is you that it he was for on are as with his they I at be this have from"
    for _ in range(3000):
        line = " ".join(rng.choice(words.split()) for _ in range(rng.randrange(3, 15)))
        yield rng.choice(["", " ", "  "]) + line + rng.choice(["", ".", "!\n", "\n\n"])
    for _ in range(1000):
        yield random_text(rng, 40)
    # No published vocabulary has a zero byte in a token, and our JSON reader refuses it in a key.
    yield from (text.replace("\0", "") for text in FIXED)


def train(name):
    """The tokenizer.json of a family as text."""
    tok, alphabet = FAMILIES[name]
    special = SPECIAL.get(name, SPIECE_SPECIAL)
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)] if tok.model.byte_fallback else []
    if not alphabet:  # chosen here: the trainer chooses by chance among equally rare characters
        counts = Counter("▁".join(corpus()))
        alphabet = sorted(counts, key=lambda c: (-counts[c], c))[:250]
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=special + byte_tokens,
                                  initial_alphabet=alphabet, limit_alphabet=len(alphabet),
                                  show_progress=False)
    # Training sees no added tokens, so that the trained ones are ordinary.
    tok.train_from_iterator(corpus(), trainer)
    tok.add_tokens([AddedToken(t, normalized=False) for t in PLAIN.get(name, [])] + PECULIAR)
    if name in BOS:
        tok.post_processor = processors.TemplateProcessing(
            single=f"{BOS[name]} $A", special_tokens=[(BOS[name], tok.token_to_id(BOS[name]))])
    data = json.loads(tok.to_str())
    # Byte tokens are ordinary tokens in published files.
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] not in byte_tokens]
    if name == "llama2":  # files of its time spell merges so
        data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def from_tiktoken(file):
    """As transformers converts Llama 3's file; special tokens as in Llama 3.1."""
    rank = {base64.b64decode(t): int(r) for t, r in (l.split() for l in file.open("rb"))}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    spell = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    spelled = {t: "".join(spell[b] for b in t) for t in rank}
    merges = []
    for token in rank:
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        cuts = [c for c in cuts if c[0] in rank and c[1] in rank]
        merges += sorted(cuts, key=lambda c: (rank[c[0]], rank[c[1]]))
    merges.sort(key=lambda c: rank[c[0] + c[1]])
    tok, _ = byte_level(SPLIT % "{1,3}")
    tok.model = models.BPE(vocab={spelled[t]: r for t, r in rank.items()},
                           merges=[(spelled[a], spelled[b]) for a, b in merges], ignore_merges=True)
    named = {0: "begin_of_text", 1: "end_of_text", 4: "finetune_right_pad_id", 6: "start_header_id",
             7: "end_header_id", 8: "eom_id", 9: "eot_id", 10: "python_tag"}
    reserved = (f"reserved_special_token_{i}" for i in range(256))
    tok.add_special_tokens([f"<|{named.get(i) or next(reserved)}|>" for i in range(256)])
    return tok


def write_cases(name, tok, texts, n_random):
    rng = random.Random(7)
    texts = texts + [random_text(rng, rng.randrange(1, 60)) for _ in range(n_random)]
    cases = []
    for text in texts:
        ids = tok.encode(text, add_special_tokens=False).ids
        cases.append([text, ids, tok.decode(ids, skip_special_tokens=True)])
    # Ids in any order: byte tokens that are not characters, unused ids.
    for _ in range(60):
        ids = [rng.randrange(tok.get_vocab_size()) for _ in range(rng.randrange(1, 12))]
        cases.append([None, ids, tok.decode(ids, skip_special_tokens=True)])
    path = OUT / f"{name}.json"
    path.write_text(json.dumps({"cases": cases}, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(cases)} cases")


ADDED = ["<s>hello", "a <s> b", "<s> x<s>", " <|im_start|>user\nhi", "x<word>y <word> <word>.",
         "<word>é é<word> ²<word>\u0301 \u200d<word> 日<word>", "a  <left>  b", "a  <right>  b",
         "<right> \n\t\t x", "<right>\n\n\n<left> \n <left>", "<tag> x and <tag>  x",
         "a <both>  b", "<e\u0301> <\u00e9>", "\n\n\n\n", "x\n\ny", "\n" * 13, "▁a b",
         "[INST] hi [/INST]", "<s>[INST] hi [/INST]", "<s> [INST] hi", "a▁b  c▁▁d", "▁" * 7,
         "<table>a</b> <think>\n\n</think>", "<bos><start_of_turn>user\nhi<end_of_turn>"]


def main():
    OUT.mkdir(exist_ok=True)
    for file in sorted((ROOT / "models").glob("*/tokenizer.json")):
        texts = FIXED + list(prompts(ROOT / "models"))
        write_cases(file.parent.name, Tokenizer.from_file(str(file)), texts, 60)
    for name in FAMILIES:
        text = train(name)
        (OUT / f"{name}.tokenizer.json").write_text(text)
        write_cases(name, Tokenizer.from_str(text), FIXED + ADDED, 60)
    real = ROOT / "../shared/data/tokenizers/llama3.tiktoken"
    if real.exists():
        write_cases("llama3_real", from_tiktoken(real), FIXED + ADDED, 100)
    else:
        print(f"no {real}: llama3_real.json stays as it is")


if __name__ == "__main__":
    main()
