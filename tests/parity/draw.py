"""Weights of a parity case: a counter-based generator that `tests/parity/draw.rs` repeats in Rust.

Value i of a tensor is a function of the seed, the tensor's path and i alone. transformers' own random models hide faults: their
norms are 1 and their biases 0. Here every tensor has values that move the logits.
"""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def path_hash(path: str) -> int:
    """FNV-1a of the path's bytes."""
    h = 0xCBF29CE484222325
    for byte in path.encode():
        h = ((h ^ byte) * 0x100000001B3) % 2**64
    return h


def uniform(seed: int, path: str, count: int) -> np.ndarray:
    """`count` values in [-1, 1), each a multiple of 2^-23: SplitMix64 of the counter (Steele, Lea and Flood, 2014)."""
    start = np.uint64(path_hash(path) ^ (seed * int(GOLDEN) % 2**64))
    with np.errstate(over="ignore"):
        z = start + GOLDEN * (np.arange(count, dtype=np.uint64) + np.uint64(1))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1.0


def kind(path: str, shape: tuple, norm_offset: float, tied: bool) -> tuple[float, float]:
    """Mean and half width of a tensor's values. An embedding that is the head, too, is drawn as a matrix: else its logits
    would be many times as large as those of other models."""
    if "norm" in path.lower() and path.endswith("weight") and len(shape) == 1:
        return 1.0 - norm_offset, 0.5
    if len(shape) == 1 or path.endswith("bias"):
        return 0.0, 0.3 * 3**0.5
    if "embed" in path and not tied:
        return 0.0, 3**0.5
    return 0.0, 1.5 * 3**0.5 / shape[-1] ** 0.5


def tensor(seed: int, path: str, shape: tuple, norm_offset: float, tied: bool) -> np.ndarray:
    mean, width = kind(path, shape, norm_offset, tied)
    values = mean + width * uniform(seed, path, int(np.prod(shape)))
    return values.astype(np.float32).reshape(shape)
