"""make_seeds.py - writes the seed corpora of the fuzz targets into tests/fuzz/corpus: small files,
one feature or fault each, named for it. Needs Python alone. Seeds that a fuzzer or a person added
are left alone.
"""

import base64
import io
import json
import os
import struct
import zipfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, data):
    d = f"{ROOT}/{target}"
    os.makedirs(d, exist_ok=True)
    if isinstance(data, str):
        data = data.encode()
    open(f"{d}/{name}", "wb").write(data)


def safetensors(header, data=b""):
    h = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(h)) + h + data


def tensor(dtype, shape, offsets):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


put(
    "safetensors",
    "two",
    safetensors(
        {
            "__metadata__": {"format": "pt"},
            "a": tensor("F32", [2, 2], [0, 16]),
            "b": tensor("BF16", [3], [16, 22]),
        },
        bytes(22),
    ),
)
put(
    "safetensors",
    "scalar_and_empty",
    safetensors({"a": tensor("I64", [], [0, 8]), "z": tensor("F32", [0, 5], [8, 8])}, bytes(8)),
)
put(
    "safetensors",
    "padded",
    safetensors(b'{"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}}    ', b"abc"),
)
put("safetensors", "many_dims", safetensors({"a": tensor("U8", [1, 1, 1, 1, 1, 2], [0, 2])}, b"ab"))
put("safetensors", "four_bits", safetensors({"a": tensor("F4", [4], [0, 2])}, b"ab"))
put(
    "safetensors",
    "overlap",
    safetensors({"a": tensor("F32", [2], [0, 8]), "b": tensor("F32", [2], [4, 12])}, bytes(12)),
)
put(
    "safetensors",
    "hole",
    safetensors({"a": tensor("U8", [2], [0, 2]), "b": tensor("U8", [2], [3, 5])}, bytes(5)),
)
put(
    "safetensors",
    "overflow",
    safetensors({"a": tensor("F32", [4611686018427387904, 16], [0, 16])}, bytes(16)),
)
put("safetensors", "trailing", safetensors({"a": tensor("U8", [2], [0, 2])}, bytes(5)))
put("safetensors", "no_tensor", safetensors({}))
put("safetensors", "huge_header", struct.pack("<Q", 2**64 - 1) + b"{}")
put("safetensors", "git_lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def npy(descr, shape, data, fortran=False, version=1):
    h = ("{'descr': %s, 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)).encode()
    h += b" " * (-(len(h) + 11) % 16) + b"\n"
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + (struct.pack("<H", len(h)) if version == 1 else struct.pack("<I", len(h)))
        + h
        + data
    )


def npz(members, method=zipfile.ZIP_STORED, comment=b"", zip64=False):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as z:
        for name, data in members:
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.compress_type = method
            with z.open(info, "w", force_zip64=zip64) as f:
                f.write(data)
        z.comment = comment
    return archive.getvalue()


f4 = struct.pack("<4f", 1, 2, 3, 4)
put(
    "npz",
    "stored",
    npz([("a.npy", npy("'<f4'", "(4,)", f4)), ("b.npy", npy("'<f2'", "(2, 1)", b"abcd"))]),
)
put("npz", "deflated", npz([("a.npy", npy("'<f4'", "(2, 2)", f4))], zipfile.ZIP_DEFLATED))
put("npz", "zeros", npz([("a.npy", npy("'<f4'", "(256,)", bytes(1024)))], zipfile.ZIP_DEFLATED))
put("npz", "fortran", npz([("a.npy", npy("'<f8'", "(2, 1)", bytes(16), True))]))
put("npz", "scalar", npz([("a.npy", npy("'<i8'", "()", bytes(8)))]))
put("npz", "version_2", npz([("a.npy", npy("'<i4'", "(1,)", bytes(4), version=2))]))
put("npz", "zip64", npz([("a.npy", npy("'<f4'", "(1,)", bytes(4)))], zip64=True))
zipfile.ZIP64_LIMIT = 0  # sizes, offsets and the directory as in an archive beyond 4 GiB
put("npz", "zip64_directory", npz([("a.npy", npy("'<f4'", "(1,)", bytes(4)))], zip64=True))
zipfile.ZIP64_LIMIT = (1 << 31) - 1
put("npz", "comment", npz([("a.npy", npy("'<f4'", "(1,)", bytes(4)))], comment=b"PK\5\6 not yet"))
put("npz", "pickled", npz([("a.npy", npy("'|O'", "(1,)", b"\x80\x04K\x01."))]))
put("npz", "empty", npz([]))
for method, name in ((zipfile.ZIP_STORED, "crc_stored"), (zipfile.ZIP_DEFLATED, "crc_deflated")):
    wrong = bytearray(npz([("a.npy", npy("'<f4'", "(2, 2)", f4))], method))
    wrong[wrong.index(b"PK\1\2") + 16] ^= 1
    put("npz", name, bytes(wrong))
put("npz", "git_lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
put(
    "json",
    "object",
    '{"a": 1, "b": -2.5e3, "c": "t\\u00e9\\n", "d": [true, false, null], "e": {}, "f": null, "g": true}',
)
put("json", "array", '[[], {}, [[["deep"]]], 0, -0, 1e-7, "\\ud83d\\ude00"]')
put("json", "duplicate", '{"a":1,"a":2}')
put("json", "nul", '{"a":"x\\u0000y"}')
put("json", "bad_utf8", b'["\xff\xc0\x80"]')
put("json", "surrogate", '["\\ud800"]')
put("json", "big_integer", "[99999999999999999999, 1e999]")
put("json", "git_lfs", "version https://git-lfs.github.com/spec/v1\n")
put("csv", "plain", ",goal,target\na,b\nc,d\n")
put("csv", "quoted", ',x,y\r\n"a ""b""","c\r\nd"\r\n"",""\r\n')
put("csv", "tabs", '\tx\ty\n"a\tb"\tc\n\n\nd\te')
put("csv", "carriage", ",a,b\rc,d\r")
put("csv", "stray_quote", ',a "b" c,d""\n')
put("csv", "open_quote", ',a,"b\nc')
put("csv", "text_behind_quote", ',"a"b,c\n')
put("csv", "empty_fields", ",,,\n,,\n")
put("python_list", "both_quotes", """['a', "it's", 'say "x"', ]""")
put("python_list", "escapes", r"""['\\ \' \" \a\b\f\n\r\t\v \101 \x41 \u20ac \U0001F600 \q']""")
put("python_list", "continued", "[ 'a\\\nb' ,\n 'c']")
put("python_list", "empty", "[]")
put("python_list", "no_comma", "['a' 'b']")
put("python_list", "zero", r"['\x00']")
put("python_list", "surrogate", r"['\ud800']")
put("python_list", "named", r"['\N{DASH}']")
put("python_list", "cut", "['a', 'b")
put("python_list", "utf8", "['\u00e9\u65e5', '\U0001f600']")


def prompts(name, fmt, setting, text):
    put(
        "prompts",
        name,
        bytes([["json", "jsonl", "csv", "tsv", "txt"].index(fmt) + 5 * setting])
        + (text if isinstance(text, bytes) else text.encode()),
    )


prompts(
    "refusal_direction",
    "json",
    0,
    '[{"instruction": "a", "category": null}, {"instruction": "b", "category": "x"}]',
)
prompts("texts", "json", 0, '["a", "b\\nc"]')
prompts(
    "alpaca",
    "json",
    0,
    '[{"instruction":"a","input":"","output":"o"},{"instruction":"b","input":"i","output":"o"}]',
)
prompts(
    "lines_called_json",
    "json",
    0,
    '{"Category":"c","Question":"q"}\n{"Category":"d","Question":"r"}\n',
)
prompts("gsm8k", "jsonl", 0, '{"question":"How many?","answer":"2+2\\n#### 1,004"}\n')
prompts(
    "arc",
    "jsonl",
    0,
    '{"question":{"stem":"Which?","choices":[{"text":"x","label":"1"},{"text":"y","label":"2"}]},"answerKey":"2"}',
)
prompts(
    "arc_lists",
    "jsonl",
    0,
    '{"question":"Which?","choices":{"text":["x","y"],"label":["A","B"]},"answerKey":"A"}',
)
prompts(
    "harmbench",
    "csv",
    0,
    'Behavior,FunctionalCategory,SemanticCategory,ContextString\r\n"a ""b""",standard,x,"c\r\nd"\r\n',
)
prompts(
    "jailbreakbench", "csv", 1, ",Goal,Target,Behavior,Category\n0,a,t,b,c\n1,d,t,b,c\n2,e,t,b,c\n"
)
prompts("named_fields", "csv", 2, "ask,kind\na,x\nb,y\n")
prompts("suffixes", "csv", 3, 'goal,response\na,"[\'b\', ""it\'s""]"\n')
prompts("suffixes_json", "json", 3, '[{"goal":"a","response":["b","c"]}]')
prompts("where", "csv", 4, "goal,kind\na,x\nb,y\n")
prompts(
    "where_three",
    "jsonl",
    5,
    '{"prompt":"a","kind":"y=1","label":1,"category":"x"}\n{"prompt":"b","kind":"x","label":0}\n',
)
prompts(
    "wildjailbreak",
    "tsv",
    0,
    'vanilla\tadversarial\tcompletion\tdata_type\nv\t\tc\tvanilla_harmful\nw\t"a\tb"\t\tadversarial_harmful\n',
)
prompts("shuffled", "txt", 1, "a\nb\nc\nd\n")
prompts("plain", "txt", 0, b"\xef\xbb\xbfone\r\n\n two \nthree")
prompts("bad_utf8", "txt", 0, b"one\ntw\xffo")
prompts("empty_prompt", "csv", 0, 'goal,x\n"",y\n')
prompts("no_field", "json", 0, '[{"a":1}]')
prompts("parquet", "json", 0, "PAR1xx")
prompts("git_lfs", "csv", 0, "version https://git-lfs.github.com/spec/v1\n")
put(
    "config",
    "small",
    'experiment = ["direction", "jailbreak"];\noutput = "o.h5";\nmodel = { path = "m"; };\nsae : { path = "s"; width = "1k"; l0 = 10.0; };\nprompts = {\n harmful_train = { file = "a.json"; limit = 8; shuffle = true; };\n harmless_train = { file = "b.csv"; where = ["k=v", "l=w"]; text_field = "t"; };\n harmful_test = { file = "c.tsv"; format = "tsv"; };\n};\ndirection = { layer = 3; };\njailbreak = { scale = [-1.0, 2]; scopes = "global"; };\n',
)
put(
    "config",
    "overrides",
    'experiment = "coherence";\noutput = "o";\nmodel = { path = "m"; };\nprompts = { harmless_test = { file = "x.json"; }; };\nsae = { path = "s"; };\n--set generate.max_new_tokens=48\n--set model.path=a b\n--set induce.value=[1.0, 2.5]\n--set prompts.harmless_test.limit=7\n',
)
put(
    "config",
    "faults",
    'experiment = ["atribution"];\nouput = 3;\nmodel = { path = 3; n_ctx = -4; };\nsae = { l0 = "many"; };\nprompts = { a = 3; b = { fil = "x"; where = "x"; }; };\nseed = 9007199254740993L;\nthreads = 0x7fffffffffffffff;\n',
)
put("config", "syntax", "model = { path = ;\n")
put(
    "config",
    "kinds",
    'a = (1, [2, 3], { b = "c"; }); d = 1e400; e = "\\x41\\n" "joined"; f = true; # comment\n/* c */ // d\n',
)
put(
    "config",
    "wide_integer",
    'experiment = "direction";\noutput = "o";\nmodel = { path = "m"; };\nprompts = { harmful_train = { file = "x"; }; harmless_train = { file = "y"; }; };\ndirection = { layer = 3; };\nseed = 5000000000L;\n',
)
put("config", "empty", "")
g = {
    "model_type": "gemma2",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "vocab_size": 32,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": None,
    "sliding_window": 4096,
    "query_pre_attn_scalar": 4,
    "hidden_activation": "gelu_pytorch_tanh",
}
put("arch", "gemma2", json.dumps(g))
put(
    "arch",
    "llama3",
    json.dumps(
        {
            "model_type": "llama",
            "num_hidden_layers": 2,
            "hidden_size": 8,
            "intermediate_size": 16,
            "num_attention_heads": 2,
            "vocab_size": 32,
            "rms_norm_eps": 1e-5,
            "rope_theta": 500000.0,
            "hidden_act": "silu",
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
            "tie_word_embeddings": True,
        }
    ),
)
put(
    "arch",
    "gemma3",
    json.dumps(
        {
            "model_type": "gemma3",
            "text_config": {
                "model_type": "gemma3_text",
                "num_hidden_layers": 6,
                "hidden_size": 8,
                "intermediate_size": 16,
                "sliding_window": 512,
                "sliding_window_pattern": 6,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
                "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
            },
        }
    ),
)
put(
    "arch",
    "qwen3",
    json.dumps(
        {
            "model_type": "qwen3",
            "num_hidden_layers": 2,
            "hidden_size": 8,
            "intermediate_size": 16,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": 32,
            "attention_bias": False,
            "use_sliding_window": True,
            "sliding_window": 16,
            "max_window_layers": 1,
        }
    ),
)
put(
    "arch",
    "mistral",
    json.dumps(
        {
            "model_type": "mistral",
            "num_hidden_layers": 1,
            "hidden_size": 8,
            "intermediate_size": 16,
            "num_attention_heads": 2,
            "vocab_size": 32,
            "sliding_window": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        }
    ),
)
put(
    "arch",
    "quantized",
    json.dumps(
        {
            "model_type": "llama",
            "quantization_config": {
                "quant_method": "awq",
                "format": "é" * 21,
                "load_in_8bit": True,
                "bits": 4,
                "w_bit": -(2**63),
            },
        },
        ensure_ascii=False,
    ),
)
put(
    "arch",
    "wrong_kinds",
    json.dumps(
        {"model_type": "llama", "num_hidden_layers": "2", "hidden_size": -8, "rope_scaling": []}
    ),
)
put("arch", "unknown", '{"model_type":"bert"}')
put(
    "arch",
    "head_of_no_width",
    '{"model_type":"llama","num_hidden_layers":1,"hidden_size":8,"intermediate_size":16,"num_attention_heads":16,"vocab_size":32}',
)


def put_json(target, name, value):
    put(target, name, json.dumps(value, ensure_ascii=False, separators=(",", ":")))


LORA = {"peft_type": "LORA", "bias": "none"}
put_json(
    "adapter",
    "list",
    LORA
    | {"r": 4, "lora_alpha": 6, "target_modules": ["down_proj", "q_proj", "v_proj"]}
    | {"rank_pattern": {"^model\\.layers\\.[02]\\.mlp\\.down_proj": 3, "layers.1.self_attn.q_proj": 2}}
    | {"alpha_pattern": {"model.layers.1.self_attn.q_proj": 1.5, "v_proj": 10}},
)
put_json(
    "adapter",
    "all_linear",
    LORA | {"r": 3, "lora_alpha": 2, "use_rslora": True, "target_modules": "all-linear", "exclude_modules": ["o_proj"]},
)
put_json(
    "adapter",
    "layers",
    LORA
    | {"r": 5, "lora_alpha": 5, "target_modules": ["k_proj", "up_proj"], "modules_to_save": ["norm", "embed_tokens"]}
    | {"layers_to_transform": [1], "layers_pattern": "layers"},
)
put_json(
    "adapter",
    "pattern",
    LORA
    | {"r": 2, "lora_alpha": 4, "target_modules": ".*layers\\.\\d\\.(?:mlp|self_attn)\\.(gate|up|k)_proj"}
    | {"exclude_modules": ".*\\.0\\.mlp\\.up_proj", "modules_to_save": ["lm_head"]},
)


MODEL = {
    "type": "BPE",
    "vocab": {"a": 0, "b": 1, "ab": 2, "<0xC3>": 3, "<0xA9>": 4, "▁": 5, "<unk>": 6},
    "merges": ["a b"],
    "unk_token": "<unk>",
    "fuse_unk": True,
    "byte_fallback": True,
}
TO_MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
FROM_MARK = [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
put_json(
    "tokenizer",
    "gemma",
    {
        "added_tokens": [
            {"id": 7, "content": "<x>", "special": True, "normalized": False},
            {"id": 8, "content": "\n\n", "normalized": False},
        ],
        "normalizer": TO_MARK,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<x>"}}, {"Sequence": {"id": "A"}}],
            "special_tokens": {"<x>": {"ids": [7]}},
        },
        "decoder": {"type": "Sequence", "decoders": FROM_MARK},
        "model": MODEL,
    },
)
put_json(
    "tokenizer",
    "llama2",
    {
        "added_tokens": [
            {
                "id": 7,
                "content": "<x> ",
                "normalized": True,
                "lstrip": True,
                "rstrip": True,
                "single_word": True,
            }
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "▁"}, TO_MARK],
        },
        "decoder": {"type": "Sequence", "decoders": [*FROM_MARK, STRIP]},
        "model": MODEL,
    },
)
put_json(
    "tokenizer",
    "mistral",
    {
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "first",
            "split": True,
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "model": MODEL | {"merges": [["a", "b"]], "byte_fallback": False, "fuse_unk": False},
    },
)
put_json(
    "tokenizer",
    "qwen",
    {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": r"\p{N}|\s+(?!\S)|[^\s\p{L}]+|\p{L}+"},
                    "behavior": "Isolated",
                },
                {"type": "ByteLevel", "use_regex": False},
            ],
        },
        "decoder": {"type": "ByteLevel"},
        "model": {
            "vocab": {"a": 0, "b": 1, "ab": 2, "Ã": 3, "©": 4, "Ġ": 5},
            "merges": ["a b"],
            "ignore_merges": True,
        },
    },
)
put_json(
    "tokenizer",
    "smollm",
    {
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "Split", "pattern": {"Regex": r"\s+$|\p{Lu}"}, "behavior": "Contiguous"},
                {"type": "ByteLevel", "add_prefix_space": True},
            ],
        },
        "decoder": {"type": "ByteLevel"},
        "model": {"vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "1": 4}, "merges": ["a b"]},
    },
)
put_json(
    "tokenizer",
    "llama3",
    {
        "added_tokens": [{"id": 7, "content": "<x>", "special": True}],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": r"(?i:'s|'t)|[^\r\n\p{L}\d]?\p{L}+|\p{N}{1,3}|[\s\x41]+"},
                    "behavior": "Isolated",
                },
                {"type": "ByteLevel", "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "Sequence",
            "processors": [
                {"type": "ByteLevel"},
                {
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "<x>"}}],
                    "special_tokens": {"<x>": {"ids": [7]}},
                },
            ],
        },
        "padding": {"pad_token": "<x>"},
        "model": {"vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": ["a b"]},
    },
)
put_json("tokenizer", "no_merges", {"model": {"vocab": {"a": 0}}})
put_json("tokenizer", "merge_without_token", {"model": {"vocab": {"a": 0}, "merges": ["a b"]}})
put_json(
    "tokenizer",
    "bos_without_spelling",
    {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<x>"}}],
            "special_tokens": {"<x>": {"ids": [1]}},
        },
        "model": {"vocab": {"a": 0, "b": 2}, "merges": []},
    },
)
tokens = [b"a", b"b", b" ", b"\xc3", b"\xa9", b"ab", b"aba", b"\xc3\xa9"]
lines = [f"{base64.b64encode(t).decode()} {i}\n" for i, t in enumerate(tokens)]
put("tokenizer", "tiktoken", "".join(lines))
put("tokenizer", "tiktoken_id_twice", "YQ== 0\nYg== 0\n")

