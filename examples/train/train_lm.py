"""Arrays of token ids of eight domains -> the weights of gem-lm.

The recipe is a list of traps avoided. The threshold starts at 0 and reaches its shipped value between
20 and 60 % of the run: on from the start, nothing would fire and router and modules would get no
gradient. Every router learns to name the domain of each token's text (0.02 x cross-entropy of p), or, with `--supervised`, those of
some layers; the others share tokens out evenly by what they are (0.05 x KL of the mean p to a target load). A controller per layer steers
certainty so that about 85 % of tokens pass the shipped threshold. Centroids are fitted once p has settled, follow with reseeding,
are refitted at 80 % on >= 50,000 activations, and are frozen then. Domains are drawn by the square root of their size. Half of all
windows hold 2 to 4 stretches of different domains: where a window has one domain, every token sees every other, and SCAR has
nothing to select.
Muon's updates all have the same size, so nothing stops queries and keys from growing: without a bound
attention logits reached 380, attention became an argmax, and an int8 rounding of its input, or of one
unit in the last place anywhere, changed the output. Each head's query and key maps are kept at HEAD_NORM.
SCAR's output is added to what the MLPs read, with no norm behind it. Unbounded it became a constant twenty times as long as its
input, shut the gates of SiLU for good, and two of six layers had MLPs that did nothing. So the largest singular values of its value
and output maps are bounded, both have no biases, the output map starts small, and AdamW trains them. A run in which the hidden
values of a layer's MLP vanish stops by itself.

Everything scheduled is a function of progress, which is elapsed over budgeted time (`--minutes`) or,
to repeat a run exactly, step over steps (`--steps`). The state (weights, optimisers, controllers,
position in the data) is saved every few minutes and before the learning rate falls (`stable.pt`). A file
named `stop` in the run's folder ends a run after its current step, with its state saved.

    python examples/train/train_lm.py --minutes 85 [--run DIR]           # again with the same DIR: resumes
    python examples/train/train_lm.py --minutes 60 --extend-from stable.pt --run DIR2
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from gem import GemConfig, build
from gem.modeling import Routed

CACHE = Path(os.environ.get("GEM_TRAIN_CACHE", "~/.cache/gem-train")).expanduser()
DOMAINS = ["healthcare", "law", "finance", "stem", "commonsense", "conversation", "multilingual", "domain-adaptive"]
CONTEXT, ROWS = 256, 8
DOMAIN_WEIGHT, LOAD_WEIGHT, FIRED_TARGET = 0.02, 0.05, 0.85
RARE_SHARE, SHARPNESS = 0.02, 4.0  # of one module of a router without labels; of choices, against probabilities
MIXED, STRETCHES, SHORTEST = 0.5, (2, 4), 32  # share of mixed windows, how many stretches they hold, and their least length
RAMP, STREAM_FROM, REFIT_AT, DECAY_FROM, WARMUP = (0.20, 0.60), 0.05, 0.80, 0.45, 0.03
REFIT_ROWS = 60_000
HEAD_NORM = 10.0  # of W diag(norm weight), about the mean length of a query or key; logits of about 10 * 10 / sqrt(64)
SCAR_VALUE, SCAR_OUT, SCAR_START = 2.0, 1.0, 0.3  # largest singular values of W_v diag(norm weight) and W_out; W_out's first size
DEAD, DEAD_STEPS = 0.05, 200  # hidden rms of an MLP below this for so many steps: the run stops
SAVE_EVERY = 240  # seconds

CONFIG = {
    "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"], "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 512, "vocab_size": 4096,
    "max_position_embeddings": 1024, "norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "hidden_act": "silu", "mlp_gated": True, "norm": "rmsnorm", "norm_position": "pre", "position_embedding": "rope",
    "domains": DOMAINS,
    "router": {"layers": "all", "score": "softmax", "top_k": 1, "threshold": 0.5, "renormalize": False,
               "clusters": 64, "bias": False},
    "scar": {"layers": [2, 5], "heads": 4, "mask": "cluster_or_domain", "residual": True},
    "modules": {"kind": "mlp", "intermediate_size": 256}, "general_path": "always",
}
# The dense twin: a token passes as many weights of each layer's MLP as the general path and one module have.
DENSE = {k: v for k, v in CONFIG.items() if k not in ("router", "scar", "modules", "general_path")} | {
    "intermediate_size": CONFIG["intermediate_size"] + CONFIG["modules"]["intermediate_size"], "domains": [],
    "router": {"layers": []}, "scar": {"mask": "off"}, "modules": {"kind": "off"}}


class Data:
    """Windows of CONTEXT + 1 tokens, of one domain or of stretches of several; an epoch of a domain visits every window once."""

    def __init__(self, streams, seed, mixed=MIXED):
        self.streams, self.mixed = streams, mixed
        weights = np.sqrt([len(s) for s in streams])
        self.weights, self.seed = weights / weights.sum(), seed
        self.epoch, self.next = [0] * len(streams), [0] * len(streams)

    @classmethod
    def of(cls, corpus, seed):
        """Of all domains of a corpus."""
        return cls([np.load(corpus / "train" / f"{d}.npy") for d in DOMAINS], seed)

    def window(self, m):
        stream = self.streams[m]
        rng = np.random.default_rng((self.seed, m, self.epoch[m]))
        shift, count = int(rng.integers(CONTEXT)), (len(stream) - 2 * CONTEXT) // CONTEXT
        start = shift + CONTEXT * int(rng.permutation(count)[self.next[m]])
        self.next[m] += 1
        if self.next[m] == count:
            self.epoch[m], self.next[m] = self.epoch[m] + 1, 0
        return stream[start:start + CONTEXT + 1]

    def row(self, rng):
        """(ids [CONTEXT + 1], domain of each): the beginnings of as many windows as there are stretches."""
        count = int(rng.integers(STRETCHES[0], STRETCHES[1] + 1)) if rng.random() < self.mixed else 1
        domains = rng.choice(len(self.streams), count, replace=False, p=self.weights)
        spare = CONTEXT + 1 - count * SHORTEST
        cuts = np.sort(rng.integers(0, spare + 1, count - 1))
        lengths = SHORTEST + np.diff(np.concatenate([[0], cuts, [spare]]))
        ids = np.concatenate([self.window(m)[:n] for m, n in zip(domains, lengths)])
        return ids.astype(np.int64), np.repeat(domains, lengths)

    def batch(self, step, rows):
        """(ids, domain of each token's text), both [rows, CONTEXT + 1]"""
        rng = np.random.default_rng((self.seed, step))
        ids, domains = zip(*(self.row(rng) for _ in range(rows)))
        return torch.from_numpy(np.stack(ids)), torch.from_numpy(np.stack(domains))

    def state(self):
        return {"epoch": self.epoch, "next": self.next}


class Permute(torch.autograd.Function):
    """Rows in another order. The gradient is the inverse order, which autograd's scatter-add does not know."""

    @staticmethod
    def forward(ctx, x, order, inverse):
        ctx.save_for_backward(inverse)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx, grad):
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


