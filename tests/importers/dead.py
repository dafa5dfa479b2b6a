"""The dead-weight report of gem-lm, and what leaving it out costs.

    nice python tests/importers/dead.py

Writes section `dead` of docs/results/importers.md. Needs `gemc` built by `cargo build --profile ci --workspace --bin gemc`, or
named by the environment variable GEMC.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import page

ROOT = Path(__file__).parents[2]
GEMC = os.environ.get("GEMC", ROOT / "target" / "ci" / "gemc")
WORK = ROOT / "target" / "importers" / "dead"
MODEL = ROOT / "examples" / "models" / "gem-lm"
LIMIT = "1e-4"
BITS = "4.25"
ALIVE = tuple(f"model.layers.{layer}." for layer in (0, 1, 3, 4))


def gemc(*arguments):
    print("+ gemc", *map(str, arguments), file=sys.stderr, flush=True)
    begin = time.monotonic()
    done = subprocess.run([str(GEMC), *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"gemc {arguments[0]}: exit {done.returncode}")
    return json.loads(done.stdout), time.monotonic() - begin


def check(dead):
    """What must be named on gem-lm, and what must not."""
    verdicts = {branch["name"]: branch["verdict"] for branch in dead["branch"]}
    loaded = [m for m in range(8) if m != 3]
    expected = ["model.layers.2.general", *(f"model.layers.2.modules.{m}" for m in loaded)]
    missing = [name for name in expected if verdicts.get(name) != "dead"]
    wrong = [name for name, verdict in verdicts.items() if verdict == "dead" and name.startswith(ALIVE)]
    if missing or wrong or verdicts.get("model.layers.2.modules.3") != "unmeasured":
        sys.exit(f"not as expected: missing {missing}, wrong {wrong}: {verdicts}")


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    plans, planned = {}, {}
    for name, more in (("whole", []), ("pruned", ["--prune", LIMIT])):
        plans[name] = WORK / f"{name}.toml"
        planned[name], seconds = gemc("plan", MODEL, "--effort", "low", "--bits", BITS, "-o", plans[name], "--json", *more)
        planned[name]["seconds"] = seconds
    dead = planned["pruned"]["dead"]
    check(dead)
    rows = [[f"`{branch['name']}`", branch["verdict"], f"{branch['tokens']:,}", *(f"{branch[key]:.1e}" if key in branch else "–"
             for key in ("kl", "rounded_kl")), "left out" if branch.get("dropped") else ""] for branch in dead["branch"]]
    verified = {name: gemc("verify", MODEL, "--plan", plan, "--backend", "jit", "--json")[0] for name, plan in plans.items()}
    sizes = [[name, f"{report['weight_bytes']:,}", f"{report['kl_mean']:.6f}"] for name, report in verified.items()]
    took = planned["pruned"]["seconds"] - planned["whole"]["seconds"]
    text = f"""
`gemc plan examples/models/gem-lm --effort low --prune {LIMIT}`: {dead['branches']} branches on {dead['tokens']:,} tokens of committed calibration text, {took:.0f} s
more than without `--prune`. Named are those that are dead or unmeasured; KL in nats per token that reaches them, without them and with
their weights in 8 bits (not measured where it cannot decide). Left out together they cost {dead['dropped_kl']:.1e} nats a token.

{page.table(["branch", "verdict", "tokens", "KL without it", "KL in 8 bits", ""], rows)}

Whole and without them at {BITS} bits, as programs against the f32 model on evaluation text (`gemc verify --backend jit`, own routing):

{page.table(["plan", "bytes that kernels read", "KL"], sizes)}

Both have {BITS} bits a weight of what they hold: the whole model's plan gives dead weights two bits and spends theirs on the others, which is why
it has more bytes and less KL.
"""
    page.write("dead", text)


if __name__ == "__main__":
    main()
