"""Goldens of every family: `python tests/parity/make.py [FAMILY ...]`, with torch and transformers 5.24.0 from PyPI.

For each configuration of `families.py` it draws weights (`draw.py`), runs transformers in f32 with eager attention and writes
`goldens/FAMILY-N.safetensors`: token ids, logits of every position, and as metadata the config and the tensors.

Every feature must bear load: each 1-D tensor is put to what it would be if it were ignored (1 for norms, 0 for others), each
key of `KEYS` to another value, and the logits must move by 0.02 in some configuration. `movement.json` says by how much.
"""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from draw import tensor, uniform
from families import FAMILIES, KEYS

LENGTH = 48
LEAST = 0.02
HERE = Path(__file__).parent


def configured(family, values):
    config = AutoConfig.for_model(family, **copy.deepcopy(values))
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    return config


def model_of(config):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def weights(model, seed, norm_offset):
    drawn = {}
    for name, parameter in model.named_parameters():
        tied = bool(model.config.tie_word_embeddings)
        drawn[name] = tensor(seed, name, tuple(parameter.shape), norm_offset, tied)
    return drawn


def load(model, drawn):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(drawn[name]))


def logits(model, ids):
    with torch.no_grad():
        return model(torch.from_numpy(ids[None].astype(np.int64)), use_cache=False).logits[0].float().numpy()


def other(values, key, value):
    """The configuration with another value for a key; `None` when it has no such key."""
    values = copy.deepcopy(values)
    *path, last = key.split(".")
    inner = values
    for step in path:
        inner = inner.get(step)
        if not isinstance(inner, dict):
            return None
    if last not in inner or inner[last] == value:
        return None
    if value is None and last == "layer_types":
        del inner[last]
    else:
        inner[last] = value
    return values


def moved(a, b):
    return float(np.abs(a - b).max()) if np.isfinite(b).all() else float("inf")


def movements(family, values, seed, drawn, ids, base, norm_offset):
    """How far logits move when a 1-D tensor or a key is ignored."""
    found = {}
    model = model_of(configured(family, values))
    for name, value in drawn.items():
        if value.ndim != 1:
            continue
        neutral = np.full_like(value, 1.0 - norm_offset if "norm" in name and name.endswith("weight") else 0.0)
        load(model, drawn | {name: neutral})
        feature = ".".join(part for part in name.split(".") if not part.isdigit())
        found[feature] = max(found.get(feature, 0.0), moved(base, logits(model, ids)))
    for key, value in KEYS[family].items():
        changed = other(values, key, value)
        if changed is None:
            continue
        try:
            model = model_of(configured(family, changed))
            load(model, weights(model, seed, norm_offset))
            found[key] = moved(base, logits(model, ids))
        except (ValueError, KeyError):
            # transformers refuses this configuration.
            continue
    return found


def golden(family, index, values):
    seed = 1000 + index
    norm_offset = 1.0 if family.startswith("gemma") else 0.0
    model = model_of(configured(family, values))
    drawn = weights(model, seed, norm_offset)
    load(model, drawn)
    ids = ((uniform(seed, "ids", LENGTH) + 1) / 2 * values["vocab_size"]).astype(np.int32)
    base = logits(model, ids)
    # What is stored, as `save_pretrained` would name it.
    tensors = [[name, list(value.shape)] for name, value in drawn.items()]
    saved = json.loads(configured(family, values).to_json_string())
    saved["architectures"] = [type(model).__name__]
    metadata = {
        "config": json.dumps(saved),
        "seed": str(seed),
        "norm_offset": str(norm_offset),
        "tied": str(int(model.config.tie_word_embeddings)),
        "tensors": json.dumps(tensors),
        "transformers": transformers.__version__,
    }
    path = HERE / "goldens" / f"{family}-{index}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({"ids": ids, "logits": base.astype(np.float32)}, path, metadata)
    print(f"{path.name}: {path.stat().st_size} bytes, logits up to {np.abs(base).max():.3g}")
    return movements(family, values, seed, drawn, ids, base, norm_offset)


def main(families):
    table = HERE / "movement.json"
    moves = json.loads(table.read_text()) if table.exists() else {}
    idle = []
    for family in families:
        most = {}
        for index, values in enumerate(FAMILIES[family]):
            for feature, by in golden(family, index, values).items():
                most[feature] = max(most.get(feature, 0.0), by)
        moves[family] = {feature: round(by, 4) for feature, by in sorted(most.items())}
        idle += [f"{family}: {feature} moves logits by {by:.2g}" for feature, by in most.items() if by < LEAST]
        idle += [f"{family}: no configuration has {key}" for key in KEYS[family] if key not in most]
    table.write_text(json.dumps(moves, indent=1, sort_keys=True) + "\n")
    if idle:
        sys.exit("\n".join(idle))


if __name__ == "__main__":
    main(sys.argv[1:] or list(FAMILIES))