# ---- tokenizer_side ----------------------------------------------------------------------------

NEW = {"content": "<n>", "lstrip": True, "rstrip": False, "normalized": False, "special": True}
put_json(
    "tokenizer_side",
    "decoder",
    {
        "tokenizer_config": {
            "added_tokens_decoder": {"5": NEW | {"content": "<x>"}, "7": NEW},
            "bos_token": "<x>",
            "eos_token": {"__type": "AddedToken", "content": "<n>"},
            "unk_token": None,
            "image_token": "<i>",
            "extra_special_tokens": ["<e>", {"content": "<f>", "single_word": True}],
            "add_bos_token": True,
        },
        "config": {"model_type": "llama"},
    },
)
put_json(
    "tokenizer_side",
    "legacy",
    {
        "tokenizer_config": {
            "tokenizer_class": "GemmaTokenizer",
            "additional_special_tokens": ["<e>"],
            "extra_special_tokens": {"audio_token": "<au>"},
        },
        "special_tokens_map": {"pad_token": NEW | {"content": "<y> "}, "eos_token": "<n>"},
        "added_tokens": {"<n>": 7, "<m>": 8},
    },
)
put_json("tokenizer_side", "wrong_id", {"added_tokens": {"<n>": 9}})
put_json("tokenizer_side", "no_token", {"tokenizer_config": {"bos_token": 1}})

