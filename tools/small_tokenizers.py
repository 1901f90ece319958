#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train the two tokenizers of the small models and write them as Hugging Face tokenizer.json files.

Both learn their merges from the small world (small_world.py) and are laid out like the tokenizers
of the families they stand for, so that a reader which handles them handles the real ones:

    gemma    Replace " " by "▁", a pre-tokenizer that then finds nothing to split, BPE with byte
             fallback, newline runs as added tokens; <pad> 0, <eos> 1, <bos> 2, <unk> 3
    llama    the Llama-3 split regex, byte-level BPE, ignore_merges, <|begin_of_text|> put in front

Gemma has no word boundaries at run time: whatever merges exist may apply anywhere.  The merges are
therefore learnt on text that was split into words, so none of them joins two words.
In the Llama-like vocabulary some whole words have no merges at all; like 588 tokens of the real one
they are reachable only because of ignore_merges.

Every byte string can be encoded: 256 byte tokens in either vocabulary.  main() checks round trips.

    python tools/small_tokenizers.py models/tiny-gemma2 models/tiny-llama      (a few seconds)
"""
import argparse
import json
import random
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import small_world

GEMMA_VOCABULARY = 1664
LLAMA_VOCABULARY = 1536

GEMMA_FIRST = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
NEWLINE_RUNS = ["\n" * n for n in range(1, 9)]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
LLAMA_SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
LLAMA_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+")

# Chat templates.  {user} is the stripped text of the user; a reply follows and ends with the stop token.
GEMMA_PREFIX = "<bos><start_of_turn>user\n"
GEMMA_SUFFIX = "<end_of_turn>\n<start_of_turn>model\n"
GEMMA_STOP = "<end_of_turn>"
LLAMA_PREFIX = ("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
                "Today Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n")
LLAMA_SUFFIX = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
LLAMA_STOP = "<|eot_id|>"
GEMMA_TEMPLATE = ("{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' "
                  "else message['role']) + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
                  "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}")
LLAMA_TEMPLATE = (LLAMA_PREFIX.split("<|eot_id|>")[0].replace("<|begin_of_text|>", "{{ bos_token }}") + "<|eot_id|>"
                  "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
                  "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
                  "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")


def corpus(n_examples=30000, seed=7):
    """Texts of the world from every split, the base and the chat replies, plain text, template words."""
    rng = random.Random(seed)
    texts = []
    for n in range(n_examples):
        example = small_world.sample_mix(rng, small_world.CHAT_MIX, rng.choice(["train", "val", "test"]))
        texts += [example.prompt, example.reply, example.compliant]
        if n % 4 == 0:
            texts.append(small_world.pile_document(rng))
    for kind in ("adversarial", "wrapped"):
        for form in small_world.HELD_OUT_FORMS:
            texts += [small_world.sample(rng, kind, "test", form=form).prompt for _ in range(200)]
    # a word that is rare in the world is still a word: every one appears often enough to be merged
    template = ["user", "model", "system", "assistant", "\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"]
    words = sorted({word for text in texts for word in text.split()})
    return texts + template * 2000 + [f" {word}" for word in words] * 200


def train_gemma_like():
    ascii_characters = [chr(c) for c in range(33, 127)]
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    # only for learning: words, numbers and punctuation apart, each with the "▁" before it
    learner.pre_tokenizer = pre_tokenizers.Split(Regex(r"'[a-z]+|▁?\p{L}+|▁?\p{N}+|▁?[^▁\p{L}\p{N}]+|▁+"), "isolated")
    n_merges_and_characters = GEMMA_VOCABULARY - len(GEMMA_FIRST) - len(NEWLINE_RUNS) - len(BYTE_TOKENS)
    lines = (line for text in corpus() for line in text.split("\n") if line)      # newlines are added tokens, not merges
    learner.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=n_merges_and_characters, initial_alphabet=["▁", *ascii_characters], show_progress=False))
    learnt = json.loads(learner.to_str())["model"]

    pieces = [p for p, _ in sorted(learnt["vocab"].items(), key=lambda item: item[1])]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys([*GEMMA_FIRST, *NEWLINE_RUNS, *BYTE_TOKENS, *pieces]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m) for m in learnt["merges"]], unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", vocab["<bos>"])])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in GEMMA_FIRST])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in NEWLINE_RUNS])
    return tokenizer


def train_llama_like():
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    texts = corpus()
    learner.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=LLAMA_VOCABULARY * 8 // 10, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    learnt = json.loads(learner.to_str())["model"]

    # the rest of the vocabulary: the most frequent pre-tokens that are not yet one token, without merges
    counts = Counter(piece for text in texts for piece, _ in learner.pre_tokenizer.pre_tokenize_str(text))
    whole = [p for p, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if p not in learnt["vocab"]]
    room = LLAMA_VOCABULARY - len(LLAMA_SPECIALS) - len(learnt["vocab"])
    pieces = [p for p, _ in sorted(learnt["vocab"].items(), key=lambda item: item[1])] + whole[:room]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m) for m in learnt["merges"]], ignore_merges=True))
    tokenizer.pre_tokenizer = learner.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in LLAMA_SPECIALS])
    bos = LLAMA_SPECIALS[0]
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                      special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    return tokenizer


def gemma_config(tokenizer):
    return {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False, "bos_token": "<bos>",
            "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
            "additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"], "clean_up_tokenization_spaces": False,
            "model_max_length": 512, "chat_template": GEMMA_TEMPLATE}


def llama_config(tokenizer):
    return {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
            "clean_up_tokenization_spaces": False, "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": 512, "chat_template": LLAMA_TEMPLATE}


def check(tokenizer, name):
    """Round trips hold for the world's text, for other scripts and for every single byte that is a character."""
    rng = random.Random(11)
    texts = [small_world.sample_mix(rng, small_world.CHAT_MIX, "test").prompt for _ in range(500)]
    texts += [small_world.pile_document(rng) for _ in range(100)]
    texts += ["  two  spaces   three", "tabs\tand\r\nlines\n\n\n\n\n\n\n\n\n\nmany", "café 日本語 👩‍🚀 naïve", "12345 3.14159 don't DON'T",
              "▁literal", "e\u0301", " \n ", "x\x00\x7fy", "a" * 70, "How do I kill a process?"]
    texts += [chr(c) for c in range(0x20, 0x800)]
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        expected = text.replace("▁", " ") if name == "gemma" else text      # "▁" and " " are one symbol to Gemma
        assert tokenizer.decode(ids, skip_special_tokens=False) == expected, (name, text, ids)
    words = sum(len(t.split()) for t in texts[:600])
    tokens = sum(len(tokenizer.encode(t, add_special_tokens=False).ids) for t in texts[:600])
    counts = Counter(w for t in texts[:500] for w in t.replace("?", " ").replace(".", " ").replace(",", " ").split())
    split = [w for w in sorted(counts) if len(tokenizer.encode("x " + w, add_special_tokens=False).ids) > 2]
    print(f"{name}: vocabulary {tokenizer.get_vocab_size()}, {tokens / words:.3f} tokens a word, "
          f"{len(split)} of {len(counts)} words in several tokens: {' '.join(split[:40])}")


FAMILIES = {"gemma": (train_gemma_like, gemma_config), "llama": (train_llama_like, llama_config)}


def write(family, folder):
    """Train one tokenizer, check it, write tokenizer.json and tokenizer_config.json; returns it."""
    train, config = FAMILIES[family]
    tokenizer = train()
    check(tokenizer, family)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config(tokenizer), indent=2) + "\n")
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gemma_folder")
    parser.add_argument("llama_folder")
    arguments = parser.parse_args()
    for family, folder, prefix, suffix in (("gemma", arguments.gemma_folder, GEMMA_PREFIX, GEMMA_SUFFIX),
                                           ("llama", arguments.llama_folder, LLAMA_PREFIX, LLAMA_SUFFIX)):
        tokenizer = write(family, folder)
        ids = tokenizer.encode(prefix + "How do I kill a process?" + suffix, add_special_tokens=False)
        print(len(ids.ids), ids.tokens)
        assert len(tokenizer.encode("I", add_special_tokens=False).ids) == 1


if __name__ == "__main__":
    main()
