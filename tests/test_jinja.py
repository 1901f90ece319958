#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_jinja.py - chat templates rendered by the engine (host/text/jinja/jinja.h) and by Python's Jinja, set
up as transformers sets it up (tests/golden/make_jinja.py): the same text, or an error in both, with
the template's own words where it raises an exception.

    test_jinja.py JINJA_RENDER [N [SEED]]

    templates    every file of data/chat_templates in the folder SAENGINE_SHARED, or else ../shared
                 beside the repository, on conversations of all kinds
    cases        those of tests/golden/make_jinja.py, whose results test_jinja.c knows
    random       N (1500) random templates
    characters   white space and the case of every character that Unicode 3.2 had

Exits with 77, which ctest reads as skipped, where there is no jinja2; the published templates are
left out, with the reason, where their folder is absent.
"""

import collections
import itertools
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "golden"))

try:
    import make_jinja
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

REFUSED = "outside the part of Jinja"


class Engine:
    """The program that renders; one line in, one line out."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def render(self, template, variables):
        request = {"template": template, "variables": variables, "date": "2024-07-26"}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the program ended at {template!r}"
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


def agree(python, engine):
    if "text" in python:
        return engine.get("text") == python["text"]
    if "raises" in python:
        return engine.get("error", "").endswith(python["raises"])
    return "error" in engine


def difference(template, python, engine):
    return f"  template {template!r}\n    Python {python}\n    engine {engine}"


# ---- published templates -----------------------------------------------------------------------

IMAGE_FREE = [{"type": "text", "text": "What is this?"}, {"type": "text", "text": " Say."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Its name"},
                "days": {"type": "integer", "enum": [1, 2]},
            },
            "required": ["place"],
        },
    },
}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def conversations():
    user = turn("user", "How do I bake bread?")
    system = turn("system", "Answer briefly.")
    reply = turn("assistant", "With flour, water and heat.")
    odd = ["", " ", "\n", "  led and trailed \n", "Grüße, 日本 \U0001f600", "it's \"quoted\" \\ here",
           "a\n\nb\tc", "{{ x }} {% if y %} {# z #}", "<|im_end|><s>[INST] <think>a</think>b", "<b>&amp;</b>",
           "\u2028\u00a0x\u3000", "0", "None"]
    yield "user", [user]
    yield "system, user", [system, user]
    yield "turns", [system, user, reply, turn("user", "And then?")]
    yield "prefilled", [user, turn("assistant", "Take ")]
    yield "four turns", [user, reply, turn("user", "Why?"), reply, turn("user", "Thanks")]
    yield "thought", [user, turn("assistant", "<think>\nhm\n</think>\n\nDone."), turn("user", "ok")]
    yield "reasoning", [user, turn("assistant", "Done.", reasoning_content="hm", thinking="hm"), turn("user", "ok")]
    yield "two users", [user, user]
    yield "assistant first", [reply, user]
    yield "system alone", [system]
    yield "system last", [user, system]
    yield "other role", [turn("critic", "x"), user]
    yield "developer", [turn("developer", "Be kind."), user]
    yield "nothing", []
    yield "none", [turn("user", None)]
    yield "no content", [{"role": "user"}]
    yield "list", [turn("user", IMAGE_FREE)]
    yield "lists", [turn("system", IMAGE_FREE[:1]), turn("user", IMAGE_FREE), turn("assistant", IMAGE_FREE[:1])]
    yield "image", [turn("user", [{"type": "image"}, {"type": "text", "text": "x"}])]
    yield "number", [turn("user", 5)]
    yield "call", [
        user,
        turn("assistant", "", tool_calls=[{"id": "call00001", "type": "function", "function": {
            "name": "weather", "arguments": {"place": "Bonn", "days": 1}}}]),
        turn("tool", '{"sun": true}', name="weather", tool_call_id="call00001"),
        turn("user", "ok"),
    ]
    for content in odd:
        yield f"user {content!r}", [turn("user", content)]
        yield f"all {content!r}", [turn("system", content), turn("user", content), turn("assistant", content),
                                   turn("user", content)]


