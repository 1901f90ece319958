#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the prompt of a guard model as a template of the judge experiment.

The chat template in a checkpoint's tokenizer_config.json renders a conversation of one user turn and one reply.
Rendered once with "{behavior}" and "{generation}" in their places, it is the text that the engine fills; so every
space and newline is the publisher's own.

    python3 tools/guard_template.py models/Llama-Guard-3-8B data/judge/llama_guard_3.txt

Needs transformers and jinja2; reads tokenizer files only. Prints the SHA-256, for judge.sha256.
"""
import argparse
import hashlib
from pathlib import Path


def render(checkpoint):
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    turns = [{"role": "user", "content": "{behavior}"}, {"role": "assistant", "content": "{generation}"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    for place in ("{behavior}", "{generation}"):
        if text.count(place) != 1:
            raise SystemExit(f"{checkpoint}: expected a chat template that shows {place} once, found it {text.count(place)} times")
    return text.encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("template", type=Path)
    arguments = parser.parse_args()
    text = render(arguments.checkpoint)
    arguments.template.parent.mkdir(parents=True, exist_ok=True)
    arguments.template.write_bytes(text)
    print(f"{arguments.template}: {len(text)} bytes, SHA-256 {hashlib.sha256(text).hexdigest()}")


if __name__ == "__main__":
    main()