def add_modules_sorted(self, y, x, routing, _module_map):
    """`Routed.add_modules` for top-1 routing: tokens sorted by module, one pass over them, sorted back."""
    flat, choice = x.reshape(-1, x.shape[-1]), routing.domain.flatten()
    order = choice.argsort(stable=True)
    inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    counts = torch.bincount(choice, minlength=len(self.experts) + 1).tolist()
    parts = Permute.apply(flat, order, inverse).split(counts)
    out = [expert(part) for expert, part in zip(self.experts, parts) if len(part)] + [torch.zeros_like(parts[-1])]
    gates = routing.gates.flatten(0, 1).sum(-1, keepdim=True)
    return y + (Permute.apply(torch.cat(out), inverse, order) * gates).view_as(y)


def round_activations(_module, inputs):
    """A `Linear`'s input as kernels see it: int8 per block of 32, scaled by the largest magnitude. The gradient passes."""
    x, = inputs
    with torch.no_grad():
        blocks = x.unflatten(-1, (-1, 32))
        largest = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-30)
        rounded = ((blocks * (127 / largest)).round() * (largest / 127)).flatten(-2)
    return (x + (rounded - x).detach(),)


@torch.no_grad()
def orthogonalise(g, steps):
    """Newton-Schulz iteration towards the nearest orthogonal matrix, batched; coefficients of Jordan's Muon."""
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if tall else x


