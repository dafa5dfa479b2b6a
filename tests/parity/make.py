"""Goldens of every family: `python tests/parity/make.py [FAMILY ...]`, with torch and transformers 5.24.0 from PyPI.

For each configuration of `families.py` it draws weights (`draw.py`), runs transformers in f32 with eager attention and writes
`goldens/FAMILY-N.safetensors`: token ids, logits of every position, and as metadata the config and the tensors.

Every feature must bear load: each 1-D tensor is put to what it would be if it were ignored (1 for norms, 0 for others), each
key of `KEYS` to another value, and the logits must move by 0.02 in some configuration. `movement.json` says by how much.
"""

import copy
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from draw import tensor, uniform
from families import EXEMPT, FAMILIES, KEYS

LENGTH = 48
# Heads of models that sentence-transformers has no files for.
LABELS = (None, "classify", "classify pair", "tokens")
LEAST = 0.02
HERE = Path(__file__).parent


def configured(family, values):
    values = {key: value for key, value in copy.deepcopy(values).items() if key != "head"}
    config = AutoConfig.for_model(family, **values)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    return config


def model_of(config, head):
    of = {
        None: AutoModelForCausalLM,
        "classify": AutoModelForSequenceClassification,
        "classify pair": AutoModelForSequenceClassification,
        "tokens": AutoModelForTokenClassification,
    }.get(head, AutoModel)
    return of.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()


def lengths(head):
    """Tokens of the texts: decoders give a row for every token, others one for a text."""
    return [LENGTH] if head is None else [LENGTH, 1, 7]


def is_tied(model):
    """Whether the embedding is the head, too."""
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def stored(model):
    """Everything that a checkpoint holds: parameters, and buffers that no config can tell."""
    yield from model.named_parameters()
    for name, buffer in model.named_buffers():
        if name.endswith("expert_bias"):
            yield name, buffer


def weights(model, seed, norm_offset):
    drawn = {}
    for name, parameter in stored(model):
        tied = is_tied(model)
        drawn[name] = tensor(seed, name, tuple(parameter.shape), norm_offset, tied)
    return drawn


def load(model, drawn):
    with torch.no_grad():
        for name, parameter in stored(model):
            parameter.copy_(torch.from_numpy(drawn[name]))


