"""MiniLM-L6 beside ONNX Runtime's int8: time of a text of 16 and of 128 tokens, on one thread and on two, alternating.

    python tests/importers/minilm_speed.py

The int8 model is exported here from the same weights (torch.onnx, then onnxruntime's dynamic quantisation, per channel). Writes the section
`minilm-speed` of docs/results/importers.md. Needs torch, transformers 5.24, onnx and onnxruntime from PyPI, and `gemc` built by
`cargo build --profile ci -p gemc` or named by the environment variable GEMC. Nothing else should run meanwhile.
"""

import json
import statistics
import sys
import time

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModel

import corpora
import page
from minilm import LONGEST, SHORTEST, WORK, checkpoint, compared, expected, gemc, tokenizer

LENGTHS, THREADS, FORMATS = (16, 128), (1, 2), ("8.25", "4.25")
ROUNDS = 7
# Texts that vectors of both are compared on.
TEXTS = 200
# Seconds that a measurement of ONNX Runtime runs.
LONG_ENOUGH = 1.0


class Vectors(torch.nn.Module):
    """Rows of the last layer."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, mask, types):
        return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state


def exported(folder):
    """Path of the int8 model."""
    whole, small = WORK / "model.onnx", WORK / "model-int8.onnx"
    if not small.exists():
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        one = torch.ones(1, 16, dtype=torch.long)
        names = ["ids", "mask", "types"]
        torch.onnx.export(Vectors(model), (one, one, one * 0), whole, input_names=names, output_names=["rows"], dynamo=False,
                          dynamic_axes={name: {0: "batch", 1: "length"} for name in [*names, "rows"]}, opset_version=17)
        quantize_dynamic(whole, small, per_channel=True, weight_type=QuantType.QInt8)
    return small


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feed(row):
    ids = np.array([row], dtype=np.int64)
    return {"ids": ids, "mask": np.ones_like(ids), "types": np.zeros_like(ids)}


def vectors(run, ids):
    rows = [run.run(None, feed(row))[0][0].mean(0) for row in ids]
    return np.array(rows, dtype=np.float64)


def milliseconds(run, length):
    """Of one run: the median of as many as take LONG_ENOUGH."""
    given, times, began = feed([2000 + i for i in range(length)]), [], time.monotonic()
    while time.monotonic() - began < LONG_ENOUGH or len(times) < 5:
        start = time.perf_counter()
        run.run(None, given)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def ours(folder, bits, length):
    """{threads: milliseconds} of the crate that rustc compiles."""
    said = json.loads(gemc("bench", folder, "--bits", bits, "--rounding", "plain", "-p", length, "--threads",
                           ",".join(map(str, THREADS)), "--json"))
    return {line["threads"]: 1e3 * length / line["prefill_tok_s"] for line in said}


def main():
    folder = checkpoint()
    path = exported(folder)
    words = tokenizer(folder)
    texts = corpora.texts(TEXTS, lambda text: len(words.encode(text).ids), SHORTEST, LONGEST)
    ids = [words.encode(text).ids for text in texts]
    cosine = compared(vectors(session(path, 2), ids), expected(folder, ids))
    sessions = {threads: session(path, threads) for threads in THREADS}
    found = {}
    for round_ in range(ROUNDS):
        print(f"round {round_ + 1} of {ROUNDS}", file=sys.stderr, flush=True)
        for length in LENGTHS:
            for threads in THREADS:
                found.setdefault(("onnx", length, threads), []).append(milliseconds(sessions[threads], length))
            for bits in FORMATS:
                for threads, ms in ours(folder, bits, length).items():
                    found.setdefault((bits, length, threads), []).append(ms)
    rows = []
    for length in LENGTHS:
        for threads in THREADS:
            theirs = found["onnx", length, threads]
            line = [length, threads, f"{statistics.median(theirs):.2f}"]
            for bits in FORMATS:
                mine = found[bits, length, threads]
                ratios = sorted(a / b for a, b in zip(theirs, mine))
                line += [f"{statistics.median(mine):.2f}",
                         f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"]
            rows.append(line)
    header = ["tokens", "threads", "ONNX Runtime int8, ms"]
    for bits in FORMATS:
        header += [f"gemc {bits} bits, ms", "times as fast (range)"]
    level = json.loads(gemc("bench", folder, "--bits", "8.25", "--rounding", "plain", "-p", 16, "--json"))[0]["target"]
    page.write("minilm-speed", f"""
Medians of {ROUNDS} rounds, each of both, on a machine of level `{level}`; onnxruntime {onnxruntime.__version__}, dynamic quantisation, weights int8
per channel. Its mean and least cosine with f32 on {len(texts)} texts: {cosine[0]:.5f}, {cosine[1]:.5f} (gemc's: the section above).

{page.table(header, rows)}
""")


if __name__ == "__main__":
    main()