class Parameter:
    """One parameter with its optimiser state and every worker's gradient, all in shared memory."""

    def __init__(self, name, value, workers, args):
        matrix = value.ndim == 2 and ".layers." in name and "router" not in name
        self.name, self.value = name, value
        self.grads = [torch.zeros_like(value).share_memory_() for _ in range(workers)]
        self.muon = matrix and ".scar." not in name and (args.muon == "all" or args.muon == "dense" and ".modules." not in name)
        self.peak = args.muon_lr if self.muon else args.embed_lr if "embed_tokens" in name else args.lr
        self.peak *= args.module_rate if ".modules." in name else args.general_rate if ".general." in name else 1.0
        self.decay = args.weight_decay if matrix else 0.0
        self.first = torch.zeros_like(value).share_memory_()
        self.second = None if self.muon else torch.zeros_like(value).share_memory_()

    def cost(self):
        """Rough time of an update, to share the parameters out among workers."""
        n = self.value.numel()
        return n * (1 + (min(self.value.shape) if self.muon else 0) / 8)

    def state(self):
        return {"first": self.first, "second": self.second}

    def load(self, state):
        self.first.copy_(state["first"])
        if self.second is not None:
            self.second.copy_(state["second"])


@torch.no_grad()
def update_adam(params, grads, step, factor):
    for peak, decay in sorted({(p.peak, p.decay) for p in params}):
        mine = [(p, g) for p, g in zip(params, grads) if (p.peak, p.decay) == (peak, decay)]
        torch._fused_adamw_(
            [p.value.data for p, _ in mine], [g for _, g in mine], [p.first for p, _ in mine],
            [p.second for p, _ in mine], [], [torch.tensor(float(step + 1)) for _ in mine], amsgrad=False,
            lr=peak * factor, beta1=0.9, beta2=0.95, weight_decay=decay, eps=1e-9, maximize=False)


@torch.no_grad()
def update_muon(params, grads, factor):
    """Momentum 0.95 (Nesterov), then orthogonalised; same-shaped matrices go in one batch."""
    shapes = {}
    for p, g in zip(params, grads):
        shapes.setdefault(tuple(p.value.shape), []).append((p, g))
    for shape, members in shapes.items():
        updates = torch.stack([g.lerp(p.first.lerp_(g, 0.05), 0.95) for p, g in members])
        for (p, _), u in zip(members, orthogonalise(updates, 5)):
            rate = p.peak * factor
            p.value.data.mul_(1 - rate * p.decay).add_(u, alpha=-rate * max(1.0, shape[0] / shape[1]) ** 0.5)


