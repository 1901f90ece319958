#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares our tokenizers with the Hugging Face `tokenizers` library, live, on many strings.

For every golden tokenizer (tests/golden/tokenizers, one in the shape of each family), variants of
them that published files have (no merges ignored, unknown tokens not fused, half of the byte tokens
missing, ...), the shipped models and Llama 3's real vocabulary where it is: ids, decoded text, and
decoding token by token must be the same, and ill-formed UTF-8 must be refused.

Strings: every character of Unicode, the prompts of ../shared/data/prompts and models/small-world
where they are, this repository's own code, and random mixtures of words, white space, newline runs,
digits, scripts, emoji, combining marks, rare characters and added tokens.

Then the files beside a tokenizer.json, with transformers' AutoTokenizer (skipped where there is no
transformers 5): random declarations of tokens in tokenizer_config.json, special_tokens_map.json and
added_tokens.json (tests/golden/make_side_files.py); where a declared id is not the one that the
token gets, ours must refuse.

Run: tests/parity_tokenizers.py [--strings N] [--folders N] [NAME...]
     (needs tokenizers; build/cpu/tokenize; NAME side_files for the folders alone)
Exit status 1 when anything differs; the first differences are printed.
"""
import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/golden"))

import make_side_files  # noqa: E402
import make_tokenizers  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def no_merges_ignored(data):
    data["model"]["ignore_merges"] = not data["model"].get("ignore_merges")


def unknown_not_fused(data):
    data["model"]["fuse_unk"] = False
    data["model"]["byte_fallback"] = False


def half_of_the_byte_tokens(data):
    """Some characters fall back to bytes, others to the unknown token."""
    vocab = data["model"]["vocab"]
    for byte in range(0x80, 0x100, 3):
        vocab[f"missing {byte}"] = vocab.pop(f"<0x{byte:02X}>")


def no_unknown_token(data):
    data["model"]["unk_token"] = None
    half_of_the_byte_tokens(data)


def merges_spelled_otherwise(data):
    merges = data["model"]["merges"]
    data["model"]["merges"] = [m.split(" ") if isinstance(m, str) else " ".join(m) for m in merges]


def gpt2_split(data):
    data["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True,
                             "trim_offsets": True}


def splits_before_bytes(*steps):
    return {"type": "Sequence", "pretokenizers": [
        *({"type": "Split", "pattern": {"Regex": s}, "behavior": "Isolated", "invert": False}
          if isinstance(s, str) else s for s in steps),
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False, "trim_offsets": True}]}


def individual_digits(data):
    """SmolLM's."""
    data["pre_tokenizer"] = splits_before_bytes({"type": "Digits", "individual_digits": True})
    data["pre_tokenizer"]["pretokenizers"][-1]["use_regex"] = True


def runs_of_digits(data):
    data["pre_tokenizer"] = splits_before_bytes({"type": "Digits", "individual_digits": False})


