#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The engine's loads beside the same work in PyTorch, bfloat16, on the same card in the same minutes.

    python3 tools/beside_torch.py --bench build/cuda/bench_loads --device cuda:0 --shape gemma2-2b

`bench_loads --serve` runs as a child; a round of a case there is followed by a round here, so that a card
that slows down does so for both. Both sides have random weights of one shape, which the child tells. What is
compared is time for the same amount of work (tokens, rows, prompts are checked to be equal); values are not.

Steps (--steps takes some of them, in its order):
    attribution  the published hook under autograd: SAE encoded and decoded at every layer inside the IG loop, in
                 the largest batch up to 50 prompts that fits; fewer prompts than the engine's, compared per prompt
    products     the matrices of a block and of SAE encoders by torch.matmul, and scaled_dot_product_attention:
                 PyTorch's figures alone, to be held against bench_cuda's
    prefill      scaled_dot_product_attention where the model has no softcap. Gemma 2 has one, which that function
                 cannot do: written out in eager mode, and once more by the function without the softcap, which is
                 less work than asked
    encode       x W_enc + b_enc and JumpReLU, dense
    decode       greedy, static key-value cache, one step captured as a CUDA graph outside the timing; attention of
                 a step by two batched products. With --compile a layer's step is compiled, if that works. With
                 clamps as the published hook has them: full encode and decode at every layer with a chosen
                 feature, not compiled