def rate_factor(progress):
    """Warm-up, constant, then a linear fall to 2 % over the rest: batches this small are noisy, so it starts early."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.02)
    return 1.0 if progress < DECAY_FROM else max(0.02, 1 - 0.98 * (progress - DECAY_FROM) / (1 - DECAY_FROM))


def threshold_at(progress, shipped):
    start, end = RAMP
    return shipped * min(1.0, max(0.0, (progress - start) / (end - start)))


def target_load(layer):
    """Shares of the modules of a router without labels: one is rare on purpose, another one in each layer."""
    load = torch.full((len(DOMAINS),), (1 - RARE_SHARE) / (len(DOMAINS) - 1))
    load[layer // 2 * 3 % len(DOMAINS)] = RARE_SHARE
    return load


def router_losses(routing, domains, weights, supervised):
    """Sum of the auxiliary losses; `weights[l]` is that of the entropy per token of layer l. `domains` [B, T]."""
    total = 0.0
    for layer, r in routing.items():
        logp = r.logits.log_softmax(-1)
        total = total + weights[layer] * -(r.p * logp).sum(-1).mean()
        if layer in supervised:
            total = total + DOMAIN_WEIGHT * F.nll_loss(logp.flatten(0, 1), domains.flatten())
            continue
        target, within = target_load(layer), r.p.mean(1)
        gap = (within * (within / target).clamp(min=1e-6).log()).sum(-1).mean()  # within each window
        chosen = (SHARPNESS * r.logits).softmax(-1).mean((0, 1))  # over the batch; this direction revives what died
        total = total + LOAD_WEIGHT * (gap + (target * (target / chosen.clamp(min=1e-6)).log()).sum())
    return total


@torch.no_grad()
def bound_attention(layers, width):
    """Scales each head of the query and key maps, norm weight included, down to HEAD_NORM where it is longer."""
    for layer in layers:
        maps = [(p.weight.data, layer.input_norm) for p in (layer.self_attn.q_proj, layer.self_attn.k_proj)]
        if layer.routed and layer.has_scar:
            maps.append((layer.scar.qkv.weight.data[:2 * layer.scar.out.in_features], layer.post_attention_norm))
        for weight, norm in maps:
            heads = weight.view(-1, width, weight.shape[1])
            lengths = (heads * norm.weight).norm(dim=(1, 2), keepdim=True)
            heads.mul_((HEAD_NORM / lengths).clamp(max=1.0))


def largest_singular_value(matrix):
    return float(torch.linalg.eigvalsh(matrix @ matrix.T)[-1].clamp(min=0).sqrt())


@torch.no_grad()
def bound_scar(layers):
    """Scales SCAR's value and output maps down to their bounds, and keeps their biases at zero."""
    for layer in layers:
        if not (layer.routed and layer.has_scar):
            continue
        scar, width = layer.scar, layer.scar.out.in_features
        value, out = scar.qkv.weight.data[2 * width:], scar.out.weight.data
        value.mul_(min(1.0, SCAR_VALUE / max(largest_singular_value(value * layer.post_attention_norm.weight), 1e-9)))
        out.mul_(min(1.0, SCAR_OUT / max(largest_singular_value(out), 1e-9)))
        scar.qkv.bias.data[2 * width:].zero_()
        scar.out.bias.data.zero_()


class Pulse:
    """What shows whether a layer lives, of the last forward: SCAR's output, the gates and the hidden values of its MLP."""

    def __init__(self, model):
        self.seen, self.quiet = {}, {}
        for index, layer in enumerate(model.model.layers):
            if layer.routed and layer.has_scar:
                layer.scar.register_forward_hook(self.keep("s", index))
            layer.general.gate_proj.register_forward_hook(self.keep("gate", index))
            layer.general.down_proj.register_forward_hook(lambda _, inputs, __, index=index: self.put("hidden", index, inputs[0]))

    def keep(self, what, index):
        return lambda _, __, output: self.put(what, index, output)

    def put(self, what, index, value):
        self.seen[what, index] = value.detach()

    @torch.no_grad()
    def dead(self):
        """A layer whose hidden values have been too small for too long, or None; to be called once a step."""
        for (what, index), value in self.seen.items():
            if what == "hidden":
                quiet = float(value.square().mean().sqrt()) < DEAD
                self.quiet[index] = self.quiet.get(index, 0) + 1 if quiet else 0
        return next((index for index, steps in self.quiet.items() if steps >= DEAD_STEPS), None)

    @torch.no_grad()
    def told(self, index):
        """As a part of a line of the log. The constant part of s: the power of its mean over tokens, as a share of all."""
        words = [f"hidden {float(self.seen['hidden', index].square().mean().sqrt()):.3f}", f"gate {float(self.seen['gate', index].mean()):+.2f}"]
        if ("s", index) in self.seen:
            s = self.seen["s", index].flatten(0, 1)
            share = float(s.mean(0).square().sum() / s.square().sum(-1).mean().clamp(min=1e-12))
            words.append(f"s {float(s.square().mean().sqrt()):.3f} of it constant {share:.2f}")
        return " ".join(words)


