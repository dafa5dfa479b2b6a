#!/usr/bin/env python3
"""What routing and SCAR cost of a step: the paper's third experiment, on three widths and contexts.

Random weights in gem-lm's proportions (three layers, SCAR in one of them), each in four variants: dense, routed without SCAR, with SCAR
seeing tokens of its cluster or domain, and of its cluster or flag. Every token fires, so that the last sees all tokens before it; the
third sees about one in eight. A trained model's masks lie between. Measured on this machine with two threads, the variants in
turn; a Raspberry Pi 4 and a Pixel 6 are projected by their targets' costs.

    python3 examples/paper/latency.py [--rounds 3] [--out examples/paper/latency.json]

Needs Python alone, and gemc. For a quiet machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTHS, CONTEXTS, LAYERS, MODULES, CLUSTERS = (256, 1024, 2048), (128, 512, 2048), 3, 8, 64
VARIANTS = {"dense": None, "routed": "off", "SCAR by domain": "cluster_or_domain", "SCAR by flag": "cluster_or_flag"}
BITS, DECODED, THREADS = "4.25", 16, 2
# Parts of a step, as `gemc bench --profile` names them.
ROUTING = ("router and top-k", "dispatch", "sums of modules")
SCAR = ("clusters", "tags", "products of SCAR", "attention of SCAR")
DEVICES = ("pi4", "pixel6")


def config(width, mask):
    """gem-lm's proportions at a width; `mask` None: the dense twin."""
    dense = mask is None
    common = {
        "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"], "hidden_size": width, "num_hidden_layers": LAYERS,
        "num_attention_heads": width // 64, "num_key_value_heads": width // 128, "head_dim": 64,
        "intermediate_size": 3 * width if dense else 2 * width, "vocab_size": 4096, "max_position_embeddings": max(CONTEXTS) + DECODED,
        "norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu", "mlp_gated": True, "norm": "rmsnorm",
        "norm_position": "pre", "position_embedding": "rope", "torch_dtype": "bfloat16"}
    if dense:
        return common
    scar = {"mask": "off"} if mask == "off" else {"layers": [LAYERS - 1], "heads": width // 64, "mask": mask, "residual": True}
    return common | {
        "domains": [f"domain-{m}" for m in range(MODULES)],
        "router": {"layers": "all", "score": "softmax", "top_k": 1, "threshold": 0.0, "renormalize": False,
                   "clusters": 0 if mask == "off" else CLUSTERS, "bias": False},
        "scar": scar, "modules": {"kind": "mlp", "intermediate_size": width}, "general_path": "always"}


def gemc(*arguments):
    """JSON that gemc prints."""
    done = subprocess.run([os.environ.get("GEMC", str(ROOT / "target" / "release" / "gemc")), *map(str, arguments), "--json"],
                          capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"gemc {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def bench(folder, context):
    """{"prefill" or "decode": {part: milliseconds, "all": of a step}} of one run."""
    found = gemc("bench", folder, "--bits", BITS, "--rounding", "plain", "--backend", "jit", "-p", context, "-n", DECODED, "--threads", THREADS,
                 "--runs", 3, "--profile")[0]
    times = {"prefill": {"all": 1000 * found["prefill_tokens"] / found["prefill_tok_s"]}, "decode": {"all": 1000 / found["decode_tok_s"]}}
    for part in found["parts"]:
        times["prefill"][part["part"]] = part["prefill_ms"]
        times["decode"][part["part"]] = part["decode_ms"]
    return times | {"kv_bytes": found["kv_bytes"]}


def medians(runs):
    """Of several runs of a variant."""
    found = {}
    for kind in ("prefill", "decode"):
        each = {part: [run[kind].get(part, 0.0) for run in runs] for part in runs[0][kind]}
        found[kind] = {part: statistics.median(values) for part, values in each.items()}
        found[kind]["spread"] = [min(each["all"]), max(each["all"])]
    return found | {"kv_bytes": runs[0]["kv_bytes"]}


def projected(folder, scratch):
    """{device: milliseconds of 128 tokens at once, and of a token decoded at position 512}."""
    return {device: gemc("build", folder, "--target", device, "--bits", BITS, "--rounding", "plain", "--format", "obj", "-o", scratch / "out")["predicted"]
            for device in DEVICES}


def measured(width, rounds, tell):
    found = {name: {} for name in VARIANTS}
    with tempfile.TemporaryDirectory(prefix="gemc-latency-") as scratch:
        scratch = Path(scratch)
        for n, (name, mask) in enumerate(VARIANTS.items()):
            (scratch / "config.json").write_text(json.dumps(config(width, mask)))
            gemc("synth", scratch / "config.json", "-o", scratch / str(n))
            found[name]["projected"] = projected(scratch / str(n), scratch)
        for context in CONTEXTS:
            runs = {name: [] for name in VARIANTS}
            for turn in range(rounds):
                for n, name in enumerate(VARIANTS):
                    tell(f"width {width}, context {context}, round {turn + 1} of {rounds}: {name}")
                    runs[name].append(bench(scratch / str(n), context))
            for name in VARIANTS:
                found[name][str(context)] = medians(runs[name])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--widths", type=lambda text: [int(w) for w in text.split(",")], default=list(WIDTHS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = {str(w): measured(w, args.rounds, lambda text: print(text, file=sys.stderr, flush=True)) for w in args.widths}
    text = json.dumps({"threads": THREADS, "bits": BITS, "layers": LAYERS, "widths": found}, indent=1) + "\n"
    args.out.write_text(text) if args.out else print(text, end="")


if __name__ == "__main__":
    main()
