"""Token ids -> logits and routing records: the readable PyTorch reference of the GEM format.

The formulas are those of docs/checkpoint.md, in its order and with its names (x, p, fired, flag, domain, cluster,
x', g, y). `state_dict()` keys are exactly the tensor names of the file. Shapes: B sequences, T positions, d hidden,
D domains; padding is on the right and takes no part in anything (attention, SCAR, routing).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .config import GemConfig


@dataclass
class Routing:
    """What one router decided for every token of a batch; padding has `fired` = flag = false, `domain` = D."""

    logits: torch.Tensor  # [B, T, D] f32, before the score function; differentiable
    p: torch.Tensor  # [B, T, D] f32; differentiable
    fired: torch.Tensor  # [B, T, D] bool
    gates: torch.Tensor  # [B, T, D] f32, zero where not fired; differentiable
    flag: torch.Tensor  # [B, T] bool
    domain: torch.Tensor  # [B, T] int64, D where nothing fires
    cluster: torch.Tensor | None  # [B, T] int64, or None where the layer has no clusters
    x: torch.Tensor  # [B, T, d], detached: what the router read, for fitting centroids


@dataclass
class GemOutput:
    """`routing` maps a routed layer's index, or "final", to its `Routing`."""

    logits: torch.Tensor  # [B, T, V], or [B, num_labels]
    routing: dict
    hidden: torch.Tensor  # [B, T, d], what the head or the classifier reads