def settings():
    """Variables besides messages: as transformers passes them, and others that templates ask for."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    plain = {"tools": None, "documents": None, **tokens}
    for prompt, thinking in itertools.product([False, True], [{}, {"enable_thinking": True}, {"enable_thinking": False}]):
        yield {**plain, "add_generation_prompt": prompt, **thinking}
    yield {"add_generation_prompt": True}
    yield {**plain, "add_generation_prompt": True, "tools": [TOOL]}
    yield {**plain, "add_generation_prompt": True, "reasoning_effort": "high", "thinking": True,
           "thinking_budget": 512, "date_string": "26 Jul 2024", "builtin_tools": ["python"]}


def check_templates(engine, folder):
    files = sorted(folder.glob("*.jinja"))
    if not files:
        print(f"templates: skipped: none in {folder}")
        return []
    differences, n, raised, refused = [], 0, 0, collections.Counter()
    for path in files:
        template = path.read_text(encoding="utf-8")
        try:
            compiled = make_jinja.ENVIRONMENT.from_string(template)
        except Exception as e:
            compiled = None
            print(f"templates: {path.name}: Python refuses it: {e}")
        for (name, messages), variables in itertools.product(conversations(), settings()):
            variables = {"messages": messages, **variables}
            if compiled is None:
                python = {"error": "not compiled"}
            else:
                python = make_jinja.expected(None, variables, compiled=compiled)
            found = engine.render(template, variables)
            n += 1
            raised += "text" not in python
            if not agree(python, found):
                if REFUSED in found.get("error", ""):
                    refused[path.name] += 1
                differences.append(difference(f"{path.name}: {name}: {variables}", python, found))
    print(f"templates: {len(files)} files, {n} renderings, {raised} of them errors in Python, "
          f"{len(differences)} differ, {sum(refused.values())} refused {dict(refused) or ''}")
    return differences


# ---- the rest ----------------------------------------------------------------------------------


def check_cases(engine):
    differences, n = [], 0
    for template, variables in make_jinja.cases():
        python = make_jinja.expected(template, variables)
        if make_jinja.is_left_out(template, python):
            continue
        n += 1
        found = engine.render(template, variables)
        if not agree(python, found):
            differences.append(difference(template, python, found))
    print(f"cases: {n}, {len(differences)} differ")
    return differences


def check_random(engine, n, seed):
    generator = make_jinja.Generator(seed)
    differences, failed, refused = [], 0, collections.Counter()
    for _ in range(n):
        template = generator.template()
        python = make_jinja.expected(template, make_jinja.V)
        found = engine.render(template, make_jinja.V)
        failed += "error" in python
        if make_jinja.is_left_out(template, python):
            continue
        if REFUSED in found.get("error", "") and "text" in python:
            refused[found["error"].split(": ", 1)[1].split(" is outside")[0]] += 1
        elif not agree(python, found):
            differences.append(difference(template, python, found))
    print(f"random: {n} from seed {seed}, {failed} errors in Python, {sum(refused.values())} refused, "
          f"{len(differences)} differ")
    for what, count in refused.most_common(10):
        print(f"    refused {count}: {what}")
    # What is refused is named; a generator of what templates do must not be refused often.
    if sum(refused.values()) > n / 20:
        differences.append(f"  {sum(refused.values())} of {n} refused")
    return differences


def check_characters(engine):
    """Blocks of characters; where one is refused, its characters one by one."""
    template = (
        "{{ x|upper }}|{{ x|lower }}|{{ x.title() }}|{{ x|capitalize }}|{{ x.strip() }}|{{ x.split() }}|"
        "{{ x.isupper() }}{{ x.islower() }}{{ x.isalpha() }}{{ x.isspace() }}|{{ [x] }}|{{ x|tojson(true) }}"
    )
    assigned = [
        chr(c) for c in range(1, 0x110000)
        if not 0xD800 <= c < 0xE000 and unicodedata.ucd_3_2_0.category(chr(c)) != "Cn"
        and unicodedata.ucd_3_2_0.category(chr(c)) != "Co"
    ]
    blocks = [assigned[i:i + 64] for i in range(0, len(assigned), 64)]
    differences, refused = [], 0
    while blocks:
        block = blocks.pop()
        # A word apart each, so that none is the neighbour of another.
        text = " 1".join(block)
        python = make_jinja.expected(template, {"x": text})
        found = engine.render(template, {"x": text})
        if REFUSED in found.get("error", ""):
            if len(block) > 1:
                blocks += [[c] for c in block]
            else:
                refused += 1
        elif not agree(python, found):
            differences.append(difference(repr(text), python, found))
    print(f"characters: {len(assigned)}, {refused} refused, {len(differences)} differ")
    if refused > 120:
        differences.append(f"  {refused} characters refused")
    return differences


def main():
    program = sys.argv[1]
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    shared = Path(os.environ.get("SAENGINE_SHARED", ROOT.parent / "shared"))
    engine = Engine(program)
    differences = check_templates(engine, shared / "data" / "chat_templates")
    differences += check_cases(engine)
    differences += check_random(engine, n, seed)
    differences += check_characters(engine)
    engine.close()
    print(*differences[:20], sep="\n", end="\n" if differences else "")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