def tekken_split(data):
    """Mistral's since Nemo."""
    data["pre_tokenizer"] = splits_before_bytes(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
        r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def deepseek_split(data):
    """Of llamas by DeepSeek, shortened: the end of a line, several steps, digits."""
    data["pre_tokenizer"] = splits_before_bytes(
        r"[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+",
        {"type": "Digits", "individual_digits": True})


def r1_split(data):
    data["pre_tokenizer"] = splits_before_bytes(
        r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
        r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def space_before(data):
    data["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True,
                             "trim_offsets": True}


def space_before_each_piece(data):
    data["pre_tokenizer"]["pretokenizers"][-1]["add_prefix_space"] = True


def contiguous_splits(data):
    data["pre_tokenizer"]["pretokenizers"][0] = {
        "type": "Split", "pattern": {"Regex": r"\p{Lu}|\p{Nd}|\s"}, "behavior": "Contiguous", "invert": False}


def no_decoder(data):
    data["decoder"] = None


VARIANTS = [("llama3", no_merges_ignored), ("qwen", no_merges_ignored), ("qwen", gpt2_split),
            ("gemma", unknown_not_fused), ("gemma", half_of_the_byte_tokens),
            ("llama2", half_of_the_byte_tokens), ("mistral", no_unknown_token),
            ("llama2", merges_spelled_otherwise), ("gemma", merges_spelled_otherwise),
            ("mistral", no_decoder), ("llama3", individual_digits), ("qwen", runs_of_digits),
            ("qwen", tekken_split), ("llama3", deepseek_split), ("qwen", r1_split),
            ("llama3", space_before), ("llama3", space_before_each_piece),
            ("llama3", contiguous_splits)]


def tokenizers(folder):
    """(name, path for us, the library's)."""
    for file in sorted((ROOT / "models").glob("*/tokenizer.json")):
        yield file.parent.name, file, Tokenizer.from_file(str(file))
    for name in make_tokenizers.FAMILIES:
        file = ROOT / f"tests/golden/tokenizers/{name}.tokenizer.json"
        yield name, file, Tokenizer.from_file(str(file))
    for name, change in VARIANTS:
        data = json.loads((ROOT / f"tests/golden/tokenizers/{name}.tokenizer.json").read_text())
        change(data)
        file = folder / f"{name}.{change.__name__}.json"
        file.write_text(json.dumps(data))
        yield file.stem, file, Tokenizer.from_file(str(file))
    real = ROOT / "../shared/data/tokenizers/llama3.tiktoken"
    if real.exists():
        library = make_tokenizers.from_tiktoken(real)
        library.save(str(folder / "llama3_real.json"))
        yield "llama3_real", real, library
        yield "llama3_real.as_json", folder / "llama3_real.json", library


def real_texts():
    for file in [*(ROOT / "../shared/data/prompts").rglob("*.json"),
                 *(ROOT / "models/small-world").glob("*.json")]:
        try:
            records = json.loads(file.read_text())
        except json.JSONDecodeError:
            continue
        yield from (r["instruction"] for r in records if isinstance(r, dict) and "instruction" in r)
        yield from (r for r in records if isinstance(r, str))
    for pattern in ("host/**/*.[ch]", "tools/*.py", "tests/*.py"):
        for file in sorted(ROOT.glob(pattern)):
            lines = file.read_text().split("\n")
            yield from ("\n".join(lines[i:i + 8]) for i in range(0, len(lines), 8))


def all_characters():
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    yield from ("".join(map(chr, codes[i:i + 16])) for i in range(0, len(codes), 16))
    # each beside a letter, white space, a digit and a mark: what split patterns tell apart
    assigned = [c for c in codes if c < 0x32400 or 0xE0000 <= c < 0xE0200]
    for i in range(0, len(assigned), 4):
        yield "".join(f"a{chr(c)}b {chr(c)} 1{chr(c)}2.{chr(c)}." for c in assigned[i:i + 4])


def mixtures(rng, n, added, real):
    pieces = ["\n" * k for k in range(1, 36)] + [" " * k for k in range(1, 20)]
    pieces += ["\r\n", "\t", "\t\t", "\u3000", "\u2028", "\x85", "\xa0", "\v", "\x1c", "\0"]
    pieces += ["'s", "'S", "'ſ", "don't", "'LL", "I'm", "0", "12", "123456", "3.14", "½", "٣", "Ⅷ"]
    pieces += ["👩‍🚀", "🇫🇷", "👍🏽", "é", "e\u0301", "a\u0323\u0302", "\u0302\u0323", "가", "각",
               "\u1100\u1161\u11a8", "Å", "Ω", "ﬁ", "日本", "ไทย", "مرحبا", "▁", "▁▁", "Ġ", "Ċ",
               "<0x0A>", "\u200d", "\ufeff", "\ufffd", "\U0010ffff", "\u180e", "\u0345"]
    for _ in range(n):
        out = []
        for _ in range(rng.randrange(1, 12)):
            r = rng.random()
            if r < 0.25:
                out.append(make_tokenizers.random_text(rng, rng.randrange(1, 10)))
            elif r < 0.5:
                out.append(rng.choice(pieces))
            elif r < 0.65 and added:
                out.append(rng.choice(added))
            elif r < 0.9:
                text = rng.choice(real)
                start = rng.randrange(len(text))
                out.append(text[start:start + rng.randrange(1, 40)])
            else:
                code = rng.randrange(0x110000)
                out.append("" if 0xD800 <= code < 0xE000 else chr(code))
        yield "".join(out)


def ill_formed(rng, n, real):
    """Bytes that are not UTF-8."""
    while n:
        data = bytearray(rng.choice(real)[:60].encode() + "é日👍".encode())
        where = rng.randrange(len(data))
        if rng.random() < 0.5:
            data[where] = rng.randrange(0x80, 0x100)
        else:
            del data[where]
        try:
            data.decode()
        except UnicodeDecodeError:
            n -= 1
            yield bytes(data)


def ours(path, texts, may_refuse=False):
    """For each text (ids, decoded), or None where it was refused; None where the files were."""
    program = subprocess.Popen([ROOT / "build/cpu/tokenize", path], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE if may_refuse else None)

    def feed():
        try:
            for text in texts:
                program.stdin.write(struct.pack("=I", len(text)) + text)
            program.stdin.close()
        except BrokenPipeError:
            pass

    feeder = threading.Thread(target=feed)
    feeder.start()
    out = program.stdout.read()
    feeder.join()
    if program.wait() != 0:
        if may_refuse and program.returncode == 3:
            return None
        sys.exit(f"{path}: tokenize stopped with {program.returncode}")
    results, at = [], 0
    for _ in texts:
        n, = struct.unpack_from("=i", out, at)
        at += 4
        if n < 0:
            results.append(None)
            continue
        ids = list(struct.unpack_from(f"={n}i", out, at))
        at += 4 * n
        length, = struct.unpack_from("=I", out, at)
        at += 4
        results.append((ids, out[at:at + length].decode()))
        at += length
    assert at == len(out)
    return results


def compare(name, path, library, n_strings):
    """Number of strings that differ."""
    rng = random.Random(name)
    real = [t for t in real_texts() if t]
    added = [t.content for t in library.get_added_tokens_decoder().values()]
    texts = real + list(all_characters())
    texts += list(mixtures(rng, max(0, n_strings - len(texts)), added, real))
    bad = list(ill_formed(rng, 1000, real))
    found = ours(path, [t.encode() for t in texts] + bad)
    n_bad = 0
    for start in range(0, len(texts), 5000):
        part = texts[start:start + 5000]
        ids = [e.ids for e in library.encode_batch(part, add_special_tokens=False)]
        decoded = library.decode_batch(ids, skip_special_tokens=True)
        for i, text in enumerate(part):
            if found[start + i] == (ids[i], decoded[i]):
                continue
            n_bad += 1
            if n_bad <= 5:
                print(f"  {text!r}\n    expected {ids[i], decoded[i]}\n    found    {found[start + i]}")
    accepted = sum(r is not None for r in found[len(texts):])
    print(f"{name}: {len(texts)} strings, {n_bad} differ; {len(bad)} ill-formed, "
          f"{accepted} accepted", flush=True)
    return n_bad + accepted


def compare_folders(folder, n):
    """Number of folders that differ."""
    try:
        import transformers
    except ImportError:
        transformers = None
    if not transformers or not transformers.__version__.startswith("5."):
        print("side_files: skipped, there is no transformers 5")
        return 0
    transformers.logging.set_verbosity_error()
    n_bad = n_refused = 0
    for case in make_side_files.cases(random.Random("side_files"), folder, n):
        texts = case["texts"]
        found = ours(folder, [t[0].encode() for t in texts or []], may_refuse=True)
        n_refused += texts is None
        if found == (texts and [(ids, decoded) for _, ids, decoded in texts]):
            continue
        n_bad += 1
        if n_bad <= 5:
            print(f"  {json.dumps(case['files'])} over {case['base']}")
            for text, one in zip(texts or [], found or [None] * 99):
                if one != (text[1], text[2]):
                    print(f"    {text[0]!r}\n    expected {text[1:]}\n    found    {one}")
    print(f"side_files: {n} folders, {n_bad} differ; {n_refused} of them to be refused", flush=True)
    return n_bad


def main():
    parser = argparse.ArgumentParser(description="Compare with the tokenizers library.")
    parser.add_argument("--strings", type=int, default=150000, help="at least so many a tokenizer")
    parser.add_argument("--folders", type=int, default=400, help="so many with side files")
    parser.add_argument("names", nargs="*", help="only these")
    arguments = parser.parse_args()
    n_bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, path, library in tokenizers(pathlib.Path(folder)):
            if not arguments.names or name in arguments.names:
                n_bad += compare(name, path, library, arguments.strings)
        if not arguments.names or "side_files" in arguments.names:
            n_bad += compare_folders(pathlib.Path(folder) / "model", arguments.folders)
    return n_bad > 0


if __name__ == "__main__":
    sys.exit(main())
