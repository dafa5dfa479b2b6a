"""How near predictions come on this machine: `python tests/devices/validate.py [--rounds 3] [--targets x86-64-v3 ...]` in the root.

Each round measures the costs of this machine for a target (`gemc targets --measure`) and then prompts and tokens of five models on one
and two threads (`gemc bench`), so that a clock that changes touches both. Writes section `predicted` of docs/results/performance.md:
predicted over measured, the median with the least and the most of all rounds. Random weights for what is no model of ours (speed does not
depend on them). Needs `gemc` built by `cargo build --release -p gemc`, or named by the environment variable GEMC; nothing else may run.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results" / "performance.md"
WORK = ROOT / "target" / "devices"
GEMC = os.environ.get("GEMC", str(ROOT / "target" / "release" / "gemc"))
SHAPES = ["d1b", "moe", "d135"]
MODELS = {name: ROOT / "examples" / "models" / name for name in ("gem-lm", "gem-cls")}


def gemc(*arguments):
    done = subprocess.run([GEMC, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"gemc {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def models():
    for name in SHAPES:
        folder = WORK / name
        if not (folder / "model.safetensors").exists():
            gemc("synth", ROOT / "examples" / "shapes" / f"{name}.json", "-o", folder)
        yield name, folder
    yield from MODELS.items()


def measured(target, threads):
    """Path of a target file with what this machine takes now."""
    path = WORK / f"{target}-{threads}.toml"
    path.write_text(gemc("targets", target, "--measure", "--threads", threads))
    return path


def ratios(name, folder, target, threads):
    """(of a prompt, of a token or None): predicted over measured."""
    prompt = 128 if name == "gem-cls" else 256
    more = [] if name == "gem-cls" else ["-n", 32]
    row, = json.loads(gemc("bench", folder, "--target", target, "--bits", "4.25", "--rounding", "plain", "-p", prompt, *more,
                           "--threads", threads, "--json"))
    whole = 1e3 * prompt / row["prefill_tok_s"]
    token = row["decode_tok_s"] and row["predicted_decode_ms"] * row["decode_tok_s"] / 1e3
    return row["predicted_prefill_ms"] / whole, token


def told(values):
    values = [value for value in values if value]
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", nargs="+", default=["x86-64-v3", "x86-64-v4-vnni"])
    asked = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    everything = dict(models())
    found = {}
    for turn in range(asked.rounds):
        for target in asked.targets:
            for threads in (1, 2):
                for name, folder in everything.items():
                    # Measured anew for each: nothing else keeps the clock of both the same.
                    one = ratios(name, folder, measured(target, threads), threads)
                    found.setdefault((target, threads, name), []).append(one)
                    print(f"round {turn + 1}: {target}, {threads}, {name}: {one}", file=sys.stderr, flush=True)
    lines = ["| target | threads | model | a prompt | a token |", "| --- | --- | --- | --- | --- |"]
    for (target, threads, name), each in found.items():
        prompts, tokens = zip(*each)
        lines.append(f"| `{target}` | {threads} | {name} | {told(prompts)} | {told(tokens)} |")
    text = PAGE.read_text(encoding="utf-8")
    section = "<!-- begin predicted -->\n" + "\n".join(lines) + "\n<!-- end predicted -->"
    PAGE.write_text(re.sub(r"<!-- begin predicted -->.*<!-- end predicted -->", lambda _: section, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