put("encode", "words", "Hello, don't  world\n\n 123456\t'ſ")
put("encode", "marks", "▁a▁ e\u0301 <s><w> x\n\n\n")
put("encode", "emoji", "👩‍🚀 日本語 \u0958")
put("encode", "bad_utf8", b"ab\xff")
put("encode", "half", b"\xe2\x96")

# JSON beside SAEs: one document for all readers
SAELENS = {"architecture": "topk", "d_in": 24, "d_sae": 40, "k": 6, "dtype": "float32",
           "apply_b_dec_to_input": False, "normalize_activations": "layer_norm",
           "reshape_activations": "none", "rescale_acts_by_decoder_norm": True,
           "metadata": {"hook_name": "blocks.2.hook_resid_post", "model_name": "x"}}
LLAMA_SCOPE = {"hook_point_in": "blocks.0.hook_resid_post", "d_model": 24, "act_fn": "jumprelu",
               "jump_relu_threshold": 0.4, "norm_activation": "dataset-wise", "top_k": 7,
               "dataset_average_activation_norm": {"in": 3.5, "out": 4.25}}
LM_SAES = {"sae_type": "sae", "hook_point_in": "blocks.1.hook_resid_post",
           "hook_point_out": "blocks.1.hook_resid_post", "act_fn": "jumprelu",
           "norm_activation": "dataset-wise", "sparsity_include_decoder_norm": False,
           "apply_decoder_bias_to_pre_encoder": True, "use_glu_encoder": False}
