"""The dead-weight report of gem-lm, in which nothing may be dead.

    nice python tests/importers/dead.py

Writes section `dead` of docs/results/importers.md. Needs `gemc` built by `cargo build --profile ci --workspace --bin gemc`, or
named by the environment variable GEMC.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import page

ROOT = Path(__file__).parents[2]
GEMC = os.environ.get("GEMC", ROOT / "target" / "ci" / "gemc")
WORK = ROOT / "target" / "importers" / "dead"
MODEL = ROOT / "examples" / "models" / "gem-lm"
LIMIT = "1e-4"
BITS = "4.25"
# Modules that routers seldom choose, on purpose.
RARE = {"model.layers.0.modules.0", "model.layers.2.modules.3", "model.layers.4.modules.6"}


def gemc(*arguments):
    print("+ gemc", *map(str, arguments), file=sys.stderr, flush=True)
    done = subprocess.run([str(GEMC), *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"gemc {arguments[0]}: exit {done.returncode}")
    return json.loads(done.stdout)


def check(dead):
    """Nothing is dead; what is too rare to be judged is what is rare on purpose."""
    verdicts = {branch["name"]: branch["verdict"] for branch in dead["branch"]}
    if verdicts != dict.fromkeys(RARE, "unmeasured"):
        sys.exit(f"not as expected: {verdicts}")


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    planned = gemc("plan", MODEL, "--effort", "low", "--bits", BITS, "--prune", LIMIT, "-o", WORK / "pruned.toml", "--json")
    dead = planned["dead"]
    check(dead)
    rows = [[f"`{branch['name']}`", branch["verdict"], f"{branch['tokens']:,}"] for branch in dead["branch"]]
    text = f"""
`gemc plan examples/models/gem-lm --effort low --prune {LIMIT}`: of {dead['branches']} branches on {dead['tokens']:,} tokens of committed calibration text none
is dead. Named are those that too few tokens reach to be judged, three modules that are rare on purpose:

{page.table(["branch", "verdict", "tokens"], rows)}
"""
    page.write("dead", text)


if __name__ == "__main__":
    main()
