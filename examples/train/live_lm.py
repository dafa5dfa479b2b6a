"""A saved gem-lm checkpoint -> what each of its parts is worth: the rise of loss when it is taken out, in nats a token.

A part is replaced by its mean over the tokens judged (modules: by domain of the text), beside it by zero; the mean is what a bias could do, so a part
that is worth nothing against its mean does nothing with its input. Judged are windows spread over all documents of each domain;
intervals are of 95 %, by drawing documents anew within each domain. Also: SCAR by five surrogates, what its output is made of, and the
density of its masks on windows that hold stretches of several domains.

    python examples/train/live_lm.py [--model DIR] [--windows 64] [--out figures.json]

Reads the checkpoint's own evaluation text, or with --text that of a folder (`judged_text.py` makes one).
"""

import argparse
import json
import types
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from eval_lm import WINDOW, batches, documents, mask_density, prepare_worker, windows_of
from gem import load
from judged_text import pieces
from train_lm import DOMAINS, SHORTEST, STRETCHES

RESAMPLES = 10_000
FREE = 0.002  # nats: below this at the upper end, a surrogate is as good as the part
BARS = {"MLP": 0.02, "modules": 0.01, "module": 0.003, "exchanged": 0.02}
LEAST_SHARE = 0.02  # of its layer's fired tokens: a module that fires for fewer is only listed

MODEL, WINDOWS, MEANS = None, None, {}  # set before the workers are forked, so that they share them


class Surgery:
    """One part of the model replaced, until `undo`."""

    def __init__(self, model, part, how, domain):
        self.model, self.how, self.domain, self.undone = model, how, domain, []
        kind, layer, *module = part
        getattr(self, kind)(model.model.layers[layer], layer, *module)

    def undo(self):
        for step in self.undone:
            step()

    def hook(self, module, f):
        self.undone.append(module.register_forward_hook(f).remove)

    def method(self, owner, name, f):
        """`f(original, ...)` in the place of a method."""
        original = getattr(owner, name)
        setattr(owner, name, types.MethodType(lambda _, *args: f(original, *args), owner))
        self.undone.append(lambda: delattr(owner, name))

    def surrogate(self, key, like):
        return torch.zeros_like(like) if self.how == "zero" else MEANS[key].to(like.dtype).expand_as(like).clone()

    def MLP(self, layer, index):
        self.hook(layer.general, lambda _, __, out: self.surrogate(("MLP", index), out))

    def modules(self, layer, index):
        def add(original, y, x, routing, module_map):
            if self.how == "exchanged":
                count = len(layer.experts)
                return original(y, x, routing, [(m + 1) % count for m in range(count)])
            return y + self.surrogate(("modules", index, self.domain), y)
        self.method(layer, "add_modules", add)

    def module(self, layer, index, which):
        def add(original, y, x, routing, module_map):
            others = [None if m == which else m for m in range(len(layer.experts))]
            y = original(y, x, routing, others)
            key = ("module", index, which, self.domain)
            return y + routing.fired[..., which, None] * self.surrogate(key, y)
        self.method(layer, "add_modules", add)

    def SCAR(self, layer, index):
        if self.how in ("zero", "mean"):
            return self.hook(layer.scar, lambda _, __, out: self.surrogate(("SCAR", index), out))

        def visible(_, routing, real):
            length = routing.flag.shape[1]
            causal = torch.ones(length, length, dtype=torch.bool).tril()
            alone = torch.eye(length, dtype=torch.bool)
            if self.how == "self only":
                return alone.expand(len(routing.flag), -1, -1)
            same = routing.flag[:, :, None] == routing.flag[:, None, :]
            if routing.cluster is not None:
                same = same | (routing.cluster[:, :, None] == routing.cluster[:, None, :])
            return (causal if self.how == "full" else same & causal) | alone.expand(len(routing.flag), -1, -1)
        self.method(layer.scar, "visible", visible)