put("sae_config", "saelens", json.dumps(SAELENS))
put("sae_config", "saelens_before_6",
    '{"architecture":"standard","activation_fn_str":"topk","activation_fn_kwargs":{"k":3},'
    '"hook_point":"blocks.10.hook_resid_pre","normalize_activations":false,'
    '"finetuning_scaling_factor":true}')
put("sae_config", "gated", '{"architecture":"gated","normalize_activations":"constant_norm_rescale"}')
put("sae_config", "transcoder", '{"architecture":"skip_transcoder"}')
put("sae_config", "metadata_is_a_list", '{"metadata":[1],"hook_name":"blocks.999999.hook_resid_post"}')
put("sae_config", "hook_of_no_block", '{"hook_name":"blocks.9999999999999999999.hook_resid_pre"}')
put("sae_config", "sparsify", '{"activation":"groupmax","k":6,"num_latents":48,"signed":false}')
put("sae_config", "sparsify_transcoder", '{"activation":"topk","k":0,"transcode":true}')
put("sae_config", "llama_scope", json.dumps(LLAMA_SCOPE))
put("sae_config", "llama_scope_norm_null",
    json.dumps(LLAMA_SCOPE | {"dataset_average_activation_norm": None}))
put("sae_config", "llama_scope_1e999", json.dumps(LLAMA_SCOPE).replace("3.5", "1e308").replace("0.4", "-0.0"))
put("sae_config", "lm_saes", json.dumps(LM_SAES))
put("sae_config", "lm_saes_transcoder", json.dumps(LM_SAES | {"hook_point_out": "blocks.1.hook_mlp_out"}))
put("sae_config", "list", "[{}]")
put("sae_config", "gemma_scope_2",
    '{"hf_hook_point_in":"model.layers.1.pre_feedforward_layernorm.output","type":"transcoder",'
    '"hf_hook_point_out":"model.layers.1.post_feedforward_layernorm.output","l0":50.0}')