A step that fails, for want of memory say, is one line. Figures are JSON lines behind what --json has, written at
once.
Exit status: 0; 1 when a step failed; 77 where PyTorch is not.
"""
import argparse
import gc
import json
import math
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"beside_torch: not run: {error}")
    sys.exit(77)

STEPS = ("attribution", "products", "prefill", "encode", "decode")
IG_STEPS, K_STAR, WANTED_L0, ATTRIBUTION_BATCH = 10, 20, 100, 50


class NotRun(Exception):
    """What was asked for cannot be had here, by no fault of either side."""


class Engine:
    """bench_loads as a server. One that did not answer is ended; the next question starts another."""

    def __init__(self, arguments):
        self.command = [arguments.bench, "--serve", "--device", arguments.device, "--shape", arguments.shape]
        self.child = None
        self.start()

    def start(self):
        self.words = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words,
                                      text=True)
        self.ready = self.read()

    def read(self):
        line = self.child.stdout.readline()
        if not line:
            status = self.child.wait()
            self.words.seek(0)
            raise RuntimeError(f"bench_loads ended with status {status}: {' '.join(self.words.read().split())[-300:]}")
        return json.loads(line)

    def seconds(self, case):
        """A round: the whole answer."""
        answer = self.ask(case)
        if "not_run" in answer:
            raise NotRun(f"engine: {answer['not_run']}")
        if "seconds" not in answer:
            raise RuntimeError(f"engine: {answer}")
        return answer

    def ask(self, case):
        try:
            if self.child is None:
                self.start()
            self.child.stdin.write(case + "\n")
            self.child.stdin.flush()
            return self.read()
        except BaseException:
            self.end()
            raise

    def end(self):
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None


class Model:
    """A transformer of the shape the engine tells, random weights, every prompt of one length."""

    def __init__(self, shape, device, n_ctx):
        self.s, self.device = shape, device
        d, hd = shape["d_model"], shape["head_dim"]
        q, kv, ff = shape["n_head"] * hd, shape["n_kv_head"] * hd, shape["d_ff"]
        self.embedding = self.random(shape["n_vocab"], d)
        self.unembedding = self.embedding if shape["tied"] else self.random(shape["n_vocab"], d)
        one = torch.ones(d, device=device, dtype=torch.bfloat16)
        self.norm = one
        self.layers = [dict(q=self.random(q, d), k=self.random(kv, d), v=self.random(kv, d), o=self.random(d, q),
                            gate=self.random(ff, d), up=self.random(ff, d), down=self.random(d, ff), norm=one)
                       for _ in range(shape["n_layer"])]
        angles = torch.arange(n_ctx, device=device)[:, None] * shape["theta"] ** (
            -torch.arange(0, hd, 2, device=device) / hd)[None]
        self.cos, self.sin = (torch.cat([f(angles)] * 2, -1).bfloat16() for f in (torch.cos, torch.sin))
        self.softcap = shape["attention_softcap"]

    def random(self, rows, cols):
        return torch.empty(rows, cols, device=self.device, dtype=torch.bfloat16).normal_(0, cols ** -0.5)

    def rms(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.norm, 1e-6)

    def rope(self, x, at):
        """x [batch, heads, tokens, head_dim]; at: positions."""
        left, right = x.chunk(2, -1)
        return x * self.cos[at] + torch.cat((-right, left), -1) * self.sin[at]

    def written_out(self, q, k, v, mask):
        """Attention by products; mask: True where a query sees a key."""
        batch, heads, tokens, hd = q.shape
        groups = k.shape[1]
        scores = q.reshape(batch, groups, heads // groups * tokens, hd) @ k.transpose(-1, -2) * self.s["attention_scale"]
        if self.softcap:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        scores = scores.view(batch, groups, heads // groups, tokens, -1).masked_fill(~mask, -math.inf)
        weights = scores.float().softmax(-1).to(q.dtype)
        return (weights.view(batch, groups, heads // groups * tokens, -1) @ v).view(batch, heads, tokens, hd)

    def whole(self, q, k, v):
        """Attention of whole prompts."""
        if self.softcap:
            tokens = q.shape[2]
            return self.written_out(q, k, v, torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).tril())
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, scale=self.s["attention_scale"])

    def block(self, w, x, at, attend):
        """x [batch, tokens, d]. attend: q, k, v to the heads' outputs."""
        batch, tokens, _ = x.shape
        heads = lambda y: y.view(batch, tokens, -1, self.s["head_dim"]).transpose(1, 2)
        after = self.rms if self.s["post_norms"] else lambda y: y
        h = self.rms(x)
        q, k, v = (heads(F.linear(h, w[name])) for name in "qkv")
        out = attend(self.rope(q, at), self.rope(k, at), v)
        x = x + after(F.linear(out.transpose(1, 2).reshape(batch, tokens, -1), w["o"]))
        h = self.rms(x)
        gate = F.linear(h, w["gate"])
        gate = F.silu(gate) if self.s["silu"] else F.gelu(gate, approximate="tanh")
        return x + after(F.linear(gate * F.linear(h, w["up"]), w["down"]))

    def embed(self, tokens):
        return self.embedding[tokens] * self.s["embedding_scale"]

    def logits(self, x):
        logits = F.linear(self.rms(x), self.unembedding)
        cap = self.s["final_softcap"]
        return cap * torch.tanh(logits / cap) if cap else logits

    def forward(self, tokens, edit=lambda layer, x: x):
        """Logits at the last token of each prompt."""
        at = torch.arange(tokens.shape[1], device=self.device)
        x = self.embed(tokens)
        for layer, w in enumerate(self.layers):
            x = edit(layer, self.block(w, x, at, self.whole))
        return self.logits(x[:, -1])


class Sae:
    """Random JumpReLU SAE whose threshold lets WANTED_L0 features of rows of this deviation through."""

    def __init__(self, d, d_sae, device, deviation=1.0, dtype=torch.bfloat16):
        self.W_enc = torch.empty(d, d_sae, device=device, dtype=dtype).normal_(0, d ** -0.5)
        self.W_dec = torch.empty(d_sae, d, device=device, dtype=dtype).normal_(0, d ** -0.5)
        self.b_enc = torch.zeros(d_sae, device=device, dtype=dtype)
        self.threshold = deviation * statistics.NormalDist().inv_cdf(1 - WANTED_L0 / d_sae)

    def encode(self, x):
        pre = torch.addmm(self.b_enc, x.reshape(-1, x.shape[-1]), self.W_enc).view(*x.shape[:-1], -1)
        return pre * (pre > self.threshold)

    def decode(self, f):
        return f @ self.W_dec


@torch.no_grad()
def saes_for(model, d_sae, tokens, layers):
    """SAEs of some layers, by layer, whose thresholds fit the model's residual stream."""
    deviation = {}

    def measure(layer, x):
        deviation[layer] = x.float().pow(2).mean().sqrt().item()
        return x

    model.forward(tokens, measure)
    return {l: Sae(model.s["d_model"], d_sae, model.device, deviation[l]) for l in layers}