def activation(name):
    """The `hidden_act` functions; `gelu` is the erf form."""
    return {
        "silu": F.silu,
        "gelu": F.gelu,
        "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "relu": F.relu,
    }[name]


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, statistics in f32."""

    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return wide.to(x.dtype) * self.weight


def make_norm(c):
    return RMSNorm(c.hidden_size, c.norm_eps) if c.norm == "rmsnorm" else nn.LayerNorm(c.hidden_size, eps=c.norm_eps)


def rope_frequencies(c):
    """Angle per position of each pair, [head_dim / 2], with `rope_scaling` applied (llama3: as Hugging Face does)."""
    freq = 1.0 / c.rope_theta ** (torch.arange(0, c.head_dim, 2, dtype=torch.float64) / c.head_dim)
    scaling = c.rope_scaling
    if scaling is None:
        return freq
    if scaling["rope_type"] == "linear":
        return freq / scaling["factor"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * freq / (2 * math.pi)  # of the pair over the old context
    smooth = (turns - low) / (high - low)
    between = (1 - smooth) * freq / scaling["factor"] + smooth * freq
    return torch.where(turns < low, freq / scaling["factor"], torch.where(turns > high, freq, between))


def rope_tables(c, length, device):
    """cos and sin, each [length, head_dim] f32; angles in f64, because f32 loses digits at late positions."""
    angles = torch.outer(torch.arange(length, dtype=torch.float64), rope_frequencies(c))
    angles = torch.cat([angles, angles], -1)
    return angles.cos().float().to(device), angles.sin().float().to(device)


def rotate(x, cos, sin):
    """Rotate-half, as in LLaMA: pair i is (x[i], x[i + head_dim / 2])."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Attention(nn.Module):
    """Grouped-query self-attention with optional biases, QK norm and RoPE."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        wide, narrow = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
        self.q_proj = nn.Linear(c.hidden_size, wide, bias=c.attention_bias)
        self.k_proj = nn.Linear(c.hidden_size, narrow, bias=c.attention_bias)
        self.v_proj = nn.Linear(c.hidden_size, narrow, bias=c.attention_bias)
        self.o_proj = nn.Linear(wide, c.hidden_size, bias=c.attention_bias)
        if c.qk_norm:
            self.q_norm = RMSNorm(c.head_dim, c.norm_eps)
            self.k_norm = RMSNorm(c.head_dim, c.norm_eps)

    def forward(self, x, rope, key_mask):
        c, (B, T, _) = self.c, x.shape
        q, k, v = (proj(x).view(B, T, -1, c.head_dim) for proj in (self.q_proj, self.k_proj, self.v_proj))
        if c.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        groups = c.num_attention_heads // c.num_key_value_heads
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        # Right padding lies in a causal token's future, so only full attention needs the mask.
        mask = None if c.causal or key_mask is None else key_mask[:, None, None, :]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=c.causal)
        return self.o_proj(out.transpose(1, 2).reshape(B, T, -1))


class Mlp(nn.Module):
    """down(act(gate x) * up x), or down(act(up x)) when not gated."""

    def __init__(self, c, intermediate_size):
        super().__init__()
        self.act = activation(c.hidden_act)
        if c.mlp_gated:
            self.gate_proj = nn.Linear(c.hidden_size, intermediate_size, bias=c.mlp_bias)
        self.gated = c.mlp_gated
        self.up_proj = nn.Linear(c.hidden_size, intermediate_size, bias=c.mlp_bias)
        self.down_proj = nn.Linear(intermediate_size, c.hidden_size, bias=c.mlp_bias)

    def forward(self, x):
        up = self.up_proj(x)
        return self.down_proj(self.act(self.gate_proj(x)) * up if self.gated else self.act(up))


class Lora(nn.Module):
    """B(A x): no bias, scale or activation."""

    def __init__(self, c, rank):
        super().__init__()
        self.a = nn.Linear(c.hidden_size, rank, bias=False)
        self.b = nn.Linear(rank, c.hidden_size, bias=False)

    def forward(self, x):
        return self.b(self.a(x))


class Router(nn.Module):
    """x -> who serves each token. `threshold` may be changed at run time (training ramps it up)."""

    def __init__(self, c, clusters):
        super().__init__()
        self.c = c.router
        self.domains = len(c.domains)
        self.threshold = c.router.threshold
        self.weight = nn.Parameter(torch.zeros(self.domains, c.hidden_size))
        if c.router.bias:
            self.bias = nn.Parameter(torch.zeros(self.domains))
        if clusters:
            # A buffer: k-means moves centroids, gradients do not.
            self.register_buffer("centroids", torch.zeros(clusters, c.hidden_size))

    def forward(self, x, real):
        """x [B, T, d], real [B, T] bool or None -> `Routing`."""
        wide = x.float()
        logits = F.linear(wide, self.weight.float(), self.bias.float() if self.c.bias else None)
        p = logits.softmax(-1) if self.c.score == "softmax" else logits.sigmoid()
        with torch.no_grad():
            # A stable sort, because ties go to the lower index and topk promises nothing about them.
            top = p.sort(dim=-1, descending=True, stable=True).indices[..., : self.c.top_k]
            fired = torch.zeros_like(p, dtype=torch.bool).scatter_(-1, top, True) & (p > self.threshold)
            if real is not None:
                fired &= real[..., None]
            flag = fired.any(-1)
            domain = torch.where(flag, p.argmax(-1), self.domains)
            cluster = self.nearest(wide) if hasattr(self, "centroids") else None
        gates = p * fired
        if self.c.renormalize:
            total = gates.sum(-1, keepdim=True)
            gates = gates / torch.where(total > 0, total, 1.0)
        return Routing(logits, p, fired, gates, flag, domain, cluster, x.detach())

    def nearest(self, x):
        """argmin_c |C_c|^2 - 2 x.C_c; torch's argmin returns the first of equals."""
        centroids = self.centroids.float()
        return (centroids.pow(2).sum(-1) - 2.0 * (x @ centroids.T)).argmin(-1)

    @torch.no_grad()
    def update_centroids(self, x, rate=0.05):
        """One step of mini-batch k-means: moves each centroid that owns a row of x [N, d] by `rate` towards the mean
        of its rows. An unused centroid stays where it is."""
        x = x.float()
        owner = self.nearest(x)
        count = torch.bincount(owner, minlength=len(self.centroids)).to(x.dtype)[:, None]
        mean = torch.zeros_like(self.centroids, dtype=x.dtype).index_add_(0, owner, x) / count.clamp(min=1)
        moved = torch.where(count > 0, self.centroids + rate * (mean - self.centroids), self.centroids)
        self.centroids.copy_(moved)

    @torch.no_grad()
    def fit_centroids(self, x, iterations=10, generator=None):
        """k-means over the rows of x [N, d], from randomly chosen rows."""
        pick = torch.randperm(len(x), generator=generator)[torch.arange(len(self.centroids)) % len(x)]
        self.centroids.copy_(x[pick])
        for _ in range(iterations):
            self.update_centroids(x, rate=1.0)