put("sae_config", "two_hooks",
    '{"hook_name":"blocks.1.hook_resid_post","hook_layer":2,"model_name":"m","hook_head_index":0,'
    '"metadata":{"hook_name":"model.layers.1.output","hook_point_layer":1}}')
put("sae_config", "folder", '{"hook_name":"Llama3_1-8B-Base-L1TC-8x"}')

# The index of a model's shards
put("shard_index", "two", '{"metadata":{"total_size":8},"weight_map":{"a.weight":'
    '"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"m"}}')
put("shard_index", "empty", '{"weight_map":{}}')
put("shard_index", "no_map", '{"metadata":{}}')
put("shard_index", "folder", '{"weight_map":{"a":"x/m.safetensors"}}')
put("shard_index", "above", '{"weight_map":{"a":"..","b":"m"}}')
put("shard_index", "back_slash", r'{"weight_map":{"a":"x\\m"}}')
put("shard_index", "zero_byte", r'{"weight_map":{"a":"m\u0000n"}}')
put("shard_index", "number", '{"weight_map":{"a":1}}')
put("shard_index", "twice", '{"weight_map":{"a":"m","a":"n"}}')
put("shard_index", "list", "[1]")

put("judge_template", "plain", "Request:\n{behavior}\n\nReply:\n{generation}\n\nAnswer:\n")
put("judge_template", "twice", "{generation}{behavior}{generation}{behavior}")
put("judge_template", "nested", "{{behavior}}{behavior{generation}}{gener")
put("judge_template", "context", "{behavior}{context}{generation}")
put("judge_template", "one", "{generation}")
put("judge_template", "not_utf8", b"{behavior}\xc3({generation}")

