#!/usr/bin/env python3
"""Golden files of the tokenizers: what the Hugging Face `tokenizers` library makes of some 1500
strings, for every models/*/tokenizer.json.

Written to tests/golden/tokenizers/NAME.json: {"cases": [[text, [ids], decoded], ...]}, where
decoded is the text of the ids with special tokens left out.

Run: python3 tests/golden/make_tokenizers.py [FOLDER with models]   (needs tokenizers; seconds)
"""
import json
import pathlib
import random
import sys

from tokenizers import Tokenizer

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


def prompts(models):
    for file in sorted((models / "small-world").glob("*.json")):
        try:
            records = json.loads(file.read_text())
        except json.JSONDecodeError:
            continue
        for record in records[:25]:
            if isinstance(record, dict) and "instruction" in record:
                yield record["instruction"]


def main():
    models = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "models"
    OUT.mkdir(exist_ok=True)
    for file in sorted(models.glob("*/tokenizer.json")):
        tok = Tokenizer.from_file(str(file))
        rng = random.Random(7)
        texts = FIXED + list(prompts(models))
        texts += [random_text(rng, rng.randrange(1, 60)) for _ in range(500)]
        cases = []
        for text in texts:
            ids = tok.encode(text, add_special_tokens=False).ids
            cases.append([text, ids, tok.decode(ids, skip_special_tokens=True)])
        # Ids in any order: byte tokens that are not characters, unused ids.
        for _ in range(200):
            ids = [rng.randrange(tok.get_vocab_size()) for _ in range(rng.randrange(1, 12))]
            cases.append([None, ids, tok.decode(ids, skip_special_tokens=True)])
        path = OUT / f"{file.parent.name}.json"
        path.write_text(json.dumps({"cases": cases}, separators=(",", ":")) + "\n")
        print(f"{path}: {len(cases)} cases")


if __name__ == "__main__":
    main()
