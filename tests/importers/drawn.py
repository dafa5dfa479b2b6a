"""Configurations that nobody chose: tests/parity's, with keys and sizes drawn at random, against transformers 5.24 in f32.

    python tests/importers/drawn.py [--count 50] [FAMILY ...]

Each is a checkpoint as `save_pretrained` writes it, read by `gemc logits`. Needs torch and transformers from PyPI; GEMC names the
command, else `target/ci/gemc`. Writes the section `drawn` of docs/results/importers.md.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from page import table, write
from smollm2 import logits

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

import make  # noqa: E402
from draw import uniform  # noqa: E402
from families import FAMILIES, KEYS  # noqa: E402

# Of the largest logit, or of 1.
BAR = 2e-4


def draw(family, chance):
    """A configuration with some of its keys at their other values, and sizes of its own."""
    values = dict(chance.choice(FAMILIES[family]))
    for key, value in KEYS[family].items():
        if chance.random() < 0.4:
            values = make.other(values, key, value) or values
    sizes = {"intermediate_size": [40, 72, 120], "hidden_dim": [40, 72, 120], "vocab_size": [50, 91, 130]}
    for key, choices in sizes.items():
        if key in values and chance.random() < 0.5:
            values[key] = chance.choice(choices)
    if values.get("head"):
        # A prompt that is not pooled has no place in `gemc logits`.
        values["head"] = " ".join(word for word in values["head"].split() if not word.startswith("prompt"))
    heads = values.get("num_attention_heads")
    if "num_key_value_heads" in values and chance.random() < 0.5:
        values["num_key_value_heads"] = chance.choice([n for n in range(1, heads + 1) if heads % n == 0])
    return values


def compare(family, values, seed):
    """(largest difference over the larger of 1 and the largest logit, None), or (None, why gemc refuses it)."""
    offset = 1.0 if family.startswith("gemma") else 0.0
    head = values.get("head")
    model = make.model_of(make.configured(family, values), head)
    hidden = values.get("hidden_size", values.get("dim"))
    drawn = make.weights(model, seed, offset)
    dense = make.dense_weights(head, hidden, seed)
    make.load(model, drawn)
    lengths = make.lengths(head)
    ids = ((uniform(seed, "ids", sum(lengths)) + 1) / 2 * values["vocab_size"]).astype(np.int32)
    ids[ids == values.get("pad_token_id", -1)] += 1
    if head == "classify pair":
        second = np.concatenate([np.arange(length) >= (length + 1) // 2 for length in lengths])
        ids += np.where(second, values["vocab_size"], 0).astype(np.int32)
    expected = make.outputs(model, head, ids, drawn | dense)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        folder = Path(folder)
        for name, text in make.files(head, hidden).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        for path in {name.rsplit(".linear.", 1)[0] for name in dense}:
            own = {name.removeprefix(f"{path}."): value for name, value in dense.items() if name.startswith(f"{path}.")}
            save_file(own, folder / path / "model.safetensors")
        rows, start = [], 0
        for length in lengths:
            try:
                rows.append(logits(folder, ids[start : start + length]))
            except SystemExit as refused:
                return None, str(refused)
            start += length
    found = np.concatenate(rows)
    if found.shape != expected.shape:
        raise SystemExit(f"gemc gives {found.shape}, transformers {expected.shape}")
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max())), None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("families", nargs="*")
    arguments = parser.parse_args()
    rows, wrong = [], []
    for family in arguments.families or FAMILIES:
        chance = random.Random(f"drawn {family}")
        largest, done, refused, impossible, tries = 0.0, 0, {}, 0, 0
        while done < arguments.count and tries < 4 * arguments.count:
            tries += 1
            values = draw(family, chance)
            try:
                by, why = compare(family, values, 5000 + tries)
            except Exception:  # noqa: BLE001 - transformers refuses the configuration, in many ways
                impossible += 1
                continue
            done += 1
            if why is not None:
                refused[why.split("\n")[0]] = refused.get(why.split("\n")[0], 0) + 1
                continue
            largest = max(largest, by)
            if by > BAR:
                wrong.append(f"{family}: {by:.1e} of {json.dumps(values)}")
                print(wrong[-1], file=sys.stderr, flush=True)
        rows.append([f"`{family}`", done - sum(refused.values()), f"{largest:.1e}", sum(refused.values()), impossible])
        print(*rows[-1], sep=" | ", flush=True)
        for why, count in refused.items():
            print(f"  {count} x {why}", flush=True)
    if not arguments.families:
        write("drawn", f"""
Drawn configurations of each family, {arguments.count} that transformers builds: keys of tests/parity/families.py at their other values (each with
a chance of 0.4), sizes and key heads. Largest difference of gemc's f32 logits from transformers', over the largest logit or 1; the bar is
{BAR:.0e}. {len(wrong)} are above it.

{table(["family", "compared", "largest difference", "refused by gemc, with a reason", "not built by transformers"], rows)}
""")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