class Decoder:
    """Greedy replies by a static cache. On a card a step is a CUDA graph, captured once."""

    def __init__(self, model, case, edit, compiled):
        s, device = model.s, model.device
        self.model, self.edit = model, edit
        self.n, self.length, self.max_new = case["prompts"], case["tokens"], case["max_new"]
        shape = (self.n, s["n_kv_head"], self.length + self.max_new, s["head_dim"])
        self.cache = [[torch.zeros(shape, device=device, dtype=torch.bfloat16) for _ in "kv"] for _ in model.layers]
        self.keys = torch.arange(shape[2], device=device)
        self.at = torch.zeros(1, device=device, dtype=torch.long)
        self.token = torch.zeros(self.n, device=device, dtype=torch.long)
        self.replies = torch.zeros(self.n, self.max_new, device=device, dtype=torch.long)
        if compiled:
            torch.compiler.reset()  # there is a limit to how many sizes it keeps
        # One layer, as all are of one shape: what is compiled in seconds, not minutes.
        self.layer = torch.compile(self.layer_step, dynamic=False) if compiled else self.layer_step
        self.run_step = self.step
        if torch.device(device).type == "cuda":
            self.capture()

    def capture(self):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        self.at.fill_(self.length)
        with torch.cuda.stream(side):
            for _ in range(3):
                self.run_step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.run_step()
        self.run_step = graph.replay

    def layer_step(self, w, x, at, cache_k, cache_v, keys):
        def over_cache(q, k, v):
            cache_k.index_copy_(2, at, k)
            cache_v.index_copy_(2, at, v)
            return self.model.written_out(q, cache_k, cache_v, keys <= at)
        return self.model.block(w, x, at, over_cache)

    def step(self):
        x = self.model.embed(self.token[:, None])
        for layer, w in enumerate(self.model.layers):
            x = self.edit(layer, self.layer(w, x, self.at, *self.cache[layer], self.keys))
        self.token.copy_(self.model.logits(x[:, 0]).argmax(-1))
        self.at.add_(1)
        self.replies.index_copy_(1, self.at - self.length, self.token[:, None])

    def read(self, tokens):
        at = torch.arange(self.length, device=tokens.device)
        x = self.model.embed(tokens)

        def keep(layer):
            def attend(q, k, v):
                for cache, new in zip(self.cache[layer], (k, v)):
                    cache[:, :, :self.length] = new
                return self.model.whole(q, k, v)
            return attend

        for layer, w in enumerate(self.model.layers):
            x = self.edit(layer, self.model.block(w, x, at, keep(layer)))
        self.token.copy_(self.model.logits(x[:, -1]).argmax(-1))
        self.replies[:, 0] = self.token
        self.at.fill_(self.length)

    def run(self, tokens):
        """Number of tokens made."""
        self.read(tokens)
        for _ in range(self.max_new - 1):
            self.run_step()
        return self.replies.numel()


def clamp_as_published(saes, chosen, value):
    """Encode, set the chosen features, decode, and the error of the reconstruction kept."""
    def edit(layer, x):
        if layer not in chosen:
            return x
        sae = saes[layer]
        f = sae.encode(x)
        error = x - sae.decode(f)
        f = f.index_fill(-1, chosen[layer], value)
        return sae.decode(f) + error
    return edit


