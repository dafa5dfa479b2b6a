"""A saved gem-lm checkpoint (+ the training tokens) -> every figure of docs/results/gem-lm.md.

Perplexity per domain beside a Kneser-Ney trigram, a unigram and bits per byte; what it costs to switch
modules off or to swap them; what the choices of each layer have to do with the domain and with the next
layer's; how many tokens fire and how loads spread; how dense SCAR's masks are. All on the saved weights,
in f32, at the shipped threshold, on the checkpoint's own evaluation/ files.

    python examples/train/eval_lm.py [--model DIR] [--run DIR with the training log and state] [--out figures.json]
"""

import argparse
import json
import math
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from gem import load
from ngram import KneserNey, unigram_nll
from train_lm import CACHE, DOMAINS, Data

WINDOW = 256
PROTOCOL = (
    "Each line of evaluation/<domain>.jsonl is one document. Its text is encoded with tokenizer.json, no special "
    "tokens added, and cut into consecutive windows of 256 tokens that do not overlap; the last may be shorter. Each "
    "window starts fresh at position 0. Predicted are tokens 1.. of each window (a window of one token adds nothing). "
    "Perplexity of a domain = exp(total negative log likelihood in nats / predicted tokens); weights as stored, "
    "computed in f32.")


def documents(path):
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def windows_of(tokenizer, texts):
    """Arrays of at most WINDOW ids, each from one document."""
    ids = [np.asarray(e.ids) for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return [d[i:i + WINDOW] for d in ids for i in range(0, len(d), WINDOW)]


def batches(windows, size=8):
    """(ids [B, T], real [B, T]): windows padded on the right; causality keeps padding out of everything read."""
    for i in range(0, len(windows), size):
        part = windows[i:i + size]
        ids = torch.zeros(len(part), max(map(len, part)), dtype=torch.long)
        real = torch.zeros_like(ids, dtype=torch.bool)
        for row, w in enumerate(part):
            ids[row, :len(w)] = torch.from_numpy(w)
            real[row, :len(w)] = True
        yield ids, real


def batch_nll(model, ids, real, module_map=None):
    """(total nats, predicted tokens, output)"""
    out = model(ids, module_map=module_map)
    nll = F.cross_entropy(out.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    target = real[:, 1:].flatten()
    return nll[target].double().sum().item(), int(target.sum()), out


def model_nll(model, windows, module_map=None):
    done = [batch_nll(model, ids, real, module_map)[:2] for ids, real in batches(windows)]
    return sum(t for t, _ in done), sum(c for _, c in done)


def mutual_information(a, b):
    """Of two label arrays, over the mean of their entropies (as scikit-learn's normalized_mutual_info_score)."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1)
    joint /= joint.sum()
    pa, pb = joint.sum(1), joint.sum(0)
    entropy = lambda p: -(p[p > 0] * np.log(p[p > 0])).sum()
    mean = (entropy(pa) + entropy(pb)) / 2
    return float((entropy(pa) + entropy(pb) - entropy(joint.ravel())) / mean) if mean > 0 else 0.0


def mask_density(routing, causal_pairs, key):
    """Visible share of the pairs j <= i of each row."""
    same = key[:, :, None] == key[:, None, :]
    if routing.cluster is not None:
        same |= routing.cluster[:, :, None] == routing.cluster[:, None, :]
    return (same & causal_pairs).sum((1, 2)) / causal_pairs.sum()


class Routes:
    """Collects what the routers of all layers did on real tokens."""

    def __init__(self, layers, scar_layers):
        self.scar = scar_layers
        self.domain, self.choice = [], {l: [] for l in layers}  # choice: the firing module, or 8 for none
        self.first = {l: [] for l in layers}  # argmax p, firing or not
        self.clusters = {l: [] for l in scar_layers}
        self.density = {l: {"cluster_or_domain": [], "cluster_or_flag": []} for l in scar_layers}

    def add(self, routing, real, domain):
        self.domain.append(np.full(int(real.sum()), domain))
        pairs = torch.ones(real.shape[1], real.shape[1], dtype=torch.bool).tril()
        full = real.all(1) & (real.shape[1] == WINDOW)
        for l, r in routing.items():
            self.choice[l].append(r.domain[real].numpy())
            self.first[l].append(r.p.argmax(-1)[real].numpy())
            if l in self.scar:
                self.clusters[l].append(r.cluster[real].numpy())
                for name, key in (("cluster_or_domain", r.domain), ("cluster_or_flag", r.flag)):
                    self.density[l][name] += mask_density(r, pairs, key)[full].tolist()

    def merge(self, other):
        self.domain += other.domain
        for mine, theirs in ((self.choice, other.choice), (self.first, other.first), (self.clusters, other.clusters)):
            for l in mine:
                mine[l] += theirs[l]
        for l in self.density:
            for name in self.density[l]:
                self.density[l][name] += other.density[l][name]

    def figures(self):
        domain, out = np.concatenate(self.domain), {}
        choice = {l: np.concatenate(c) for l, c in self.choice.items()}
        first = {l: np.concatenate(c) for l, c in self.first.items()}
        for l in choice:
            fired = choice[l] < len(DOMAINS)
            load = np.bincount(choice[l][fired], minlength=len(DOMAINS)) / max(1, fired.sum())
            out[l] = {"fired": float(fired.mean()), "load": load.tolist(),
                      "fired_by_domain": [float(fired[domain == m].mean()) for m in range(len(DOMAINS))],
                      "nmi_domain": mutual_information(domain, choice[l]),
                      "nmi_domain_first": mutual_information(domain, first[l]),
                      "hit": float((first[l] == domain).mean())}
            if l + 1 in choice:
                out[l]["nmi_next"] = mutual_information(choice[l], choice[l + 1])
            if l in self.scar:
                used = np.concatenate(self.clusters[l])
                out[l]["clusters_used"] = len(np.unique(used)) / 64
                out[l]["density"] = {k: float(np.mean(v)) for k, v in self.density[l].items()}
        return out


MODEL = None  # set before the workers are forked, so that they share it


def prepare_worker():
    os.setsid()  # see train_lm.py: a session and one thread each, because operations wait for their slowest thread
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def perplexity_of(task):
    """(total nats, predicted tokens, routes) of one domain's windows."""
    m, windows = task
    routes, nats, count = Routes(MODEL.config.routed_layers, MODEL.config.scar_layers), 0.0, 0
    for ids, real in batches(windows):
        n, c, out = batch_nll(MODEL, ids, real)
        nats, count = nats + n, count + c
        routes.add(out.routing, real, m)
    return nats, count, routes


def perplexities(pool, windows):
    """{domain: (nats, tokens)} and the figures of the routes taken."""
    done = pool.map(perplexity_of, [(m, windows[d]) for m, d in enumerate(DOMAINS)], chunksize=1)
    for _, _, routes in done[1:]:
        done[0][2].merge(routes)
    return {d: (n, c) for d, (n, c, _) in zip(DOMAINS, done)}, done[0][2].figures()


def nats_of(task):
    windows, change = task
    nats, tokens = model_nll(MODEL, windows, change)
    return nats / tokens


def ablations(pool, windows):
    """Nats per token that each change costs, per domain."""
    count = len(DOMAINS)
    changes = {"none": None, "all off": [None] * count, "neighbour": [(m + 1) % count for m in range(count)]}
    for m, domain in enumerate(DOMAINS):
        changes[f"{domain} off"] = {l: [None if i == m else i for i in range(count)] for l in MODEL.config.routed_layers}
    nats = pool.map(nats_of, [(windows[d], change) for change in changes.values() for d in DOMAINS], chunksize=1)
    rows = np.reshape(nats, (-1, count))
    return {name: (row - rows[0]).tolist() for name, row in zip(list(changes)[1:], rows[1:])}


def drawn_windows(corpus, state):
    """The windows that training drew, in its order, again."""
    data = Data.of(corpus, state["seed"])
    drawn = []
    for step in range(int(state["clock"][0])):
        drawn += list(data.batch(step, state["rows"])[0].numpy())
    return drawn


def baselines(corpus, windows, drawn, vocabulary):
    """Nats per token by domain of the trigram over the drawn tokens, over the whole corpus, and of the unigram."""
    corpora = {"trigram": drawn, "trigram, whole corpus": [np.load(corpus / "train" / f"{d}.npy") for d in DOMAINS]}
    nats = {}
    for name, streams in corpora.items():
        trigram = KneserNey(streams, vocabulary)
        nats[name] = {d: sum(trigram.nll(w) for w in ws) / sum(len(w) - 1 for w in ws) for d, ws in windows.items()}
    nats["unigram"] = {d: unigram_nll(drawn, ws, vocabulary) / sum(len(w) - 1 for w in ws) for d, ws in windows.items()}
    return nats


def write_reference(path, totals):
    """reference_ppl.json: what any other implementation of the checkpoint should find."""
    six = lambda x: float(f"{x:.6g}")
    nats = [n / c for n, c in totals.values()]
    path.write_text(json.dumps({
        "protocol": PROTOCOL,
        "domains": {d: {"perplexity": six(math.exp(n / c)), "nll_nats": float(f"{n:.9g}"), "predicted_tokens": c}
                    for d, (n, c) in totals.items()},
        "geometric_mean_perplexity": six(math.exp(sum(nats) / len(nats)))}, indent=2) + "\n")


def check(name, holds, figure):
    print(f"{'holds' if holds else 'FAILS':<6}{name}: {figure}")
    return {"bar": name, "holds": bool(holds), "figure": figure}


def bars(figures):
    """The bars of the project, each with its figure."""
    ppl, layers, costs = figures["perplexity"], figures["layers"], figures.get("ablations")
    mean = lambda name: math.exp(np.mean([math.log(v[name]) for v in ppl.values()]))
    out = []
    if "trigram" in next(iter(ppl.values())):
        for name in ("trigram", "trigram, whole corpus"):
            ratio = mean("model") / mean(name)
            out.append(check(f"perplexity <= 1.0 x {name} (aim 0.8)", ratio <= 1.0,
                             f"{mean('model'):.2f} / {mean(name):.2f} = {ratio:.3f}"))
    if not layers:
        return out  # nothing is routed
    if costs:
        for name, bar in (("all off", 0.2), ("neighbour", 0.3)):
            out.append(check(f"{name} costs >= {bar} nats", np.mean(costs[name]) >= bar, f"{np.mean(costs[name]):.3f}"))
        ratios = []
        for m, d in enumerate(DOMAINS):
            others = np.mean([c for i, c in enumerate(costs[f"{d} off"]) if i != m])
            ratios.append(costs[f"{d} off"][m] / max(others, 1e-4))  # others may even gain: clamped, and told so
        out.append(check("module m off costs its own domain >= 2 x the others' mean, >= 5 of 8",
                         sum(r >= 2 for r in ratios) >= 5, f"{sum(r >= 2 for r in ratios)} of 8 ("
                         + ", ".join(f"{r:.1f}" if r <= 400 else "> 400" for r in ratios) + ")"))
    nmi = [layers[l]["nmi_domain"] for l in figures["supervised"]]
    out.append(check("NMI of domain and choice >= 0.4 in layers that name domains", min(nmi) >= 0.4, " ".join(f"{n:.2f}" for n in nmi)))
    fired = [v["fired"] for v in layers.values()]
    out.append(check("15-95 % of tokens fire in every layer", all(0.15 <= f <= 0.95 for f in fired),
                     " ".join(f"{100 * f:.1f}" for f in fired)))
    low = sum(min(v["load"]) < 0.005 for v in layers.values())
    out.append(check("modules below 0.5 % of fired tokens in at most two layers", low <= 2, f"{low} layers"))
    used = [v["clusters_used"] for v in layers.values() if "clusters_used" in v]
    if used:
        out.append(check(">= 90 % of clusters occupied", min(used) >= 0.9, " ".join(f"{100 * u:.1f}" for u in used)))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, default=Path(__file__).resolve().parents[1] / "models" / "gem-lm")
    parser.add_argument("--corpus", type=Path, default=CACHE / "corpus")
    parser.add_argument("--state", type=Path, default=CACHE / "gem-lm" / "last.pt", help="which tokens were drawn")
    parser.add_argument("--windows", type=int, help="windows of each domain, evenly spread; all if left out")
    parser.add_argument("--ablation-windows", type=int, default=24, help="the same for ablations; 0: none")
    parser.add_argument("--supervised", type=lambda text: [int(layer) for layer in text.split(",")], default=[1, 3, 5],
                        help="layers whose routers learnt to name domains")
    parser.add_argument("--workers", type=int, default=2, help="processes, each with one thread")
    parser.add_argument("--write-reference", action="store_true", help="write the model's reference_ppl.json")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    global MODEL
    MODEL, tokenizer = load(args.model), Tokenizer.from_file(str(args.model / "tokenizer.json"))
    texts = {d: documents(args.model / "evaluation" / f"{d}.jsonl") for d in DOMAINS}
    windows = {d: windows_of(tokenizer, texts[d]) for d in DOMAINS}
    bytes_per_token = {d: sum(len(t.encode()) for t in texts[d]) / sum(map(len, windows[d])) for d in DOMAINS}
    spread = lambda ws, n: [ws[i * len(ws) // n] for i in range(min(n, len(ws)))] if n else ws
    whole = {d: [w for w in ws if len(w) == WINDOW] for d, ws in windows.items()}
    windows = {d: spread([w for w in ws if len(w) > 1], args.windows) for d, ws in windows.items()}
    pool = torch.multiprocessing.get_context("fork").Pool(args.workers, prepare_worker)
    totals, layers = perplexities(pool, windows)
    if args.write_reference and not args.windows:
        write_reference(args.model / "reference_ppl.json", totals)
    nats = {"model": {d: n / c for d, (n, c) in totals.items()}}
    state = torch.load(args.state, weights_only=True, mmap=True) if args.state.exists() else None
    if state is not None:
        drawn = drawn_windows(args.corpus, state)
        nats |= baselines(args.corpus, windows, drawn, MODEL.config.vocab_size)
    figures = {"perplexity": {d: {k: math.exp(v[d]) for k, v in nats.items()} for d in DOMAINS}, "layers": layers,
               "supervised": [l for l in args.supervised if l in layers]}
    for d in DOMAINS:
        figures["perplexity"][d]["bits_per_byte"] = nats["model"][d] / math.log(2) / bytes_per_token[d]
        figures["perplexity"][d]["tokens"] = totals[d][1]
    print(json.dumps(figures, indent=1))
    if args.ablation_windows:
        part = {d: spread(ws, args.ablation_windows) for d, ws in whole.items()}
        figures["ablations"] = ablations(pool, part)
    figures["bars"] = bars(figures)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
