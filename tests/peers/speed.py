"""Tokens a second beside llama.cpp: the same dense weights, `Q4_0 --pure` there and 4.25 bits here, in turns.

    python tests/peers/speed.py CKPT [--target x86-64-v3] [--bits l4] [--rounds 5] [-p 256] [-n 32] [--threads 1 2]

CKPT is a dense checkpoint of gem's own layout, such as `gemc synth examples/shapes/d1b.json -o d1b` writes. llama.cpp is built from
PyPI's source of `llama-cpp-python` (`llama_cpp.py`), for `x86-64-v3` without AVX-512, which this machine may have. GEMC names the command,
else `target/release/gemc`. Prints a table: medians with the least and the most of all rounds, and ratios of medians. Needs a C++
compiler, and `gguf`, `safetensors`, `numpy`, `scikit-build-core`, `cmake` and `ninja` from PyPI.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from llama_cpp import BENCH, run, tools
from to_gguf import to_gguf

ROOT = Path(__file__).parents[2]
GEMC = os.environ.get("GEMC", str(ROOT / "target" / "release" / "gemc"))
# llama.cpp without what a level has not.
OPTIONS = {"x86-64-v3": ("GGML_NATIVE=OFF", "GGML_AVX2=ON", "GGML_FMA=ON", "GGML_F16C=ON", "GGML_BMI2=ON")}


def output(*command):
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def theirs(program, model, asked, threads):
    """(prefill, decode) in tokens a second."""
    found = output(program, "-m", model, "-p", asked.p, "-n", asked.n, "-t", threads, "-r", 1, "-o", "json")
    prefill, = (one["avg_ts"] for one in found if one["n_prompt"])
    decode, = (one["avg_ts"] for one in found if one["n_gen"])
    return prefill, decode


def ours(asked, threads):
    found = output(GEMC, "bench", asked.checkpoint, "--target", asked.target, "--bits", asked.bits, "--rounding", "plain", "-p", asked.p,
                   "-n", asked.n, "--threads", threads, "--runs", 1, "--backend", asked.backend, "--json")
    row, = found
    return row["prefill_tok_s"], row["decode_tok_s"]


def told(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--target", default="host")
    parser.add_argument("--bits", default="l4")
    parser.add_argument("--backend", default="rust")
    parser.add_argument("--type", default="Q4_0", help="of llama.cpp")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("-p", type=int, default=256)
    parser.add_argument("-n", type=int, default=32)
    asked = parser.parse_args()
    work = ROOT / "target" / "peers"
    work.mkdir(parents=True, exist_ok=True)
    programs = tools(work, (BENCH, "llama-quantize"), OPTIONS.get(asked.target, ()))
    whole, model = (work / f"{asked.checkpoint.name}-{kind}.gguf" for kind in ("f32", asked.type))
    if not model.exists():
        to_gguf(asked.checkpoint, whole)
        run(programs["llama-quantize"], "--pure", whole, model, asked.type)
        whole.unlink()
    ours(asked, asked.threads[0])  # compiles, and fills the cache
    for threads in asked.threads:
        rounds = []
        for turn in range(asked.rounds):
            rounds.append((theirs(programs[BENCH], model, asked, threads), ours(asked, threads)))
            print(f"{threads} threads, round {turn + 1}: llama.cpp {rounds[-1][0]}, gemc {rounds[-1][1]}", file=sys.stderr, flush=True)
        for i, what in enumerate((f"prefill of {asked.p}", f"decode of {asked.n}")):
            them, us = ([one[side][i] for one in rounds] for side in (0, 1))
            ratio = statistics.median(us) / statistics.median(them)
            print(f"| {asked.checkpoint.name}, {threads} threads, {what} | {told(them)} | {told(us)} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