# Chat templates; behind a zero byte their variables
put("jinja", "chat", "{%- for m in messages %}\n{%- if m.role == 'user' %}{{- '<u>' + m['content'] + '\\n' }}"
    "{%- else %}{{ m.content | trim }}{% endif %}\n{%- endfor %}{% if add_generation_prompt %}<a>{% endif %}\n")
put("jinja", "variables", '{{ x|tojson(indent=2) }}{{ x.a }}\0{"x":{"a":[1,2.5,null,true,"\\u00e9"]}}')
put("jinja", "raise", "{% if messages[0]['role'] != 'system' %}{{ raise_exception('no ' ~ n) }}{% endif %}")
put("jinja", "namespace", "{% set ns = namespace(a=0) %}{% for x in l if x > 1 %}{% set ns.a = ns.a + x %}"
    "{{ loop.index }}{{ loop.last }}{{ loop.length }}{% else %}none{% endfor %}{{ ns.a }}{{ ns }}")
put("jinja", "macro", "{% macro f(a, b=2, *c) %}{% endmacro %}")
put("jinja", "macros", "{% macro f(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% if a %}{{ f(a - 1) }}"
    "{% endif %}{% endmacro %}{{ f(2) }}{{ f(1, 2, 3, x=4) }}{{ f(b=1) }}")