def outputs(model, head, ids, drawn):
    """What a model gives for the texts, a row each; of a decoder, a row for each token."""
    rows, start = [], 0
    for length in lengths(head):
        text = torch.from_numpy(ids[start : start + length][None].astype(np.int64))
        start += length
        with torch.no_grad():
            if head is None:
                rows.append(model(text, use_cache=False).logits[0])
            elif head == "classify":
                rows.append(model(text).logits)
            elif head == "classify pair":
                # Tokens of the second text have ids behind the vocabulary.
                vocab = model.config.vocab_size
                rows.append(model(text % vocab, token_type_ids=text // vocab).logits)
            elif head == "tokens":
                rows.append(model(text).logits[0])
            else:
                rows.append(vector(Steps(head), model(text).last_hidden_state[0], drawn)[None])
    return torch.cat(rows).float().numpy()


class Steps:
    """What stands behind an encoder, from words: ways of pooling with `+` between, `promptN` (N rows of a prompt that are not
    pooled), `denseN` or `denseNtanh` (a map to N columns; the second with a bias), `normalize`."""

    def __init__(self, head):
        pooling, *words = head.split()
        self.pooling = pooling.split("+")
        self.first = next((int(word[6:]) for word in words if word.startswith("prompt")), 0)
        self.dense = [word[5:] for word in words if word.startswith("dense")]
        self.normalize = "normalize" in words

    def maps(self, hidden):
        """Folder, columns, rows and whether there are bias and tanh, for each map."""
        width = hidden * len(self.pooling)
        for number, word in enumerate(self.dense):
            rows = int(word.removesuffix("tanh"))
            yield f"{number + 2}_Dense", width, rows, word.endswith("tanh")
            width = rows


def vector(steps, states, drawn):
    first = min(steps.first, len(states) - 1)
    places = torch.arange(1, len(states) + 1, dtype=torch.float32)[first:, None]
    states = states[first:]
    ways = {
        "cls": lambda: states[0],
        "max": lambda: states.max(0).values,
        "mean": lambda: states.mean(0),
        "mean_sqrt_len_tokens": lambda: states.sum(0) / len(states) ** 0.5,
        "weightedmean": lambda: (states * places).sum(0) / places.sum(),
        "lasttoken": lambda: states[-1],
    }
    row = torch.cat([ways[way]() for way in steps.pooling])
    for folder, _, _, tanh in steps.maps(states.shape[1]):
        row = torch.from_numpy(drawn[f"{folder}.linear.weight"]) @ row
        if tanh:
            row = torch.tanh(row + torch.from_numpy(drawn[f"{folder}.linear.bias"]))
    return torch.nn.functional.normalize(row, dim=0) if steps.normalize else row


def dense_weights(head, hidden, seed):
    """Weights of the maps behind the pooling."""
    drawn = {}
    if head not in LABELS:
        for folder, columns, rows, bias in Steps(head).maps(hidden):
            shapes = {"weight": (rows, columns)} | ({"bias": (rows,)} if bias else {})
            for name, shape in shapes.items():
                path = f"{folder}.linear.{name}"
                drawn[path] = tensor(seed, path, shape, 0.0, False)
    return drawn


def files(head, hidden):
    """The files of sentence-transformers that say what follows an encoder; of its older generation where it normalises."""
    if head in LABELS:
        return {}
    steps = Steps(head)
    maps = list(steps.maps(hidden))
    kinds = ["Transformer", "Pooling", *["Dense" for _ in maps], *(["Normalize"] if steps.normalize else [])]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    flags = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "weightedmean": "weightedmean_tokens"}
    flag = lambda way: f"pooling_mode_{flags.get(way, way)}"
    older = {flag(way): True for way in steps.pooling} | {"word_embedding_dimension": hidden}
    newer = {"pooling_mode": steps.pooling if len(steps.pooling) > 1 else steps.pooling[0], "embedding_dimension": hidden}
    settings = (older if steps.normalize else newer) | {"include_prompt": steps.first == 0}
    written = {"modules.json": json.dumps(modules), "1_Pooling/config.json": json.dumps(settings)}
    for folder, columns, rows, tanh in maps:
        act = "torch.nn.modules." + ("activation.Tanh" if tanh else "linear.Identity")
        settings = {"in_features": columns, "out_features": rows, "bias": tanh, "activation_function": act}
        written[f"{folder}/config.json"] = json.dumps(settings)
    return written


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


def saved_layout(model, drawn):
    """The tensors that `save_pretrained` writes: path, shape, the drawn tensor that it is a part of, and where in that."""
    layout = [[path, list(value.shape), path, 0] for path, value in drawn.items() if "_Dense." in path]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(f"{folder}/model.safetensors", "np") as file:
            for path in file.keys():
                value = file.get_tensor(path)
                layout.append([path, list(value.shape), *found_in(drawn, value)])
    return layout


def found_in(drawn, value):
    flat = value.ravel()
    for source, whole in drawn.items():
        whole = whole.ravel()
        for start in range(0, whole.size - flat.size + 1, flat.size):
            if np.array_equal(whole[start : start + flat.size], flat):
                return source, start
    raise ValueError("a saved tensor is no part of a drawn one")


def movements(family, values, seed, drawn, ids, base, norm_offset):
    """How far logits move when a 1-D tensor or a key is ignored."""
    found = {}
    head = values.get("head")
    model = model_of(configured(family, values), head)
    for name, value in drawn.items():
        if value.ndim != 1 and not name.endswith("bias"):
            continue
        norm = "norm" in name.lower() and name.endswith("weight")
        neutral = drawn | {name: np.full_like(value, 1.0 - norm_offset if norm else 0.0)}
        load(model, neutral)
        feature = ".".join(part for part in name.split(".") if not part.isdigit())
        found[feature] = max(found.get(feature, 0.0), moved(base, outputs(model, head, ids, neutral)))
    if head == "classify pair":
        load(model, drawn)
        found["types of tokens"] = moved(base, outputs(model, head, ids % values["vocab_size"], drawn))
    for key, value in KEYS[family].items():
        changed = other(values, key, value)
        if changed is None:
            continue
        try:
            model = model_of(configured(family, changed), head)
            load(model, weights(model, seed, norm_offset))
            found[key] = moved(base, outputs(model, head, ids, drawn))
        except (ValueError, KeyError, RuntimeError, TypeError, StrictDataclassError):
            # transformers refuses this configuration.
            continue
    return found


def golden(family, index, values):
    seed = 1000 + index
    norm_offset = 1.0 if family.startswith("gemma") else 0.0
    head = values.get("head")
    model = model_of(configured(family, values), head)
    hidden = values.get("hidden_size", values.get("dim"))
    drawn = weights(model, seed, norm_offset) | dense_weights(head, hidden, seed)
    load(model, drawn)
    ids = ((uniform(seed, "ids", sum(lengths(head))) + 1) / 2 * values["vocab_size"]).astype(np.int32)
    # Texts have no padding; roberta counts positions without it.
    ids[ids == values.get("pad_token_id", -1)] += 1
    if head == "classify pair":
        second = np.concatenate([np.arange(length) >= (length + 1) // 2 for length in lengths(head)])
        ids += np.where(second, values["vocab_size"], 0).astype(np.int32)
    base = outputs(model, head, ids, drawn)
    # What is stored, as `save_pretrained` would name it.
    tensors = [[name, list(value.shape)] for name, value in drawn.items()]
    saved = saved_layout(model, drawn)
    config = json.loads(configured(family, values).to_json_string())
    config["architectures"] = [type(model).__name__]
    metadata = {
        "config": json.dumps(config),
        "saved": json.dumps(saved),
        "lengths": json.dumps(lengths(head)),
        "files": json.dumps(files(head, hidden)),
        "first": str(0 if head in LABELS else Steps(head).first),
        "seed": str(seed),
        "norm_offset": str(norm_offset),
        "tied": str(int(is_tied(model))),
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
        still = {feature: by for feature, by in most.items() if by < LEAST and not feature.endswith(tuple(EXEMPT))}
        idle += [f"{family}: {feature} moves logits by {by:.2g}" for feature, by in still.items()]
        idle += [f"{family}: no configuration has {key}" for key in KEYS[family] if key not in most]
    table.write_text(json.dumps(moves, indent=1, sort_keys=True) + "\n")
    if idle:
        sys.exit("\n".join(idle))


if __name__ == "__main__":
    main(sys.argv[1:] or list(FAMILIES))
