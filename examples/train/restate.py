"""A checkpoint directory and token ids -> logits and routing, in plain NumPy: docs/checkpoint.md restated as a program.

It shares nothing with the PyTorch reference and computes in f64, so that what differs from the golden f32 outputs is
rounding. Run as `python restate.py DIRECTORY...`; it compares each directory with its golden.safetensors.
"""

import json
import math
import pathlib
import sys

import numpy as np

TOLERANCE = 2e-4  # absolute, on logits of standard deviation about 1.5 and on probabilities


def read(file):
    raw = pathlib.Path(file).read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header, out = json.loads(raw[8:start]), {}
    for name in header.keys() - {"__metadata__"}:
        kind, (a, b) = header[name]["dtype"], header[name]["data_offsets"]
        bits = np.frombuffer(raw[start + a : start + b], {"F16": "<f2", "F32": "<f4", "BF16": "<u2", "U8": "u1", "I32": "<i4"}[kind])
        if kind == "BF16":  # the upper half of an f32
            bits = (bits.astype(np.uint32) << 16).view(np.float32)
        out[name] = bits.reshape(header[name]["shape"]).astype(int if kind in ("U8", "I32") else float)
    return out


def read_config(directory):
    c = json.loads((directory / "config.json").read_text())
    c.setdefault("num_key_value_heads", c["num_attention_heads"])
    c.setdefault("head_dim", c["hidden_size"] // c["num_attention_heads"])
    c["rope"] = {"rope_theta": c.get("rope_theta", 10000.0), **(c.get("rope_scaling") or {}), **c.get("rope_parameters", {})}
    r = c.setdefault("router", {"layers": []})
    c["scar"] = {"mask": "off", "layers": "routed", **c.get("scar", {})}
    c["causal"] = c["architectures"] == ["GemForCausalLM"]
    c["routed"] = {"all": range(c["num_hidden_layers"]), "final": ["final"]}.get(str(r["layers"]), r["layers"])
    c["with_scar"] = c["routed"] if c["scar"]["layers"] == "routed" else c["scar"]["layers"]
    return c


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def act(name, x):
    return {
        "silu": lambda: x / (1 + np.exp(-x)),
        "gelu": lambda: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
        "gelu_pytorch_tanh": lambda: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "relu": lambda: np.maximum(x, 0),
    }[name]()


class Gem:
    def __init__(self, directory):
        directory = pathlib.Path(directory)
        self.c, self.w, self.routing = read_config(directory), {}, {}
        for file in sorted(directory.glob("model*.safetensors")):
            self.w |= read(file)

    def linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0)

    def rms(self, name, x):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.c["norm_eps"]) * self.w[f"{name}.weight"]

    def norm(self, name, x):
        if self.c["norm"] == "rmsnorm":
            return self.rms(name, x)
        x = x - x.mean(-1, keepdims=True)
        return self.rms(name, x) + self.w[f"{name}.bias"]

    def mlp(self, name, x):
        up = self.linear(f"{name}.up_proj", x)
        gated = self.c["mlp_gated"]
        up = act(self.c["hidden_act"], self.linear(f"{name}.gate_proj", x)) * up if gated else act(self.c["hidden_act"], up)
        return self.linear(f"{name}.down_proj", up)

    def rope(self, x):  # [T, heads, head_dim]
        half, r = x.shape[-1] // 2, self.c["rope"]
        freq = r["rope_theta"] ** (-np.arange(half) / half)
        if r.get("rope_type") == "linear":
            freq = freq / r["factor"]
        if r.get("rope_type") == "llama3":
            low, high = r["low_freq_factor"], r["high_freq_factor"]
            keep = np.clip((r["original_max_position_embeddings"] * freq / (2 * math.pi) - low) / (high - low), 0, 1)
            freq = keep * freq + (1 - keep) * freq / r["factor"]
        angle = np.arange(len(x))[:, None, None] * freq
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)

    def attend(self, q, k, v, visible):  # [T, heads, size] each, visible [T, T]
        k, v = (np.repeat(t, q.shape[1] // k.shape[1], 1) for t in (k, v))
        score = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1])
        return np.einsum("hij,jhd->ihd", softmax(np.where(visible, score, -np.inf)), v).reshape(len(q), -1)

    def attention(self, name, x):
        c, T = self.c, len(x)
        q, k, v = (self.linear(f"{name}.{p}_proj", x).reshape(T, -1, c["head_dim"]) for p in "qkv")
        if c.get("qk_norm"):
            q, k = self.rms(f"{name}.q_norm", q), self.rms(f"{name}.k_norm", k)
        if c["position_embedding"] == "rope":
            q, k = self.rope(q), self.rope(k)
        return self.linear(f"{name}.o_proj", self.attend(q, k, v, self.past(T)))

    def past(self, T):
        return np.tri(T, dtype=bool) if self.c["causal"] else np.ones((T, T), bool)

    def route(self, name, place, x):
        """x -> (x', flag, gates [T, D])."""
        r, s, D = self.c["router"], self.c["scar"], len(self.c["domains"])
        p = self.linear(f"{name}.router", x)
        p = softmax(p) if r["score"] == "softmax" else 1 / (1 + np.exp(-p))
        top = np.argsort(-p, -1, kind="stable")[:, : r["top_k"]]  # stable: ties go to the lower index
        fired = np.zeros_like(p, bool)
        np.put_along_axis(fired, top, True, -1)
        fired &= p > r["threshold"]
        flag = fired.any(-1)
        domain, cluster = np.where(flag, p.argmax(-1), D), None
        gates = p * fired
        if r["renormalize"]:
            gates /= np.where(flag, gates.sum(-1), 1)[:, None]
        if s["mask"] != "off" and place in self.c["with_scar"]:
            key = flag if s["mask"] == "cluster_or_flag" else domain
            visible = key[:, None] == key
            if r["clusters"]:
                centroids = self.w[f"{name}.router.centroids"]
                cluster = ((centroids**2).sum(-1) - 2 * x @ centroids.T).argmin(-1)
                visible |= cluster[:, None] == cluster
            visible = visible & self.past(len(x)) | np.eye(len(x), dtype=bool)
            q, k, v = self.linear(f"{name}.scar.qkv", x).reshape(len(x), 3, s["heads"], -1).transpose(1, 0, 2, 3)
            out = self.linear(f"{name}.scar.out", self.attend(q, k, v, visible))
            x = x + out if s["residual"] else out
        self.routing[place] = {"p": p, "fired": fired, "domain": domain, "cluster": cluster}
        return x, flag, gates

    def add_modules(self, name, y, x, gates):
        for m, g in enumerate(gates.T):
            if self.c.get("modules", {}).get("kind", "off") == "mlp":
                y = y + g[:, None] * self.mlp(f"{name}.modules.{m}", x)  # g is 0 where m does not fire
            elif self.c.get("modules", {}).get("kind", "off") == "lora":
                y = y + g[:, None] * self.linear(f"{name}.modules.{m}.b", self.linear(f"{name}.modules.{m}.a", x))
        return y

    def ffn(self, name, place, x):
        if place not in self.c["routed"]:
            return self.mlp(f"{name}.general", x)
        x, flag, gates = self.route(name, place, x)
        path, y = self.c.get("general_path", "always"), np.zeros_like(x)
        if path != "none":
            y = self.mlp(f"{name}.general", x) * (1 if path == "always" else ~flag[:, None])
        return self.add_modules(name, y, x, gates)

    def run(self, ids):
        """ids [T] -> logits [T, V], or [num_labels]; fills `routing`."""
        c, w = self.c, self.w
        h = w["model.embed_tokens.weight"][ids]
        if c["position_embedding"] == "learned":
            h = h + w["model.position_embeddings.weight"][: len(ids)]
        if c.get("type_vocab_size"):
            h = h + w["model.token_type_embeddings.weight"][0]
        pre = c["norm_position"] == "pre"
        h = h if pre else self.norm("model.embed_norm", h)
        for i in range(c["num_hidden_layers"]):
            name = f"model.layers.{i}"
            h = h + self.attention(f"{name}.self_attn", self.norm(f"{name}.input_norm", h) if pre else h)
            x = self.norm(f"{name}.post_attention_norm", h)
            y = self.ffn(name, i, x)
            h = h + y if pre else self.norm(f"{name}.output_norm", x + y)
        h = self.norm("model.final_norm", h) if pre else h
        if c["router"]["layers"] == "final":
            x, _, gates = self.route("model", "final", h)
            h = self.add_modules("model", x, x, gates)
        if not c["causal"]:
            return self.linear("classifier", h[0])
        return h @ w["model.embed_tokens.weight" if c.get("tie_word_embeddings") else "lm_head.weight"].T


def compare(directory):
    """The largest difference to the golden logits and probabilities; raises where a decision or more differs."""
    gem, golden, worst = Gem(directory), read(pathlib.Path(directory) / "golden.safetensors"), 0.0
    for i in range(sum(name.endswith(".ids") for name in golden)):
        logits = gem.run(golden[f"{i}.ids"])
        pairs = [(f"{i}.logits", logits[-16:] if gem.c["causal"] else logits)]
        for place, record in gem.routing.items():
            prefix = f"{i}.final" if place == "final" else f"{i}.layers.{place}"
            pairs += [(f"{prefix}.{key}", value) for key, value in record.items() if value is not None]
        assert {name for name, _ in pairs} == {n for n in golden if n.startswith(f"{i}.")} - {f"{i}.ids"}
        for name, value in pairs:
            difference = float(np.abs(value - golden[name]).max())
            exact = name.rsplit(".", 1)[1] in ("fired", "domain", "cluster")
            assert difference <= (0 if exact else TOLERANCE), f"{directory}: {name} differs by {difference:.2g}"
            worst = max(worst, difference)
    return worst


if __name__ == "__main__":
    for directory in sys.argv[1:]:
        print(f"{pathlib.Path(directory).name}: largest difference {compare(directory):.1e}")