def attribute_as_published(model, saes, tokens, direction):
    """Indirect effects of all features at every token, layer by layer; the mean gradient over IG_STEPS points."""
    n_layer = len(saes)
    clean, patched = {}, {}

    def keep(store, ablate):
        def edit(layer, x):
            if ablate:
                x = x - (x @ direction)[..., None] * direction
            f = saes[layer].encode(x)
            store[layer] = (f, x - saes[layer].decode(f))
            return x
        return edit

    with torch.no_grad():
        model.forward(tokens, keep(clean, False))
        target = model.forward(tokens, keep(patched, True)).argmax(-1)
    gradient = [torch.zeros_like(clean[l][0]) for l in range(n_layer)]
    for k in range(IG_STEPS):
        a, points = k / IG_STEPS, []

        def mix(layer, x):
            if layer == 0:
                x = x.detach().requires_grad_()
            f = saes[layer].encode(x)
            error = x - saes[layer].decode(f)
            point = (1 - a) * f + a * patched[layer][0]
            point.retain_grad()
            points.append(point)
            return saes[layer].decode(point) + (1 - a) * error + a * patched[layer][1]

        logits = model.forward(tokens, mix).float()
        (logits.gather(1, target[:, None]).sum() - logits[:, 1].sum()).backward()
        for total, point in zip(gradient, points):
            total += point.grad / IG_STEPS
    return [(patched[l][0] - clean[l][0]) * gradient[l] for l in range(n_layer)]


