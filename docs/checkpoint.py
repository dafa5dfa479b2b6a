"""docs/checkpoint.md, section "Semantics", in NumPy: `python3 checkpoint.py CKPT...` compares with each golden."""

import json, math, pathlib, sys
import numpy as np

ERF = np.vectorize(math.erf, otypes=[float])
ACT = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x / 2 * (1 + ERF(x / math.sqrt(2))),
    "gelu_pytorch_tanh": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def tensors(file):
    """One safetensors file -> {name: array}; floating types as f64."""
    raw = file.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    for name, t in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            data = raw[start + t["data_offsets"][0] : start + t["data_offsets"][1]]
            if t["dtype"] == "BF16":
                value = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
            else:
                kind = {"F": "f", "I": "i", "U": "u", "B": "?"}[t["dtype"][0]]
                value = np.frombuffer(data, "?" if kind == "?" else f"<{kind}{int(t['dtype'][1:]) // 8}")
            yield name, value.reshape(t["shape"]).astype(float if value.dtype.kind == "f" else value.dtype)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Model:
    def __init__(self, folder):
        self.c = c = json.loads((folder / "config.json").read_text())
        self.t = {k: v for f in sorted(folder.glob("model*.safetensors")) for k, v in tensors(f)}
        self.causal = c["architectures"] == ["GemForCausalLM"]
        self.heads, self.d = c["num_attention_heads"], c["hidden_size"]
        self.head_dim = c.get("head_dim") or self.d // self.heads
        self.router, self.scar = c.get("router") or {}, c.get("scar") or {}
        where = self.router.get("layers") or []
        self.routed = list(range(c["num_hidden_layers"])) if where == "all" else [] if where == "final" else where
        chosen = self.scar.get("layers", "routed")
        on = self.scar.get("mask", "off") != "off"
        self.scarred = [] if not on else (["final"] if where == "final" else self.routed) if chosen == "routed" else chosen

    def linear(self, path, x):
        y = x @ self.t[path + ".weight"].T
        return y + self.t[path + ".bias"] if path + ".bias" in self.t else y

    def rms(self, path, x):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.c["norm_eps"]) * self.t[path + ".weight"]

    def norm(self, path, x):
        if self.c["norm"] == "rmsnorm":
            return self.rms(path, x)
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.c["norm_eps"]) * self.t[path + ".weight"] + self.t[path + ".bias"]

    def mlp(self, path, x):
        act, up = ACT[self.c["hidden_act"]], self.linear(path + ".up_proj", x)
        return self.linear(path + ".down_proj", act(self.linear(path + ".gate_proj", x)) * up if self.c["mlp_gated"] else act(up))

    def module(self, path, x):
        if self.c["modules"]["kind"] == "mlp":
            return self.mlp(path, x)
        return self.linear(path + ".b", self.linear(path + ".a", x))

    def frequencies(self):
        c, n = self.c, self.head_dim
        rope = c.get("rope_parameters") or {"rope_theta": c.get("rope_theta", 10000.0), **(c.get("rope_scaling") or {})}
        f = rope.get("rope_theta", 10000.0) ** (-np.arange(0, n, 2) / n)
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind == "linear":
            return f / rope["factor"]
        if kind == "llama3":
            low, high = rope["low_freq_factor"], rope["high_freq_factor"]
            turns = rope["original_max_position_embeddings"] * f / (2 * math.pi)
            smooth = np.clip((turns - low) / (high - low), 0, 1)
            return (1 - smooth) * f / rope["factor"] + smooth * f
        return f

    def mixed(self, q, k, v, visible):
        """q, k, v [T, heads, n] -> [T, heads * n]"""
        scores = np.einsum("ihn,jhn->hij", q, k) / math.sqrt(q.shape[-1])
        p = softmax(np.where(visible, scores, -np.inf))
        return np.einsum("hij,jhn->ihn", p, v).reshape(len(q), -1)

    def attn(self, path, x):
        q, k, v = (self.linear(f"{path}.{m}_proj", x).reshape(len(x), -1, self.head_dim) for m in "qkv")
        if self.c.get("qk_norm"):
            q, k = self.rms(path + ".q_norm", q), self.rms(path + ".k_norm", k)
        if self.c["position_embedding"] == "rope":
            angle = np.outer(np.arange(len(x)), self.frequencies())[:, None]
            turn = lambda a, b: np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)
            q, k = (turn(*np.split(u, 2, -1)) for u in (q, k))
        k, v = (np.repeat(u, self.heads // k.shape[1], 1) for u in (k, v))
        return self.linear(path + ".o_proj", self.mixed(q, k, v, self.past(len(x))))

    def past(self, n):
        return np.tri(n, dtype=bool) if self.causal else np.ones((n, n), bool)

    def route(self, p, place, x):
        """-> x', p, fired, flag"""
        r, D = self.router, len(self.c["domains"])
        z = self.linear(p + ".router", x)
        prob = softmax(z) if r.get("score", "softmax") == "softmax" else 1 / (1 + np.exp(-z))
        fired = np.zeros(prob.shape, bool)
        np.put_along_axis(fired, np.argsort(-prob, -1, kind="stable")[:, : r.get("top_k", 1)], True, -1)
        fired &= prob > r.get("threshold", 0)
        flag = fired.any(-1)
        if place not in self.scarred:
            return x, prob, fired, flag
        same = lambda a: a[:, None] == a
        visible = same(flag if self.scar["mask"] == "cluster_or_flag" else np.where(flag, prob.argmax(-1), D))
        if r.get("clusters"):
            C = self.t[p + ".router.centroids"]
            visible |= same(((C**2).sum(-1) - 2 * x @ C.T).argmin(-1))
        q, k, v = (u.reshape(len(x), self.scar.get("heads", 1), -1) for u in np.split(self.linear(p + ".scar.qkv", x), 3, -1))
        s = self.linear(p + ".scar.out", self.mixed(q, k, v, visible & self.past(len(x))))
        return (x + s if self.scar.get("residual") else s), prob, fired, flag

    def modules(self, p, y, x, prob, fired):
        if self.c.get("modules", {}).get("kind", "off") == "off":
            return y
        gate = prob * fired
        if self.router.get("renormalize"):
            gate = gate / np.maximum(gate.sum(-1, keepdims=True), 1e-300)
        for m in range(fired.shape[1]):
            rows = fired[:, m]
            y[rows] += gate[rows, m, None] * self.module(f"{p}.modules.{m}", x[rows])
        return y

    def ffn(self, l, x):
        p, general = f"model.layers.{l}", self.c.get("general_path", "always")
        if l not in self.routed:
            return self.mlp(p + ".general", x)
        x, prob, fired, flag = self.route(p, l, x)
        y = np.zeros_like(x)
        rows = {"always": flag | True, "fallback": ~flag, "none": flag & False}[general]
        if rows.any():
            y[rows] = self.mlp(p + ".general", x[rows])
        return self.modules(p, y, x, prob, fired)

    def logits(self, ids):
        c, t = self.c, self.t
        pre = c["norm_position"] == "pre"
        h = t["model.embed_tokens.weight"][ids]
        if c["position_embedding"] == "learned":
            h = h + t["model.position_embeddings.weight"][: len(ids)]
        if c.get("type_vocab_size"):
            h = h + t["model.token_type_embeddings.weight"][0]
        h = h if pre else self.norm("model.embed_norm", h)
        for l in range(c["num_hidden_layers"]):
            p = f"model.layers.{l}"
            if pre:
                h = h + self.attn(p + ".self_attn", self.norm(p + ".input_norm", h))
                h = h + self.ffn(l, self.norm(p + ".post_attention_norm", h))
            else:
                x = self.norm(p + ".post_attention_norm", h + self.attn(p + ".self_attn", h))
                h = self.norm(p + ".output_norm", x + self.ffn(l, x))
        h = self.norm("model.final_norm", h) if pre else h
        if self.router.get("layers") == "final":
            x, prob, fired, _ = self.route("model", "final", h)
            h = self.modules("model", x.copy(), x, prob, fired)
        if not self.causal:
            return self.linear("classifier", h[:1])
        return h @ t.get("lm_head.weight", t["model.embed_tokens.weight"]).T


def main(folders):
    worst = 0.0
    for folder in map(pathlib.Path, folders):
        model, golden = Model(folder), dict(tensors(folder / "golden.safetensors"))
        for name in golden:
            if name.endswith(".ids"):
                want = np.atleast_2d(golden[name.replace(".ids", ".logits")])
                found = model.logits(golden[name])[-len(want) :]
                difference = abs(found - want).max()
                worst = max(worst, difference)
                if not difference <= 2e-4:
                    sys.exit(f"{folder.name} {name}: {difference:.1e}")
    print(f"{len(folders)} checkpoints, largest difference {worst:.1e}")


if __name__ == "__main__":
    main(sys.argv[1:])
