#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden cases of the files beside a tokenizer.json: what transformers' AutoTokenizer (version 5)
makes of declarations in tokenizer_config.json, special_tokens_map.json and added_tokens.json over
the small tokenizers of make_tokenizers.py. tests/parity_tokenizers.py compares many more, live.

Written to tests/golden/tokenizers/side_files.json: {"cases": [{"base": FAMILY, "files": {NAME: ...},
"named": {NAME: TOKEN}, "texts": [[text, [ids], decoded], ...]}, ...]}; of a case whose declared ids
are not those that the tokens get, which has to be refused, "texts" is null.

Run: python3 tests/golden/make_side_files.py   (needs transformers 5; a minute)
"""
import json
import pathlib
import random
import shutil
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENIZERS = pathlib.Path(__file__).parent / "tokenizers"
OUT = TOKENIZERS / "side_files.json"

NAMES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
NEW = ["<|im_start|>", "<|im_end|>", "[PAD]", "<new>", "<a  b>", "<e\u0301>x", "<|image|>", "zq"]
FLAGS = ["lstrip", "rstrip", "single_word", "normalized", "special"]


def flags(rng):
    return {flag: rng.random() < 0.3 for flag in FLAGS}


def known(base):
    data = json.loads((TOKENIZERS / f"{base}.tokenizer.json").read_text())
    return data["added_tokens"], data["model"]["vocab"]


def a_token(rng, pool, typed=True):
    """A text, or a token with flags."""
    content = rng.choice(pool)
    if rng.random() < 0.6:
        return content
    token = {"content": content, **flags(rng)}
    if rng.random() < 0.2:
        del token["normalized"]
    return {"__type": "AddedToken", **token} if typed else token


def named_tokens(rng, pool, typed):
    names = rng.sample(NAMES, rng.randrange(0, 5))
    return {name: None if rng.random() < 0.1 else a_token(rng, pool, typed) for name in names}


def decoder(rng, added, next_id):
    out = {}
    for token in added:
        token = {k: v for k, v in token.items() if k != "id"} | {"id": token["id"]}
        if rng.random() < 0.25:
            token |= flags(rng)
        if rng.random() < 0.95:
            out[str(token.pop("id"))] = token
    for content in rng.sample(NEW, rng.randrange(0, 4)):
        out[str(next_id)] = {"content": content, **flags(rng)}
        next_id += 1 if rng.random() < 0.93 else 2
    return out


def a_case(rng, base):
    added, vocab = known(base)
    next_id = max([*vocab.values(), *(t["id"] for t in added)]) + 1
    pool = NEW + NEW + [t["content"] for t in added] + rng.sample(sorted(vocab), 5)
    config = named_tokens(rng, pool, True)
    if rng.random() < 0.5:
        config["added_tokens_decoder"] = decoder(rng, added, next_id)
    if rng.random() < 0.4:
        config["extra_special_tokens"] = rng.choice([
            [a_token(rng, pool) for _ in range(rng.randrange(3))],
            {f"{n}_token": rng.choice(pool) for n in rng.sample(["image", "audio", "boi"], rng.randrange(3))}])
    if rng.random() < 0.4:
        config["additional_special_tokens"] = [a_token(rng, pool) for _ in range(rng.randrange(3))]
    if rng.random() < 0.2:
        config["image_token"] = a_token(rng, pool)
    if rng.random() < 0.3:
        config["add_bos_token"] = rng.random() < 0.5
    if rng.random() < 0.7:
        config["tokenizer_class"] = rng.choice(["PreTrainedTokenizerFast", "TokenizersBackend"])
    model_type = "llama"
    if base == "llama3" and rng.random() < 0.3:
        config["tokenizer_class"] = "LlamaTokenizerFast"
    if base == "mistral":
        model_type = "mistral"
        config["tokenizer_class"] = "LlamaTokenizer"
    files = {"config.json": {"model_type": model_type}}
    if rng.random() < 0.9:
        files["tokenizer_config.json"] = config
    if rng.random() < 0.4:
        special = named_tokens(rng, pool, False)
        if rng.random() < 0.4:
            special["additional_special_tokens"] = [rng.choice(pool) for _ in range(rng.randrange(3))]
        if rng.random() < 0.2:
            special["extra_special_tokens"] = [a_token(rng, pool, False) for _ in range(rng.randrange(3))]
        files["special_tokens_map.json"] = special
    if rng.random() < 0.4:
        contents = rng.sample(NEW, rng.randrange(0, 3))
        files["added_tokens.json"] = {c: next_id + i for i, c in enumerate(contents)}
    return {"base": base, "files": files}


def write_folder(folder, case):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(TOKENIZERS / f"{case['base']}.tokenizer.json", folder / "tokenizer.json")
    for name, content in case["files"].items():
        (folder / name).write_text(json.dumps(content))


def declared(case):
    """(token, id) of every declaration that is read."""
    config = case["files"].get("tokenizer_config.json", {})
    if "added_tokens_decoder" in config:
        return [(t["content"], int(i)) for i, t in config["added_tokens_decoder"].items()]
    ids = {i for i in (t["id"] for t in known(case["base"])[0])}
    added = case["files"].get("added_tokens.json", {})
    return [(token, i) for token, i in added.items() if i not in ids]


def open_folder(folder, case):
    """transformers' tokenizer, and whether it keeps every declared id; None where it fails."""
    from transformers import AutoTokenizer
    try:
        library = AutoTokenizer.from_pretrained(folder)
    except (TypeError, ValueError, AttributeError):
        return None, False
    vocab = library.get_vocab()
    return library, all(vocab[token] == i for token, i in declared(case))


def texts_of(rng, library):
    tokens = sorted(library.get_added_vocab()) + NEW
    out = ["".join(tokens), " ".join(tokens), "  ".join(f"a{t}b" for t in tokens)]
    for _ in range(8):
        out.append("".join(rng.choice(["a", " ", "  ", "\n", "the of", "é", *tokens]) for _ in range(8)))
    return out


def expected(case, library, texts):
    ids = [library.encode(t, add_special_tokens=False) for t in texts]
    decoded = [library._tokenizer.decode(i, skip_special_tokens=True) for i in ids]
    return {**case, "named": library.special_tokens_map,
            "texts": [list(c) for c in zip(texts, ids, decoded)]}


def cases(rng, folder, n):
    """n cases that the library opens, with what it makes of them."""
    bases = ["llama3", "qwen", "gemma", "mistral", "llama2"]
    while n > 0:
        case = a_case(rng, bases[n % len(bases)])
        shutil.rmtree(folder, ignore_errors=True)
        write_folder(folder, case)
        library, keeps = open_folder(folder, case)
        if library is None:
            continue
        n -= 1
        if keeps:
            yield expected(case, library, texts_of(rng, library))
        else:
            yield {**case, "named": None, "texts": None}


def main():
    with tempfile.TemporaryDirectory() as folder:
        found = list(cases(random.Random(5), pathlib.Path(folder) / "model", 40))
    OUT.write_text(json.dumps({"cases": found}, separators=(",", ":")) + "\n")
    print(f"{OUT.name}: {len(found)} cases, {sum(c['texts'] is None for c in found)} to be refused")


if __name__ == "__main__":
    main()
