"""Arms of the protocol -> trained weights: the base of both families, and one stage of one arm."""

import copy
import math
import time

import numpy as np
import torch
import torch.nn.functional as F

from gem.modeling import Routed
from models import adapt, adapters, build, config_of, digests, grown, module_parameters, most_routed
from train_lm import Clusters, Data, add_modules_sorted, bound_scar, entropy_weights, rate_factor, steer, threshold_at

GEM_ARMS, ADAPTER_ARMS = ("B", "C", "C0", "H"), ("D", "E")
SAVE_EVERY = 240  # seconds, of a base
SCAR_START = 0.3  # of the output map's first size, as in train_lm.py


def prepare():
    """One thread, and the sums over modules in the order that is fast to train."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    Routed.add_modules = add_modules_sorted


def adam(parameters, rate):
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.95), weight_decay=0.0, eps=1e-9, fused=True)


def cross_entropy(logits, ids):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def train_base(settings, scale, corpus, family, progress, unfinished):
    """The model before any stage, on the base domains; both families see the same batches. It saves itself on its way."""
    m, base = settings["model"], settings["domains"]["base"]
    model = build(config_of(settings, family, base), 0)
    steps = scale["base_tokens"] // (m["rows"] * 256)
    data = Data([corpus.stream(d) for d in base], 0, 0.5)
    optimizer = adam(model.parameters(), m["base_rate"])
    routed = family == "gem"
    layers = m["layers"]
    certainty, fired = torch.zeros(layers), torch.full((layers,), 0.5)
    clusters = Clusters(model) if routed else None
    if routed:
        with torch.no_grad():
            model.model.layers[m["scar_layer"]].scar.out.weight.mul_(SCAR_START)
    begun, saved = 0, time.monotonic()
    kept = unfinished.load()
    if kept:
        begun = kept["step"]
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        data.epoch, data.next = kept["data"]["epoch"], kept["data"]["next"]
        certainty, fired = kept["steered"]
        if routed:
            clusters.phase, clusters.load, clusters.recent = kept["clusters"]
    for step in range(begun, steps):
        if time.monotonic() - saved > SAVE_EVERY:
            unfinished.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "data": data.state(),
                             "steered": (certainty, fired), "clusters": routed and (clusters.phase, clusters.load, clusters.recent)})
            saved = time.monotonic()
        place = step / steps
        optimizer.param_groups[0]["lr"] = m["base_rate"] * rate_factor(place)
        if routed:
            model.set_threshold(threshold_at(place, model.config.router.threshold))
        ids, domains = data.batch(step, m["rows"])
        out = model(ids)
        loss = cross_entropy(out.logits, ids)
        (loss + named_losses(settings, out.routing, domains, entropy_weights(certainty, fired))).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if routed:
            steer(certainty, fired, out.routing, model.config.router.threshold)
            clusters.update(step, place, out.routing)
            bound_scar(model.model.layers)
        progress(step + 1, steps, float(loss.detach()))
    if routed:
        model.set_threshold(model.config.router.threshold)
    return model


def named_losses(settings, routing, domains, entropy):
    """What makes routers name domains, and how sure they are to be (`train_lm.py`)."""
    total = 0.0
    for layer, r in routing.items():
        logp = r.logits.log_softmax(-1)
        total = total + settings["model"]["router_weight"] * F.nll_loss(logp.flatten(0, 1), domains.flatten())
        total = total - entropy[layer] * (r.p * logp).sum(-1).mean()
    return total


@torch.no_grad()
def statistics_of(model, batches_of):
    """{layer: (mean [d], a factor of the covariance [d, d])} of what routers read on a domain's text."""
    seen = {}
    for ids, predicted in batches_of:
        real = torch.cat([torch.ones(len(ids), 1, dtype=torch.bool), predicted], 1)
        for layer, r in model(ids).routing.items():
            seen.setdefault(layer, []).append(r.x[real])
    found = {}
    for layer, rows in seen.items():
        x = torch.cat(rows).double()
        mean = x.mean(0)
        covariance = (x - mean).T @ (x - mean) / max(1, len(x) - 1)
        factor = torch.linalg.cholesky(covariance + 1e-4 * torch.eye(len(mean)))
        found[layer] = (mean.float(), factor.float())
    return found


def negative_losses(settings, model, statistics, generator):
    """Samples of what older domains' tokens look like to each router; each domain weighs as much as the new one."""
    total, count = 0.0, len(statistics)
    for layer, router in model.model.routers().items():
        each = settings["stage"]["negatives"] // count
        noise = torch.randn(count, each, router.weight.shape[1], generator=generator)
        means = torch.stack([s[layer][0] for s in statistics.values()])
        factors = torch.stack([s[layer][1] for s in statistics.values()])
        x = means[:, None] + noise @ factors.mT
        labels = torch.tensor(list(statistics))[:, None].expand(-1, each)
        total = total + count * F.cross_entropy(F.linear(x, router.weight).flatten(0, 1), labels.flatten())
    return settings["model"]["router_weight"] * total


