"""A model <-> a checkpoint directory (`config.json`, `model.safetensors` or shards with an index).

Saving the same weights twice writes the same bytes. Loading refuses a tensor that is missing, left over, of the
wrong shape or not finite, and names all of them at once.
"""

import json
import pathlib

import torch
from safetensors.torch import load_file, save_file

from .config import GemConfig
from .modeling import build

NAMES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
INDEX = "model.safetensors.index.json"


def save(model, directory, dtype=torch.bfloat16, dtype_of=None, spelling="old", max_shard_bytes=None):
    """Writes config and weights. `dtype_of(name)` overrides `dtype` per tensor; `max_shard_bytes` splits the file.
    Values are stored contiguous and rounded to nearest even; `config.torch_dtype` becomes `dtype`."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    model.config.torch_dtype = NAMES[dtype]
    model.config.save(directory, spelling)
    state = model.state_dict()
    tensors = {
        name: state[name].detach().cpu().to((dtype_of and dtype_of(name)) or dtype).contiguous().clone()
        for name in sorted(state)
    }
    for stale in directory.glob("model*.safetensors*"):
        stale.unlink()
    if max_shard_bytes is None:
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    else:
        _save_shards(tensors, directory, max_shard_bytes)


def _save_shards(tensors, directory, max_shard_bytes):
    """Fills shards in name order, as Hugging Face does: a shard is closed when the next tensor would not fit."""
    shards, size = [{}], 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > max_shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, directory / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def read_tensors(directory):
    """{name: tensor} of one file or of every shard that the index lists, in stored types."""
    directory = pathlib.Path(directory)
    if not (directory / INDEX).exists():
        return load_file(directory / "model.safetensors")
    files = sorted(set(json.loads((directory / INDEX).read_text())["weight_map"].values()))
    return {name: tensor for file in files for name, tensor in load_file(directory / file).items()}


def load(directory, dtype=torch.float32):
    """Reads a checkpoint into the class that its config names, in evaluation mode."""
    model = build(GemConfig.load(directory))
    tensors, want = read_tensors(directory), model.state_dict()
    errors = [f"missing tensor {name}" for name in want if name not in tensors]
    errors += [f"unexpected tensor {name}" for name in tensors if name not in want]
    for name in sorted(set(want) & set(tensors)):
        if want[name].shape != tensors[name].shape:
            errors.append(f"{name}: expected {tuple(want[name].shape)}, found {tuple(tensors[name].shape)}")
        elif not tensors[name].float().isfinite().all():
            errors.append(f"{name}: holds NaN or infinity")
    if errors:
        raise ValueError("\n".join(errors))
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return model.to(dtype).eval()