def spread(folder, tokenizer, count):
    """For each domain so many windows [(document, ids)], spread evenly over its documents."""
    found = []
    for domain in DOMAINS:
        of = [(document, w) for document, text in pieces(folder / f"{domain}.jsonl") for w in windows_of(tokenizer, [text]) if len(w) > 1]
        if not of:
            raise SystemExit(f"{folder}: no text of {domain}")
        taken = min(count, len(of))
        found.append([of[i * len(of) // taken] for i in range(taken)])
    return found


def variants(config):
    """(part, how) of everything that is measured; the part None is the model as it is."""
    found = [(None, "")]
    for layer in config.routed_layers:
        found += [(("MLP", layer), how) for how in ("mean", "zero")]
        found += [(("modules", layer), how) for how in ("mean", "zero", "exchanged")]
        found += [(("module", layer, m), "mean") for m in range(len(config.domains))]
    for layer in config.scar_layers:
        found += [(("SCAR", layer), how) for how in ("zero", "mean", "self only", "full", "flag")]
    return found


def nats_of(task):
    """Of one variant and domain: nats of every window [windows], and of the tokens for which a module fires."""
    (part, how), m = task
    surgery = Surgery(MODEL, part, how, m) if part else None
    total, count = [], []
    for ids, real in batches([w for _, w in WINDOWS[m]]):
        out = MODEL(ids)
        nll = F.cross_entropy(out.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1)
        judged = real[:, 1:]
        if part and part[0] == "module":
            judged = judged & out.routing[part[1]].fired[:, :-1, part[2]]
        total += (nll * judged).double().sum(1).tolist()
        count += judged.sum(1).tolist()
    if surgery:
        surgery.undo()
    return total, count


def fired_nats_of(m):
    """Of the model as it is: {(layer, module): nats of every window at the tokens for which the module fires}."""
    found = {}
    for ids, real in batches([w for _, w in WINDOWS[m]]):
        out = MODEL(ids)
        nll = F.cross_entropy(out.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1)
        for layer, routing in out.routing.items():
            for module in range(routing.fired.shape[-1]):
                judged = real[:, 1:] & routing.fired[:, :-1, module]
                found.setdefault((layer, module), []).extend((nll * judged).double().sum(1).tolist())
    return found


class Sums:
    """Means over real tokens, by key."""

    def __init__(self):
        self.sum, self.count = {}, {}

    def add(self, key, rows):
        self.sum[key] = self.sum.get(key, 0) + rows.double().sum(0)
        self.count[key] = self.count.get(key, 0) + len(rows)

    def merge(self, other):
        for key, value in other.sum.items():
            self.sum[key] = self.sum.get(key, 0) + value
            self.count[key] = self.count.get(key, 0) + other.count[key]


def means_of(m):
    """Sums of every part's output on one domain, and of squares of SCAR's input and output."""
    sums, undo, real = Sums(), [], None

    def watch(key):
        return lambda _, __, out: sums.add(key, out[real])

    def add_modules(original, index, layer):
        def add(_, y, x, routing, module_map):
            before = y.clone()
            out = original(y, x, routing, module_map)
            sums.add(("modules", index, m), (out - before)[real])
            for which, expert in enumerate(layer.experts):
                rows = real & routing.fired[..., which]
                sums.add(("module", index, which, m), expert(x[rows]) * routing.gates[rows][:, which, None])
            return out
        return add

    def squares(index):
        def add(_, inputs, out):
            sums.add(("square of x", index), inputs[0][real].square().mean(-1, keepdim=True))
            sums.add(("square of s", index), out[real].square().mean(-1, keepdim=True))
        return add

    for index, layer in enumerate(MODEL.model.layers):
        if not layer.routed:
            continue
        undo.append(layer.general.register_forward_hook(watch(("MLP", index))).remove)
        layer.add_modules = types.MethodType(add_modules(layer.add_modules, index, layer), layer)
        undo.append(lambda layer=layer: delattr(layer, "add_modules"))
        if layer.has_scar:
            undo.append(layer.scar.register_forward_hook(watch(("SCAR", index))).remove)
            undo.append(layer.scar.register_forward_hook(squares(index)).remove)
    for ids, real in batches([w for _, w in WINDOWS[m]]):
        MODEL(ids)
    for step in undo:
        step()
    return sums


def interval(rise, count, documents_):
    """(rise a token, 2.5 %, 97.5 %): documents drawn anew within each domain."""
    generator = np.random.default_rng(1)
    numerator, denominator = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for r, c, d in zip(rise, count, documents_):
        _, of = np.unique(d, return_inverse=True)
        per = np.stack([np.bincount(of, weights=r), np.bincount(of, weights=c)])
        drawn = generator.integers(0, per.shape[1], (RESAMPLES, per.shape[1]))
        numerator += per[0][drawn].sum(1)
        denominator += per[1][drawn].sum(1)
    ratios = numerator / np.maximum(denominator, 1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    total = sum(map(np.sum, count))
    return float(sum(map(np.sum, rise)) / max(total, 1)), float(low), float(high), int(total)


def mixed_windows(count):
    """Windows of 2 to 4 stretches of different domains, each from somewhere in its domain's windows."""
    generator = np.random.default_rng(2)
    streams = [np.concatenate([w for _, w in windows]) for windows in WINDOWS]

    def stretch(domain, length):
        start = generator.integers(max(1, len(streams[domain]) - length))
        return np.resize(streams[domain][start:start + length], length)
    rows = []
    for _ in range(count):
        pieces = int(generator.integers(STRETCHES[0], STRETCHES[1] + 1))
        domains = generator.choice(len(DOMAINS), pieces, replace=False)
        cuts = np.sort(generator.integers(0, WINDOW - pieces * SHORTEST + 1, pieces - 1))
        lengths = SHORTEST + np.diff(np.concatenate([[0], cuts, [WINDOW - pieces * SHORTEST]]))
        rows.append(np.concatenate([stretch(d, n) for d, n in zip(domains, lengths)]))
    return rows


def densities(windows):
    """{layer: mean visible share} of SCAR's own masks."""
    pairs, found = torch.ones(WINDOW, WINDOW, dtype=torch.bool).tril(), {}
    for ids, _ in batches(windows):
        for layer, routing in MODEL(ids).routing.items():
            if layer in MODEL.config.scar_layers:
                found.setdefault(layer, []).extend(mask_density(routing, pairs, routing.domain).tolist())
    return {layer: float(np.mean(values)) for layer, values in found.items()}


def measure(pool):
    """[{part, how, rise, low, high, tokens}] of every variant."""
    tasks = [(variant, m) for variant in variants(MODEL.config) for m in range(len(DOMAINS))]
    done = pool.map(nats_of, tasks, chunksize=1)
    fired = pool.map(fired_nats_of, range(len(DOMAINS)), chunksize=1)
    found = {variant: done[i * len(DOMAINS):(i + 1) * len(DOMAINS)] for i, variant in enumerate(variants(MODEL.config))}
    documents_ = [[d for d, _ in windows] for windows in WINDOWS]
    rows = []
    for (part, how), by_domain in found.items():
        if part is None:
            continue
        if part[0] == "module":
            before = [fired[m][part[1:]] for m in range(len(DOMAINS))]
        else:
            before = [found[None, ""][m][0] for m in range(len(DOMAINS))]
        rise = [np.array(total) - np.array(own) for (total, _), own in zip(by_domain, before)]
        count = [np.array(tokens) for _, tokens in by_domain]
        value, low, high, tokens = interval(rise, count, documents_)
        rows.append({"part": list(part), "how": how, "rise": value, "low": low, "high": high, "tokens": tokens})
    return rows


def verdict(rows, layer):
    """What SCAR of a layer does, by the surrogates that are free."""
    free = {row["how"] for row in rows if row["part"] == ["SCAR", layer] and row["high"] < FREE}
    if "zero" in free:
        return "does nothing"
    if "mean" in free:
        return "a constant"
    return "a linear map" if "self only" in free else "selects"


def told(rows, figures):
    """The rows, and what misses its bar."""
    fired = {}
    for row in rows:
        if row["part"][0] == "module":
            fired[row["part"][1]] = fired.get(row["part"][1], 0) + row["tokens"]
    print("| part | replaced by | rise of loss | 95 % | tokens |\n|---|---|---|---|---|")
    missed, rare = [], []
    for row in rows:
        kind, layer, *module = row["part"]
        name = f"{kind} {', '.join(map(str, module))}{' of ' if module else ''}layer {layer}"
        print(f"| {name} | {row['how']} | {row['rise']:.4f} | {row['low']:.4f} to {row['high']:.4f} | {row['tokens']} |")
        bar = BARS.get("exchanged" if row["how"] == "exchanged" else kind if row["how"] == "mean" else "")
        if kind == "module" and row["tokens"] < LEAST_SHARE * fired[layer]:
            rare.append(name)
        elif bar and row["low"] < bar:
            missed.append(f"{name}, {row['how']}: {row['low']:.4f} at the lower end, {bar} asked")
    for layer, scar in figures["scar"].items():
        print(f"SCAR of layer {layer}: {scar}")
    print("Below their bars:", *(missed or ["none"]), sep="\n  ")
    print("Too rare to be judged:", *(rare or ["none"]), sep="\n  ")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, default=Path(__file__).resolve().parents[1] / "models" / "gem-lm")
    parser.add_argument("--text", type=Path, help="a folder with a file of each domain, instead of the checkpoint's evaluation text")
    parser.add_argument("--windows", type=int, default=64, help="of each domain, spread over its documents")
    parser.add_argument("--workers", type=int, default=2, help="processes, each with one thread")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    global MODEL, WINDOWS
    MODEL, tokenizer = load(args.model), Tokenizer.from_file(str(args.model / "tokenizer.json"))
    WINDOWS = spread(args.text or args.model / "evaluation", tokenizer, args.windows)
    context = torch.multiprocessing.get_context("fork")
    with context.Pool(args.workers, prepare_worker) as pool:
        sums = pool.map(means_of, range(len(DOMAINS)), chunksize=1)
    for other in sums[1:]:
        sums[0].merge(other)
    MEANS.update({key: (value / max(sums[0].count[key], 1)).float() for key, value in sums[0].sum.items()})
    with context.Pool(args.workers, prepare_worker) as pool:  # forked anew: these know the means
        rows = measure(pool)
    torch.set_grad_enabled(False)
    dense = densities(mixed_windows(8 * args.windows))
    figures = {"parts": rows, "scar": {layer: {
        "verdict": verdict(rows, layer), "rms of x": float(MEANS["square of x", layer].sqrt()), "rms of s": float(MEANS["square of s", layer].sqrt()),
        "constant share of s": float(MEANS["SCAR", layer].square().mean() / MEANS["square of s", layer].clamp(min=1e-12)),
        "density on mixed windows": dense[layer]} for layer in MODEL.config.scar_layers}}
    figures["missed"] = told(rows, figures)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