put("jinja", "call", "{% macro f() %}[{{ caller(1) }}]{% endmacro %}{% call(x, y=2) f() %}{{ x }}{{ y }}{% endcall %}")
put("jinja", "blocks", "{% set x | upper %}a{{ n }}{% endset %}{{ x }}{% filter indent(2) %}a\nb{% endfilter %}"
    "{% with a = 1, b = a %}{{ a }}{% endwith %}{% generation %}g{% endgeneration %}")
put("jinja", "loops", "{% for k, v in d.items() %}{% if loop.first %}{% continue %}{% endif %}{{ k }}{{ v }}"
    "{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle(1, 2) }}{{ loop.changed(v) }}{% break %}{% endfor %}")
put("jinja", "space", "  {% if n -%}  \n a {#- c -#} \n {%+ endif +%}\n {{- n -}} \n{% raw -%} {{ x }} {%- endraw %}\n")
put("jinja", "strings", "{{ 'a,b'.split(',', 1) }}{{ ' x '.strip() }}{{ 'ab'[::-1] }}{{ 'é'.upper() }}{{ 'a\\u00e9\\n\\x41\\é' }}"
    "{{ 'abc'.replace('b', '') }}{{ 'abc'.partition('b') }}{{ 'x'.center(5, '-') }}{{ 'a b'.title() }}{{ 'aa'.rfind('a', 0, 1) }}")
put("jinja", "parts", "{{ 'ab'.rindex('b') }}{{ 'ab'.count('a') }}{{ 'a-b'.rsplit('-', 1) }}{{ 'a b'.rsplit() }}"
    "{{ 'a\\r\\nb'.splitlines(true) }}{{ 'aXb'.rpartition('X') }}{{ '-'.join(['a', 'b'|safe]) }}"
    "{{ 'aaa'.replace('', '-', 2) }}{{ 'ab'.removeprefix('a').removesuffix('b') }}")
put("jinja", "letters", "{{ 'x'.ljust(4) }}{{ 'x'.rjust(4, '*') }}{{ '-7'.zfill(5) }}{{ ' x '.rstrip() }}"
    "{{ 'a7'.isalnum() }}{{ 'a'.isalpha() }}{{ ' '.isspace() }}{{ 'a'.islower() }}{{ '7'.isnumeric() }}"
    "{{ ('a'|safe).ljust(3, '-') }}{{ 'ß'.upper() }}")
put("jinja", "containers", "{{ d.get('b', 1) }}{{ d.get('z') }}{{ d.copy() }}{{ l.copy() }}{{ l.count(1) }}{{ l.index(2) }}"
    "{{ (1, 2).index(2) }}{{ d|tojson(sort_keys=true, separators=(',', ':')) }}{{ [0.5, 1e300 * 1e300]|tojson }}")
put("jinja", "kinds", "{{ n is even }}{{ 'a' is lower }}{{ 'a' is upper }}{{ n is ne 3 }}{{ n is sameas none }}{{ x is undefined }}"
    "{{ none is none }}{{ true is boolean }}{{ f is float }}{{ true is true }}{{ n is lt 4 }}{{ n is integer }}")
put("jinja", "numbers", "{{ 1 + 2 * 3 // 4 % 5 ** 2 - -6 }}{{ 1.5e3 / 7 }}{{ 0x1F }}{{ 1_000 }}{{ 7.5 // -2 }}{{ 2 ** 62 }}")
put("jinja", "format", "{{ '%s %5.2f %-3d %x %(a)s' % (1, 2.5, 3) }}{{ '%(a)s' % {'a': 1} }}{{ '{} {x}'.format(1, x=2) }}")
put("jinja", "filters", "{{ l|sort|join(',') }}{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list }}"
    "{{ l|map('string')|list }}{{ d|dictsort }}{{ l|batch(2)|list }}{{ messages|groupby('role') }}{{ 'a b c'|truncate(2, end='') }}")