class Scar(nn.Module):
    """Multi-head attention in which a token sees the tokens routed like it; no positions, always biases."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.qkv = nn.Linear(c.hidden_size, 3 * c.hidden_size)
        self.out = nn.Linear(c.hidden_size, c.hidden_size)

    def visible(self, routing, real):
        """[B, T, T] bool: may position i (row) see position j (column)?"""
        key = routing.flag if self.c.scar.mask == "cluster_or_flag" else routing.domain
        mask = key[:, :, None] == key[:, None, :]
        if routing.cluster is not None:
            mask = mask | (routing.cluster[:, :, None] == routing.cluster[:, None, :])
        T = mask.shape[-1]
        if self.c.causal:
            mask = mask & torch.ones(T, T, dtype=torch.bool, device=mask.device).tril()
        if real is not None:
            mask = mask & real[:, None, :]
        # A token always sees itself; for padding this also keeps its softmax from being empty.
        return mask | torch.eye(T, dtype=torch.bool, device=mask.device)

    def forward(self, x, routing, real):
        B, T, d = x.shape
        heads = self.c.scar.heads
        q, k, v = (part.view(B, T, heads, d // heads).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.visible(routing, real)[:, None])
        return self.out(out.transpose(1, 2).reshape(B, T, d))


class Routed(nn.Module):
    """Router, SCAR and domain modules, for a routed layer or, as a base of `GemModel`, for placement `final`."""

    def add_routing(self, c, scar):
        self.router = Router(c, c.router.clusters if scar else 0)
        if scar:
            self.scar = Scar(c)
        self.has_scar = scar
        if c.modules.kind != "off":
            make = {"mlp": lambda: Mlp(c, c.modules.intermediate_size), "lora": lambda: Lora(c, c.modules.rank)}
            # The file's tensors are called `modules.{m}`, but nn.Module has a method of that name, which attribute
            # access finds first: hence the direct entry here and the `experts` property for reading.
            self._modules["modules"] = nn.ModuleList(make[c.modules.kind]() for _ in c.domains)

    @property
    def experts(self):
        return self._modules.get("modules", [])

    def route(self, x, real):
        """x -> (x', Routing); router and clusters read x, never x'."""
        routing = self.router(x, real)
        if not self.has_scar:
            return x, routing
        s = self.scar(x, routing, real)
        return (x + s if self.scar.c.scar.residual else s), routing

    def add_modules(self, y, x, routing, module_map):
        """y + sum of g_m module_m(x) over the fired m, ascending. All [B, T, d]; y is written in place.

        `module_map` (evaluation only) maps m to the module that serves in its place, or to None: switched off."""
        flat_x, flat_y = x.reshape(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        fired, gates = routing.fired.flatten(0, 1), routing.gates.flatten(0, 1)
        for m in range(len(self.experts)):
            serving = m if module_map is None else module_map[m]
            rows = fired[:, m].nonzero().squeeze(-1)
            if serving is None or len(rows) == 0:
                continue
            out = self.experts[serving](flat_x.index_select(0, rows))
            flat_y.index_add_(0, rows, (out * gates[rows, m, None]).to(y.dtype))
        return y


class Layer(Routed):
    """One decoder or encoder layer; a routed one when the config lists its index."""

    def __init__(self, c, index):
        super().__init__()
        self.c = c
        self.routed = index in c.routed_layers
        if c.norm_position == "pre":
            self.input_norm = make_norm(c)
        self.self_attn = Attention(c)
        self.post_attention_norm = make_norm(c)
        if c.norm_position == "post":
            self.output_norm = make_norm(c)
        if not self.routed or c.general_path != "none":
            self.general = Mlp(c, c.intermediate_size)
        if self.routed:
            self.add_routing(c, index in c.scar_layers)

    def forward(self, h, rope, real, module_map):
        if self.c.norm_position == "pre":
            h = h + self.self_attn(self.input_norm(h), rope, real)
            y, routing = self.ffn(self.post_attention_norm(h), real, module_map)
            return h + y, routing
        x = self.post_attention_norm(h + self.self_attn(h, rope, real))
        y, routing = self.ffn(x, real, module_map)
        return self.output_norm(x + y), routing

    def ffn(self, x, real, module_map):
        if not self.routed:
            return self.general(x), None
        x, routing = self.route(x, real)
        return self.add_modules(self.general_part(x, routing), x, routing, module_map), routing

    def general_part(self, x, routing):
        """general(x') for the tokens that the config sends there, zero for the others; a fresh tensor."""
        if self.c.general_path == "always":
            return self.general(x)
        y = torch.zeros_like(x)
        if self.c.general_path == "fallback":
            rows = (~routing.flag).flatten().nonzero().squeeze(-1)
            flat = x.reshape(-1, x.shape[-1]).index_select(0, rows)
            y.view(-1, y.shape[-1]).index_add_(0, rows, self.general(flat))
        return y


class GemModel(Routed):
    """Embeddings, layers and, for placement `final`, the one routing at the end: ids [B, T] -> hidden [B, T, d]."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        if c.position_embedding == "learned":
            self.position_embeddings = nn.Embedding(c.max_position_embeddings, c.hidden_size)
        if c.type_vocab_size:
            self.token_type_embeddings = nn.Embedding(c.type_vocab_size, c.hidden_size)
        if c.norm_position == "post":
            self.embed_norm = make_norm(c)
        self.layers = nn.ModuleList(Layer(c, i) for i in range(c.num_hidden_layers))
        if c.norm_position == "pre":
            self.final_norm = make_norm(c)
        if c.placement_final:
            self.add_routing(c, c.scar_final)

    def embed(self, ids):
        h = self.embed_tokens(ids)
        if self.c.position_embedding == "learned":
            h = h + self.position_embeddings.weight[: ids.shape[1]]
        if self.c.type_vocab_size:
            h = h + self.token_type_embeddings.weight[0]
        return self.embed_norm(h) if self.c.norm_position == "post" else h

    def forward(self, ids, attention_mask=None, module_map=None):
        """`module_map`: one list for every routed place, or {layer index or "final": list}. Returns (hidden, routing)."""
        if ids.shape[1] > self.c.max_position_embeddings:
            raise ValueError(f"{ids.shape[1]} tokens, the limit is {self.c.max_position_embeddings}")
        real = None if attention_mask is None else attention_mask.bool()
        h, routing = self.embed(ids), {}
        rope = rope_tables(self.c, ids.shape[1], ids.device) if self.c.position_embedding == "rope" else None
        if rope is not None:
            rope = tuple(table.to(h.dtype) for table in rope)
        for index, layer in enumerate(self.layers):
            h, record = layer(h, rope, real, _map_of(module_map, index))
            if record is not None:
                routing[index] = record
        if self.c.norm_position == "pre":
            h = self.final_norm(h)
        if self.c.placement_final:
            x, routing["final"] = self.route(h, real)
            h = self.add_modules(x.clone(), x, routing["final"], _map_of(module_map, "final"))
        return h, routing

    def routers(self):
        """{layer index or "final": Router}"""
        found = {i: layer.router for i, layer in enumerate(self.layers) if layer.routed}
        if self.c.placement_final:
            found["final"] = self.router
        return found


def _map_of(module_map, place):
    return module_map.get(place) if isinstance(module_map, dict) else module_map


class GemHead(nn.Module):
    """What both tasks share: the backbone, its initialisation, and the run-time threshold."""

    def __init__(self, c, seed=0):
        super().__init__()
        self.config = c
        self.model = GemModel(c)
        self.add_head(c)
        initialise(self, c, seed)

    def set_threshold(self, threshold):
        """Sets the threshold of every router; the config keeps the checkpoint's final value."""
        for router in self.model.routers().values():
            router.threshold = threshold

    @torch.no_grad()
    def update_centroids(self, output, attention_mask=None, rate=0.05):
        """Moves every layer's centroids towards the tokens of one forward's `output`; padding is left out."""
        for place, router in self.model.routers().items():
            if hasattr(router, "centroids"):
                x = output.routing[place].x
                rows = x.flatten(0, 1) if attention_mask is None else x[attention_mask.bool()]
                router.update_centroids(rows, rate)


class GemForCausalLM(GemHead):
    """Next-token logits [B, T, V]."""

    def add_head(self, c):
        if not c.tie_word_embeddings:
            self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)

    def forward(self, input_ids, attention_mask=None, module_map=None):
        hidden, routing = self.model(input_ids, attention_mask, module_map)
        head = self.model.embed_tokens if self.config.tie_word_embeddings else self.lm_head
        return GemOutput(F.linear(hidden, head.weight), routing, hidden)


class GemForSequenceClassification(GemHead):
    """Class logits [B, num_labels], read from position 0."""

    def add_head(self, c):
        self.classifier = nn.Linear(c.hidden_size, c.num_labels)

    def forward(self, input_ids, attention_mask=None, module_map=None):
        hidden, routing = self.model(input_ids, attention_mask, module_map)
        return GemOutput(self.classifier(hidden[:, 0]), routing, hidden)


def build(c: GemConfig, seed=0):
    """The model class that `architectures` names."""
    return {"GemForCausalLM": GemForCausalLM, "GemForSequenceClassification": GemForSequenceClassification}[
        c.architectures[0]
    ](c, seed)


@torch.no_grad()
def initialise(model, c, seed):
    """Weights for training from scratch: embeddings 0.02, linear layers 1/sqrt(3 fan_in), and what adds into the
    residual stream smaller by 1/sqrt(2 layers), as in GPT-2. LoRA's b starts at zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if name.endswith("bias"):
            value.zero_()
        elif name.endswith("norm.weight"):
            value.fill_(1.0)
        elif name.endswith(".b.weight"):
            value.zero_()
        elif "embed" in name:
            value.normal_(0.0, 0.02, generator=generator)
        elif name.endswith("centroids"):
            value.normal_(0.0, 1.0, generator=generator)
        else:
            std = (3 * value.shape[1]) ** -0.5
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                std /= math.sqrt(2 * c.num_hidden_layers)
            value.normal_(0.0, std, generator=generator)