class Arm:
    """What one arm trains in one stage, and how."""

    def __init__(self, settings, name, before, domain, seed, statistics, known):
        """`before`: the model at the start; `statistics`: {module: of what routers read in its domain}, for C; `known`: windows
        of the domain's training text."""
        self.settings, self.name, self.statistics = settings, name, statistics
        self.teacher = before if name in ("G", "H") else None
        self.generator = torch.Generator().manual_seed(seed)
        self.row, self.label = None, None
        if name in GEM_ARMS:
            named = before.config.domains
            # A domain that returns trains the module that it has.
            self.label = named.index(domain) if domain in named else len(named)
            self.model = copy.deepcopy(before) if domain in named else grown(settings, before, domain, most_routed(before, known.batches()))
        else:
            self.model = copy.deepcopy(before)
        self.trained = self.choose(seed)
        self.frozen = self.hashes()

    def choose(self, seed):
        """{name: parameter} of what is trained; all else is frozen."""
        model, rank = self.model, self.settings["model"]["rank"]
        named = dict(model.named_parameters())
        if self.name in ADAPTER_ARMS:
            chosen = adapters(model) or adapt(model, rank, seed)
        elif self.name in ("C", "C0"):
            modules, rows = module_parameters(model, self.label)
            self.row, chosen = self.label, modules | rows
            for weight in rows.values():
                mask = torch.zeros_like(weight)
                mask[self.row] = 1.0
                weight.register_hook(lambda grad, mask=mask: grad * mask)
        else:
            chosen = named
        for name, p in model.named_parameters():
            p.requires_grad_(name in chosen)
        return chosen

    def weights_trained(self):
        rows = self.row is not None
        return sum(p.shape[1] if rows and n.endswith("router.weight") else p.numel() for n, p in self.trained.items())

    def hashes(self):
        """Of everything frozen; C trains one row of each router, and the others count as frozen."""
        whole = [n for n in self.trained if self.row is None or not n.endswith("router.weight")]
        return digests(self.model, whole, self.row)

    def untouched(self):
        """Whether everything frozen is, to the bit, as it was."""
        return self.frozen == self.hashes()

    def loss(self, ids):
        out = self.model(ids)
        total = cross_entropy(out.logits, ids)
        if self.teacher is not None:
            with torch.no_grad():
                before = self.teacher(ids).logits
            kl = F.kl_div(out.logits[:, :-1].log_softmax(-1), before[:, :-1].log_softmax(-1), log_target=True, reduction="none").sum(-1).mean()
            share = self.settings["stage"]["distil"]
            total = (1 - share) * total + share * kl
        if self.label is not None:
            # Replayed or not, a stage's text is of the new domain; arms with routers have no replay.
            for r in out.routing.values():
                new = torch.full(r.logits.shape[:2], self.label)
                named = F.cross_entropy(r.logits.flatten(0, 1), new.flatten())
                total = total + self.settings["model"]["router_weight"] * named
            if self.name == "C":
                older = {module: s for module, s in self.statistics.items() if module != self.label}
                total = total + negative_losses(self.settings, self.model, older, self.generator)
        return total


class Batches:
    """A stage's batches: the new text (streams of one or, for J, of several domains), for F with older domains' windows among it."""

    def __init__(self, settings, new, older, seed, skip=0):
        seed, place = seed
        self.new, self.older, self.rows = Data(new, seed, 0.0), older, settings["model"]["rows"]
        self.chance = settings["stage"]["replay"] if older else 0.0
        # Each stage replays other windows.
        self.seed, self.replay = (seed, place), Data(older, seed + 1 + place, 0.0) if older else None
        for _ in range(skip):  # what an earlier lap has drawn
            self.new.window(0)

    def batch(self, step):
        ids, _ = self.new.batch(step, self.rows)
        random = np.random.default_rng((*self.seed, step, 5))
        for row in range(self.rows):
            if self.older and random.random() < self.chance:
                window = self.replay.window(int(random.integers(len(self.older))))
                ids[row] = torch.from_numpy(window.astype(np.int64))
        return ids


def schedule(settings, step, steps, rate):
    """Warm-up, then a cosine."""
    warm = max(1, round(settings["stage"]["warm_up"] * steps))
    if step < warm:
        return rate * (step + 1) / warm
    last = settings["stage"]["last_rate"]
    return rate * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


def train_stage(settings, arm, windows, tokens, rate, points, at_point, progress):
    """Trains an arm's model; `at_point(share)` is called where `points` say. Gives the seconds that training took."""
    steps = tokens // (settings["model"]["rows"] * 256)
    stops = {round(share * steps): share for share in points}
    optimizer = adam(list(arm.trained.values()), rate)
    threshold = arm.model.config.router.threshold
    seconds = 0.0
    for step in range(steps):
        begin = time.monotonic()
        if arm.label is not None:
            arm.model.set_threshold(threshold * min(1.0, step / max(1, settings["stage"]["ramp"] * steps)))
        optimizer.param_groups[0]["lr"] = schedule(settings, step, steps, rate)
        loss = arm.loss(windows.batch(step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(arm.trained.values()), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds += time.monotonic() - begin
        progress(step + 1, steps, float(loss.detach()))
        if step + 1 in stops:
            arm.model.set_threshold(threshold)
            at_point(stops[step + 1])
    arm.model.set_threshold(threshold)
    if not arm.untouched():
        raise SystemExit(f"arm {arm.name}: a frozen tensor has changed")
    return seconds
