"""Several checkpoints with one tokenizer, and text -> their perplexities on the same tokens, and ratios with intervals.

    python examples/train/compare_lm.py --text DIR NAME=CHECKPOINT NAME=CHECKPOINT ... [--windows 64] [--out figures.json]

The first is what the others are compared with. Windows are spread over all documents of each domain; a ratio is of the geometric means over the
domains other than law (licences, which repeat one another; it is in the table). Its interval is of 95 %, by drawing documents anew
within each domain, the same for both models.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from eval_lm import batches, prepare_worker
from gem import load
from live_lm import RESAMPLES, spread
from train_lm import DOMAINS

APART = "law"
LARGEST = 400  # a ratio above it says that one of the models knows nothing, and no more

MODELS, WINDOWS = {}, None  # set before the workers are forked, so that they share them


@torch.no_grad()
def nats_of(task):
    """(nats, predicted tokens) of every window of a domain."""
    name, m = task
    nats, tokens = [], []
    for ids, real in batches([w for _, w in WINDOWS[m]]):
        logits = MODELS[name](ids).logits
        nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        predicted = real[:, 1:]
        nats += (nll * predicted).double().sum(1).tolist()
        tokens += predicted.sum(1).tolist()
    return np.array(nats), np.array(tokens, dtype=float)


def by_document(values, documents):
    """[documents, columns]: sums over each document's windows."""
    names = sorted(set(documents))
    place = {d: i for i, d in enumerate(names)}
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, [place[d] for d in documents], values)
    return sums


def drawn(sums, random):
    """[RESAMPLES, columns]: sums over documents drawn anew."""
    picks = random.integers(0, len(sums), (RESAMPLES, len(sums)))
    return np.stack([np.bincount(np.arange(RESAMPLES).repeat(len(sums)), sums[picks, c].ravel()) for c in range(sums.shape[1])], 1)


def compared(found, first, other):
    """Ratio of geometric means, other over first, and the ends of its interval."""
    random = np.random.default_rng(0)
    differences, resampled = [], []
    for m, domain in enumerate(DOMAINS):
        if domain == APART:
            continue
        (a, tokens), (b, _) = found[first, m], found[other, m]
        sums = by_document(np.stack([a, b, tokens], 1), [d for d, _ in WINDOWS[m]])
        total = sums.sum(0)
        differences.append((total[1] - total[0]) / total[2])
        draws = drawn(sums, random)
        resampled.append((draws[:, 1] - draws[:, 0]) / draws[:, 2])
    ends = np.quantile(np.mean(resampled, 0), [0.025, 0.975])
    return [float(np.exp(x)) for x in (np.mean(differences), *ends)]


def shown(ratio):
    return f"> {LARGEST}" if ratio > LARGEST else f"{ratio:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+", metavar="NAME=CHECKPOINT")
    parser.add_argument("--text", type=Path, required=True, help="a folder with a file of each domain")
    parser.add_argument("--windows", type=int, default=64, help="of each domain")
    parser.add_argument("--workers", type=int, default=2, help="processes, each with one thread")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    wrong = [model for model in args.models if "=" not in model]
    if wrong:
        parser.error(f"{wrong[0]}: allowed is NAME=CHECKPOINT")
    folders = dict(model.split("=", 1) for model in args.models)
    texts = {(Path(folder) / "tokenizer.json").read_bytes() for folder in folders.values()}
    if len(texts) > 1:
        raise SystemExit("the checkpoints have different tokenizers: their perplexities a token do not compare")
    global WINDOWS
    MODELS.update({name: load(Path(folder)) for name, folder in folders.items()})
    WINDOWS = spread(args.text, Tokenizer.from_str(texts.pop().decode()), args.windows)
    tasks = [(name, m) for name in MODELS for m in range(len(DOMAINS))]
    with torch.multiprocessing.get_context("fork").Pool(args.workers, prepare_worker) as pool:
        found = dict(zip(tasks, pool.map(nats_of, tasks, chunksize=1)))
    perplexity = lambda name, m: float(np.exp(found[name, m][0].sum() / found[name, m][1].sum()))
    first, *others = MODELS
    ratios = {name: compared(found, first, name) for name in others}
    print(f"| domain | documents | tokens | {' | '.join(MODELS)} |\n|{'---|' * (3 + len(MODELS))}")
    for m, domain in enumerate(DOMAINS):
        documents = len({d for d, _ in WINDOWS[m]})
        cells = [f"{perplexity(name, m):.2f}" for name in MODELS]
        print(f"| {domain} | {documents} | {int(found[first, m][1].sum())} | {' | '.join(cells)} |")
    print(f"\n| model | perplexity over that of {first}, without {APART} | 95 % |\n|---|---|---|")
    for name, (ratio, low, high) in ratios.items():
        print(f"| {name} | {shown(ratio)} | {shown(low)} to {shown(high)} |")
    if args.out:
        table = {name: {d: perplexity(name, m) for m, d in enumerate(DOMAINS)} for name in MODELS}
        args.out.write_text(json.dumps({"perplexity": table, "ratios": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