class Bench:
    def __init__(self, arguments):
        self.arguments, self.started = arguments, time.monotonic()
        self.lines = open(arguments.json, "a") if arguments.json else None
        self.seconds = {}  # (case, side and how) -> [seconds for the engine's amount of work]
        self.failures = 0
        self.device = arguments.device
        self.engine = Engine(arguments)
        self.shape = self.engine.ready
        longest = max(c["tokens"] + c["max_new"] for c in self.shape["cases"])
        self.model = Model(self.shape, self.device, longest)

    def wait(self):
        if torch.device(self.device).type == "cuda":
            torch.cuda.synchronize()

    def timed(self, function):
        self.wait()
        start = time.perf_counter()
        result = function()
        self.wait()
        return time.perf_counter() - start, result

    def write(self, line):
        if self.lines:
            print(json.dumps(line), file=self.lines, flush=True)

    def tokens(self, n, length):
        return torch.randint(self.shape["n_vocab"], (n, length), device=self.device)

    def cases(self, load):
        return [c for c in self.shape["cases"] if c["load"] == load]

    def guarded(self, name, function):
        """Runs a step under its limit; what goes wrong in it is one line. Returns whether nothing did."""
        left = self.arguments.seconds - (time.monotonic() - self.started)
        if left < 1:
            self.say_not_run(name, "the time is up")
            return False
        signal.alarm(max(1, int(min(left, self.arguments.step_seconds))))
        done = False
        try:
            function()
            done = True
        except NotRun as error:
            self.say_not_run(name, str(error))
        except Exception as error:
            self.failures += 1
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"{name}: failed: {why}", flush=True)
            self.write(dict(side="torch", case=name, failed=why))
        finally:
            signal.alarm(0)
        self.give_back()
        return done

    def say_not_run(self, name, why):
        print(f"{name}: not run: {why}", flush=True)
        self.write(dict(side="torch", case=name, not_run=why))

    def give_back(self):
        """To the card, what PyTorch keeps of freed memory; also of what only cycles hold, after an error."""
        gc.collect()
        if torch.device(self.device).type == "cuda":
            torch.cuda.empty_cache()

    def close(self):
        """The engine's memory of its last case."""
        try:
            self.engine.ask("close")
        except Exception:
            self.engine.end()

    def alone(self, name, flops, make):
        """A figure of PyTorch's that has no round of the engine beside it. make returns what is timed."""
        def run():
            function = make()
            function()
            for round_ in range(self.arguments.rounds):
                calls = 5 if self.device != "cpu" else 1
                seconds = self.timed(lambda: [function() for _ in range(calls)])[0] / calls
                self.write(dict(side="torch", case=name, shape=self.shape["shape"], device=self.device, round=round_,
                                seconds=seconds, flops=flops))
                self.seconds.setdefault((name, "torch"), []).append(seconds)
        self.guarded(name, run)

    def round_of_engine(self, case, round_):
        """Returns the answer."""
        answer = self.engine.seconds(case["case"])
        self.write(dict(answer, round=round_))
        self.seconds.setdefault((case["case"], "engine"), []).append(answer["seconds"])
        return answer

    def round_of_torch(self, cases, round_, how, item, function, wanted, part):
        """Its seconds count for what is `wanted`."""
        seconds, done = self.timed(function)
        if done != wanted and not part:
            raise RuntimeError(f"expected {wanted} {item}, found {done}")
        self.write(dict(side="torch", load=cases[0]["load"], case=cases[0]["case"], shape=self.shape["shape"],
                        device=self.device, how=how, round=round_, seconds=seconds, **{item: done}))
        for case in cases:
            self.seconds.setdefault((case["case"], how), []).append(seconds * wanted / done)

    def beside(self, cases, how, item, function, part=False, after=None):
        """Rounds of the engine's first case and of `function`, in turn, then those of the other cases: the engine
        sets a case up anew when it comes from another. With `after`, where both sides do not fit the card together:
        the engine's rounds first, whose memory is then given back, and `after` called. function returns what it
        did of `item`, which must be what the engine did, or is a `part` of it. Returns whether all went well."""
        def run():
            rounds = range(self.arguments.rounds)
            if after:
                for case in cases:
                    for round_ in rounds:
                        answer = self.round_of_engine(case, round_)
                self.close()
                after()
                function()
                for round_ in rounds:
                    self.round_of_torch(cases, round_, how, item, function, answer[item], part)
                return
            function()
            self.give_back()
            for round_ in rounds:
                answer = self.round_of_engine(cases[0], round_)
                if round_ == 0:
                    function()  # what was given back is taken again
                self.round_of_torch(cases, round_, how, item, function, answer[item], part)
            for case in cases[1:]:
                for round_ in rounds:
                    self.round_of_engine(case, round_)
        return self.guarded(f"{cases[0]['case']}, {how}", run)

    # ---- steps ----

    def products(self):
        s, n = self.shape, self.cases("c")[0]["prompts"]
        d, hd = s["d_model"], s["head_dim"]
        widths = sorted({c["d_sae"] for c in self.cases("c")})
        for name, inner, outer in [("q", d, s["n_head"] * hd), ("k", d, s["n_kv_head"] * hd), ("up", d, s["d_ff"]),
                                   ("down", s["d_ff"], d)] + [(f"encoder {w}", d, w) for w in widths]:
            def make(inner=inner, outer=outer):
                x, W = self.model.random(n, inner), self.model.random(outer, inner)
                return lambda: F.linear(x, W)
            self.alone(f"product {name}, {n} x {inner} x {outer}", 2 * n * inner * outer, make)
        for case in self.cases("d"):
            batch, length = case["prompts"], case["tokens"]

            def make(batch=batch, length=length):
                q, k = (torch.randn(batch, heads, length, hd, device=self.device).bfloat16()
                        for heads in (s["n_head"], s["n_kv_head"]))
                return lambda: F.scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=True)
            self.alone(f"scaled_dot_product_attention, {batch} x {length}",
                       2 * batch * length * (length + 1) * s["n_head"] * hd, make)

    def clamps(self, case):
        """The edit of a case: 20 features for all prompts, or none."""
        if not case["case"].endswith(" one"):
            return lambda layer, x: x
        chosen = {}
        for _ in range(K_STAR):
            chosen.setdefault(random.randrange(self.shape["n_layer"]), []).append(random.randrange(case["d_sae"]))
        saes = saes_for(self.model, case["d_sae"], self.tokens(8, case["tokens"]), chosen)
        return clamp_as_published(saes, {l: torch.tensor(ids, device=self.device) for l, ids in chosen.items()}, 1.0)

    def decode(self):
        for case in self.cases("b"):
            if case["case"].endswith(" each"):
                continue  # the published hook has one set for all prompts
            # Compiled is what the engine is held against; without a compiler, the graph alone.
            for compiled in [True, False] if self.arguments.compile and case["case"][-1].isdigit() else [False]:
                state = []

                def run(case=case, compiled=compiled, state=state):
                    with torch.no_grad():
                        if not state:
                            state.append(Decoder(self.model, case, self.clamps(case), compiled))
                            state.append(self.tokens(case["prompts"], case["tokens"]))
                        return state[0].run(state[1])
                done = self.beside([case], "static cache, graph" + (", compiled" if compiled else ""), "tokens", run)
                state.clear()
                if done:
                    break
        self.close()

    def prefill(self):
        softcap = self.model.softcap
        for case in self.cases("d"):
            tokens = self.tokens(case["prompts"], case["tokens"])

            def run():
                with torch.no_grad():
                    self.model.forward(tokens).argmax(-1)
                return tokens.numel()
            self.beside([case], "attention written out" if softcap else "scaled_dot_product_attention", "tokens", run)
            if softcap:
                self.model.softcap = 0
                self.beside([case], "scaled_dot_product_attention, no softcap: less work", "tokens", run)
                self.model.softcap = softcap
        self.close()

    def encode(self):
        for case in self.cases("c"):
            dtype = torch.bfloat16 if case["case"].endswith("bf16") else torch.float32
            state = []

            def run():
                with torch.no_grad():
                    if not state:
                        d = self.shape["d_model"]
                        state.append(Sae(d, case["d_sae"], self.device, dtype=dtype))
                        state.append(torch.randn(case["prompts"], d, device=self.device, dtype=dtype))
                    return state[0].encode(state[1]).shape[0]
            self.beside([case], f"dense, {str(dtype)[6:]}", "rows", run)
            state.clear()
        self.close()

    def attribution(self):
        widths = sorted({c["d_sae"] for c in self.cases("a")})
        for d_sae in reversed(widths):
            cases = [c for c in self.cases("a") if c["d_sae"] == d_sae]
            state = {}

            def find_batch():
                tokens = self.tokens(min(ATTRIBUTION_BATCH, cases[0]["prompts"]), cases[0]["tokens"])
                direction = torch.randn(self.shape["d_model"], device=self.device).bfloat16()
                state.update(direction=direction / direction.norm(), tokens=tokens,
                             saes=saes_for(self.model, d_sae, tokens, range(self.shape["n_layer"])))
                while not self.fits(attribute):
                    if len(state["tokens"]) == 1:
                        raise NotRun("too little memory for one prompt")
                    state["tokens"] = state["tokens"][:len(state["tokens"]) // 2]

            def attribute():
                attribute_as_published(self.model, state["saes"], state["tokens"], state["direction"])

            def run():
                if not state:
                    find_batch()
                attribute()
                return len(state["tokens"])

            if d_sae == widths[0]:
                self.beside(cases, "published hook", "prompts", run, part=True)
            else:
                self.beside(cases, "published hook, after the engine", "prompts", run, part=True, after=find_batch)
            state.clear()
            self.close()

    def fits(self, run):
        try:
            run()
            return True
        except torch.cuda.OutOfMemoryError:
            pass
        self.give_back()
        return False

    def report(self):
        median = {key: statistics.median(values) for key, values in self.seconds.items()}
        print(f"\n{self.shape['shape']} on {self.device}, PyTorch {torch.__version__}: medians of "
              f"{self.arguments.rounds} rounds\n{'case':44s} {'engine, s':>11s} {'PyTorch, s':>11s} {'ratio':>8s}  how")
        for (case, how), seconds in median.items():
            engine = median.get((case, "engine"))
            if how == "engine":
                continue
            ours, ratio = (f"{engine:11.4f}", f"{seconds / engine:8.2f}") if engine else (11 * " ", 8 * " ")
            print(f"{case:44s} {ours} {seconds:11.4f} {ratio}  {how}")
            self.write(dict(summary=case, how=how, torch_seconds=seconds, engine_seconds=engine,
                            ratio=seconds / engine if engine else None))


def on_alarm(signal_number, frame):
    raise TimeoutError("it took longer than its limit")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True, help="bench_loads")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--shape", default="gemma2-2b")
    parser.add_argument("--steps", nargs="*", default=STEPS, choices=STEPS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=300, help="for everything")
    parser.add_argument("--step-seconds", type=float, default=90, help="for one case")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the step of decoding")
    parser.add_argument("--json", help="a file for the figures, a line each")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        print("beside_torch: not run: PyTorch sees no CUDA device")
        sys.exit(77)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    random.seed(0)
    signal.signal(signal.SIGALRM, on_alarm)
    bench = Bench(arguments)
    for step in arguments.steps:
        getattr(bench, step)()
    bench.report()
    bench.engine.end()
    sys.exit(1 if bench.failures else 0)


if __name__ == "__main__":
    main()