put("jinja", "tests", "{{ n is odd }}{{ n is divisibleby 3 }}{{ x is defined }}{{ l is sequence and d is mapping }}{{ 1 is in l }}")
put("jinja", "safe", "{{ '<'|safe + '<' }}{{ ('<%s>'|safe) % '<' }}{{ '<'|e|forceescape }}{{ ['<'|safe] }}")
put("jinja", "date", "{{ strftime_now('%d %B %Y %A %j %-d %H:%M') }}")
put("jinja", "undefined", "{{ x }}{{ x.y }}")
put("jinja", "lazy", "{% set g = 5|map('upper') %}{% set h = l|select('nope') %}{{ h|first }}")
put("jinja", "slices", "{{ l[1:] }}{{ l[::-1] }}{{ l[-9:9:2] }}{{ range(9)[::3] }}{{ 'abc'[-2:] }}")
put("jinja", "unpack", "{% set a, (b, c) = 1, (2, 3) %}{{ a }}{{ b }}{{ c }}{% for x, y in [(1, 2)] %}{{ x }}{% endfor %}")
put("jinja", "if", "{% if n == 1 %}a{% elif n > 2 and not (f < 1 or n in l) %}b{% else %}c{% endif %}{{ 1 if n else 2 }}")
put("jinja", "huge", "{{ 'x' * 999999999 }}{{ [0] * 99999999 }}{{ range(99999) }}")
put("jinja", "long_loop", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
put("jinja", "recursion", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")
put("jinja", "circle", "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}")
put("jinja", "unclosed", "{{ (1 }}{% raw %}{# ")
put("jinja", "bad_utf8", b"{{ '\xff' }}")
put("jinja", "refused", "{% include 'x' %}")

# Of `results`: orders (fuzz_results.c), whose first byte is even, the second that of newest form.
DATASET, ATTRIBUTE, LINK = 0, 3, 6
I64, I32, F32, TEXT, ENUM, COMPOUND, ARRAY, VLEN, FIXED = 0, 1, 2, 3, 11, 12, 13, 14, 10
SCALAR, NULL, ONE, VAST, DEEP, TABLE, LIST = 0, 1, 2, 3, 4, 5, 7
X, G, Y, LEFT, PATHS, BYTES, PART, T = range(8)  # names
VIRTUAL, CHUNKED, EXTERNAL = 4, 2, 3
for name, orders in {
    "empty": [],
    "unit": [DATASET, X, F32, TABLE, 2, 3, 0]
    + [ATTRIBUTE, 1, 0, I64, SCALAR, 0] + [ATTRIBUTE, 1, 1, I64, SCALAR, 0] + [ATTRIBUTE, 1, 2, I64, SCALAR, 0]
    + [k for a in (3, 4, 5, 6, 7) for k in (ATTRIBUTE, 1, a, TEXT, SCALAR, 0)],
    "summary": [ATTRIBUTE, 0, 8, TEXT, SCALAR, 0, ATTRIBUTE, 0, 9, TEXT, SCALAR, 0]
    + [DATASET, PATHS, TEXT, LIST, 3, 0, DATASET, BYTES, I64, LIST, 3, 0],
    "many_texts": [DATASET, X, F32, TABLE, 2, 3, 0, ATTRIBUTE, 1, 4, TEXT, LIST, 255],
    "many_numbers": [DATASET, X, F32, TABLE, 2, 3, 0, ATTRIBUTE, 1, 0, I64, LIST, 255, ATTRIBUTE, 0, 1, ARRAY, SCALAR, 0],
    "types": [k for t in (ENUM, COMPOUND, ARRAY, VLEN, FIXED) for k in (DATASET, t % 8, t, LIST, 2, 0)],
    "vast": [DATASET, X, I32, VAST, 60, CHUNKED, 6, DATASET, Y, I32, DEEP, 1, 0, DATASET, T, I32, NULL, 0, 0],
    "bomb": [DATASET, X, I32, VAST, 30, CHUNKED, 29],
    "self": [DATASET, X, I32, LIST, 4, VIRTUAL, 0, X, 1, DATASET, Y, I32, LIST, 4, VIRTUAL, 0, Y, 0],
    "elsewhere": [DATASET, X, I32, LIST, 4, VIRTUAL, 1, X, 1, DATASET, Y, I32, LIST, 4, EXTERNAL, 0, DATASET, T, I32, LIST, 4, VIRTUAL, 2, T, 1],
    "loops": [DATASET, Y, I32, LIST, 4, 0, LINK, 2, G, 0, LINK, 2, X, 0, LINK, 0, T, 1, T, LINK, 1, BYTES, 1],
    "names": [DATASET, X, I32, ONE, 1, 0, LINK, 10, 0, 1, LINK, 10, 1, 1, LINK, 10, 3, 1],
}.items():
    put("results", name, bytes([0, 0] + orders))
# and changes, whose first byte is odd: where (two bytes), what, with what.
for name, changes in {
    "whole": [],
    "cut": [[0, 8, 5, 255]],
    "no_end": [[40, 0, 2, 255]],
    "ones": [[k & 255, k >> 8, 2, 255] for k in range(96, 4000, 400)],
    "bits": [[k & 255, k >> 8, 1, k % 8] for k in range(97, 4000, 487)],
}.items():
    for newest in range(2):
        put("results", f"{name}_{newest}", bytes([1, newest] + [b for c in changes for b in c]))