@torch.no_grad()
def steer(certainty, fired, routing, shipped):
    """Integrates each layer's entropy weight towards FIRED_TARGET of tokens above the shipped threshold."""
    for layer, r in routing.items():
        share = float((r.p.amax(-1) > shipped).float().mean())
        fired[layer] += 0.05 * (share - fired[layer])
        step = 5e-4 * (FIRED_TARGET - fired[layer])
        certainty[layer] = min(0.01, max(-0.03, certainty[layer] + step))


def entropy_weights(certainty, fired):
    """Integral plus proportional: the integral alone swung between 35 and 99 % of tokens."""
    return (certainty + 0.2 * (FIRED_TARGET - fired)).tolist()


class Clusters:
    """Centroids over a run: a fit when p has settled, a stream with reseeding, a last fit, then frozen."""

    def __init__(self, model):
        self.routers = {l: r for l, r in model.model.routers().items() if hasattr(r, "centroids")}
        self.phase = "waiting"
        self.recent = {l: [] for l in self.routers}
        self.load = {l: torch.zeros(len(r.centroids)) for l, r in self.routers.items()}

    def update(self, step, progress, routing):
        if progress < STREAM_FROM - 0.02 or self.phase == "frozen" or not self.routers:
            return
        keep = REFIT_ROWS if progress > REFIT_AT - 0.08 else 16_384
        for layer in self.routers:
            self.recent[layer] = self.recent[layer] + [routing[layer].x.flatten(0, 1).clone()]
            while sum(map(len, self.recent[layer])) - len(self.recent[layer][0]) >= keep:
                self.recent[layer].pop(0)
        rows = min(sum(map(len, r)) for r in self.recent.values())
        if self.phase == "waiting" and progress >= STREAM_FROM and rows >= 8_192:
            self.fit("streaming")
        elif progress >= REFIT_AT and rows >= 50_000:
            self.fit("frozen")
        elif self.phase == "streaming" and step % 4 == 0:
            self.follow()

    def fit(self, phase):
        for layer, router in self.routers.items():
            x = torch.cat(self.recent[layer])
            router.fit_centroids(x, 8, torch.Generator().manual_seed(layer))
            for _ in range(12):
                self.reseed(router, x, torch.bincount(router.nearest(x), minlength=len(router.centroids)).float())
                router.update_centroids(x, rate=1.0)
            print(f"centroids of layer {layer} fitted on {len(x)} activations ({phase})", flush=True)
        self.phase = phase

    def follow(self):
        for layer, router in self.routers.items():
            x = self.recent[layer][-1]
            router.update_centroids(x, rate=0.05)
            count = torch.bincount(router.nearest(x), minlength=len(router.centroids)).float()
            self.load[layer].lerp_(count, 0.02)
            if float(self.load[layer].sum()) > 0.9 * len(x):  # the average has warmed up
                self.reseed(router, x, self.load[layer])

    @staticmethod
    @torch.no_grad()
    def reseed(router, x, load):
        """Centroids below 10 % of the mean load move next to a random token of the fullest clusters."""
        poor = (load < 0.1 * load.mean()).nonzero().squeeze(-1)
        if len(poor) == 0:
            return
        full = load.argsort(descending=True)[:len(poor)]
        owner = router.nearest(x)
        for p, f in zip(poor.tolist(), full.tolist()):
            rows = (owner == f).nonzero().squeeze(-1)
            if len(rows) > 1:
                router.centroids[p] = x[rows[len(rows) // 2]]
                load[p] = load[f] = load[f] / 2

    def state(self):
        return {"phase": self.phase, "load": self.load}


class Run:
    """Everything that must survive an interruption, in shared memory; made before the workers are forked.

    Two workers with one thread each wait for one another three times a step, two threads of one process
    at every operation: on a machine that does other things as well that is a factor of two."""

    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        self.config = GemConfig.from_dict(DENSE if args.dense else CONFIG if args.scar else CONFIG | {"scar": {"mask": "off"}})
        self.model = build(self.config, args.seed).share_memory()
        self.prepare(args)
        trained = [(n, p) for n, p in self.model.named_parameters() if not (args.random_routing and ".router." in n)]
        self.params = [Parameter(n, p, args.workers, args) for n, p in trained]
        self.data, self.clusters = Data.of(args.corpus, args.seed), Clusters(self.model)
        layers = self.config.num_hidden_layers
        self.certainty = torch.zeros(layers).share_memory_()
        self.fired = torch.full((layers,), 0.5).share_memory_()
        self.clock = torch.zeros(2, dtype=torch.float64).share_memory_()  # steps done, seconds trained
        self.squares = torch.zeros(args.workers).share_memory_()
        self.losses = torch.zeros(args.workers).share_memory_()
        self.stopped = torch.zeros(1).share_memory_()
        self.shares = self.share_out(args.workers)

    @torch.no_grad()
    def prepare(self, args):
        """What initialisation does not know: SCAR's output starts small; a random router is drawn once and stays."""
        generator = torch.Generator().manual_seed(args.seed + 1)
        for layer in self.model.model.layers:
            if layer.routed and layer.has_scar:
                layer.scar.out.weight.mul_(SCAR_START)
            if layer.routed and args.random_routing:
                # Logits of unit inputs spread by 4, so that most tokens pass the threshold.
                layer.router.weight.normal_(0.0, 4.0 * layer.router.weight.shape[1] ** -0.5, generator=generator)
                layer.router.weight.requires_grad_(False)

    def share_out(self, workers):
        """Which worker updates which parameters: largest first, to whoever has least to do."""
        shares, load = [[] for _ in range(workers)], [0.0] * workers
        for p in sorted(self.params, key=lambda p: -p.cost()):
            least = load.index(min(load))
            shares[least].append(p)
            load[least] += p.cost()
        return shares

    @property
    def step(self):
        return int(self.clock[0])

    def progress(self):
        done = self.clock[0] / self.args.steps if self.args.steps else self.clock[1] / (60 * self.args.minutes)
        return min(1.0, self.args.from_progress + (1 - self.args.from_progress) * float(done))

    def save(self, name):
        state = {"model": self.model.state_dict(), "params": {p.name: p.state() for p in self.params},
                 "data": self.data.state(), "clusters": self.clusters.state(), "clock": self.clock,
                 "certainty": self.certainty, "fired": self.fired, "config": self.config.to_dict(),
                 "seed": self.args.seed, "rows": self.args.rows}
        partial = self.args.run / (name + ".partial")
        torch.save(state, partial)
        partial.rename(self.args.run / name)  # so that an interruption never leaves half a state

    def load(self, path, keep_clock=True):
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for p in self.params:
            p.load(state["params"][p.name])
        self.data.epoch, self.data.next = state["data"]["epoch"], state["data"]["next"]
        self.clusters.phase, self.clusters.load = state["clusters"]["phase"], state["clusters"]["load"]
        self.certainty.copy_(state["certainty"])
        self.fired.copy_(state["fired"])
        self.clock.copy_(state["clock"])
        if not keep_clock:  # a new schedule over old weights; the step still counts Adam's and the data's steps
            self.clock[1] = 0.0


class Worker:
    """One process of a run: its rows of each batch, and its share of the parameters."""

    def __init__(self, run, rank, barrier):
        self.run, self.rank, self.barrier = run, rank, barrier
        self.model, self.shipped = run.model, run.config.router.threshold
        for p in run.params:
            p.value.grad = p.grads[rank]

    def forward_backward(self, step, progress):
        args = self.run.args
        self.model.set_threshold(threshold_at(progress, self.shipped))
        ids, domains = self.run.data.batch(step, args.rows)
        mine = slice(self.rank, None, args.workers)
        ids, domains = ids[mine], domains[mine]
        torch._foreach_zero_([p.grads[self.rank] for p in self.run.params])
        out, domains = self.model(ids[:, :-1]), domains[:, :-1]
        loss = F.cross_entropy(out.logits.flatten(0, 1), ids[:, 1:].flatten())
        weights = entropy_weights(self.run.certainty, self.run.fired)
        others = 0.0 if args.random_routing else router_losses(out.routing, domains, weights, args.supervised)
        (loss + others).backward()
        self.run.losses[self.rank] = float(loss.detach())
        return out.routing, domains

    def update(self, step, progress):
        """Mean gradient of this worker's share, clipped by the norm over all shares, applied."""
        run, share, factor = self.run, self.run.shares[self.rank], rate_factor(progress)
        grads = [p.grads[0] for p in share]
        for other in range(1, run.args.workers):
            torch._foreach_add_(grads, [p.grads[other] for p in share])
        torch._foreach_div_(grads, float(run.args.workers))
        run.squares[self.rank] = sum(n.item() ** 2 for n in torch._foreach_norm(grads))
        self.barrier.wait()
        torch._foreach_mul_(grads, min(1.0, 1.0 / (float(run.squares.sum()) ** 0.5 + 1e-9)))
        for muon in (False, True):
            pairs = [(p, g) for p, g in zip(share, grads) if p.muon == muon]
            if pairs:
                params, gs = zip(*pairs)
                update_muon(params, gs, factor) if muon else update_adam(params, gs, step, factor)

    def train_step(self, step, progress):
        routing, domains = self.forward_backward(step, progress)
        self.barrier.wait()
        if self.rank == 0:
            steer(self.run.certainty, self.run.fired, routing, self.shipped)
            self.run.clusters.update(step, progress, routing)
        self.update(step, progress)
        return routing, domains


@torch.no_grad()
def report(run, progress, losses, rate, routing, domains, pulse):
    """One line about the run and one about each layer's router on this worker's last rows."""
    head = {"step": run.step, "progress": round(progress, 4), "loss": round(sum(losses) / len(losses), 4),
            "tokens_per_s": round(rate), "minutes": round(float(run.clock[1]) / 60, 2)}
    layers = []
    for layer, r in routing.items():
        choice = r.p.argmax(-1)
        load = torch.bincount(choice.flatten(), minlength=len(DOMAINS)).float() / choice.numel()
        hit = float((choice == domains).float().mean())
        layers.append(f"{layer}: fire {run.fired[layer]:.2f} hit {hit:.2f} certainty {run.certainty[layer]:+.4f} "
                      f"load {' '.join(f'{100 * v:.0f}' for v in load.tolist())} {pulse.told(layer)}")
    line = json.dumps(head)
    print(line + "\n   " + "\n   ".join(layers), flush=True)
    with open(run.args.run / "log.jsonl", "a") as log:
        log.write(line + "\n")


def work(rank, run, barrier):
    """The loop of one worker. Worker 0 keeps the clock, the files and the log; all see the same progress."""
    os.setsid()  # Linux shares time out by session before it looks at processes: a session each
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    worker, args = Worker(run, rank, barrier), run.args
    pulse = Pulse(run.model) if rank == 0 else None
    saved = mark = time.monotonic()
    losses = []
    stable = run.progress() >= DECAY_FROM
    while True:
        begin, progress, step = time.monotonic(), run.progress(), run.step
        if rank == 0:
            bound_attention(run.model.model.layers, run.config.head_dim)
            bound_scar(run.model.model.layers)
        barrier.wait()  # nobody moves the clock before everybody has read it
        if progress >= 1.0 or run.stopped:
            break
        if rank == 0 and progress >= DECAY_FROM and not stable:
            run.save("stable.pt")
            stable = True
        routing, domains = worker.train_step(step, progress)
        if rank == 0:
            losses.append(float(run.losses.mean()))
            now = time.monotonic()
            run.clock += torch.tensor([1.0, now - begin], dtype=torch.float64)
            if now - mark > args.report_seconds:
                report(run, progress, losses, len(losses) * args.rows * CONTEXT / (now - mark), routing, domains, pulse)
                mark, losses = now, []
            dead = pulse.dead()
            if dead is not None:
                print(f"stopped: the hidden values of layer {dead}'s MLP were below {DEAD} for {DEAD_STEPS} steps", flush=True)
            run.stopped[0] = dead is not None or (args.run / "stop").exists()
        barrier.wait()
        if rank == 0 and time.monotonic() - saved > SAVE_EVERY:
            run.save("last.pt")
            saved = time.monotonic()
    if rank == 0:
        run.save("last.pt")
        print(f"done: {run.step} steps, {run.step * args.rows * CONTEXT:,} tokens", flush=True)


def train(run):
    """Forks the workers and ends with them; one that fails ends the others."""
    context = torch.multiprocessing.get_context("fork")
    barrier = context.Barrier(run.args.workers, timeout=900)  # if one worker is killed, the others end
    torch.multiprocessing.start_processes(work, (run, barrier), run.args.workers, start_method="fork")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", type=Path, default=CACHE / "gem-lm")
    parser.add_argument("--corpus", type=Path, default=CACHE / "corpus")
    parser.add_argument("--dense", action="store_true", help="gem-lm-dense: no router, SCAR or modules")
    parser.add_argument("--no-scar", dest="scar", action="store_false", help="the same model without SCAR")
    parser.add_argument("--random-routing", action="store_true", help="routers are drawn once and not trained")
    parser.add_argument("--minutes", type=float, default=115)
    parser.add_argument("--steps", type=int, help="a budget of steps instead of time: repeatable")
    parser.add_argument("--extend-from", type=Path, help="start from this state's weights with a new budget")
    parser.add_argument("--from-progress", type=float, default=0.0, help="where in the schedule the budget starts")
    parser.add_argument("--round-activations", action="store_true",
                        help="round the inputs of linear maps as kernels do, for the end of a run")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes, each with one thread")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--muon", choices=["none", "dense", "all"], default="dense")
    parser.add_argument("--lr", type=float, default=2.5e-3)
    parser.add_argument("--embed-lr", type=float, default=4e-3)
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--supervised", type=lambda text: [int(layer) for layer in text.split(",")], default=[1, 3, 5],
                        help="layers whose routers learn to name domains; the others learn to share tokens out by what they are")
    parser.add_argument("--module-rate", type=float, default=1.0, help="times as fast as other weights of their kind")
    parser.add_argument("--general-rate", type=float, default=1.0, help="the same of general paths")
    parser.add_argument("--report-seconds", type=float, default=30)
    args = parser.parse_args()
    torch.set_num_threads(1)
    Routed.add_modules = add_modules_sorted  # the same sums, faster to train
    args.run.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    if args.round_activations:
        for name, module in run.model.named_modules():
            if isinstance(module, torch.nn.Linear) and "router" not in name:
                module.register_forward_pre_hook(round_activations)
    if (args.run / "last.pt").exists():
        run.load(args.run / "last.pt")
    elif args.extend_from:
        run.load(args.extend_from, keep_clock=False)
    train(run)


if __name__ == "__main__":
    main()
