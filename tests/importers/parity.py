"""What parity with transformers rests on: how far each feature moves logits (tests/parity/movement.json), and the test's outcome.

Runs `cargo test --profile ci --workspace --test parity`; writes the section `parity` of docs/results/importers.md.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from page import table, write

ROOT = Path(__file__).parents[2]


def main():
    moves = json.loads((ROOT / "tests/parity/movement.json").read_text(encoding="utf-8"))
    goldens = sorted((ROOT / "tests/parity/goldens").glob("*.safetensors"))
    largest = max(golden.stat().st_size for golden in goldens)
    command = ["cargo", "test", "--profile", "ci", "--workspace", "--test", "parity"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    passed, failed = map(int, re.search(r"test result: \w+\. (\d+) passed; (\d+) failed", run.stdout).groups())
    rows = []
    for family, features in moves.items():
        count = sum(golden.name.rsplit("-", 1)[0] == family for golden in goldens)
        least = min(features, key=features.get)
        listed = ", ".join(f"{feature} {by:.2g}" for feature, by in sorted(features.items(), key=lambda item: item[1]))
        rows.append([f"`{family}`", count, len(features), f"{least} {features[least]:.2g}", listed])
    write("parity", f"""
{passed} of {passed + failed} configurations of {len(moves)} families agree with transformers 5.24 (f32, eager): the f32 reference within
2e-4 of the largest logit or 1, in the layout of memory and as `save_pretrained` writes it; the interpreter and machine code give the
same bits whole, token by token and in pieces; 8.25 bits with forced routing: KL of at most 0.003 per two layers. The largest golden
has {largest} bytes.

Movement: how far the logits move at most when a 1-D tensor or bias is put to what it would be if it were ignored, or a key to another
value. `tests/parity/make.py` refuses what moves them by less than 0.02 in every configuration.

{table(["family", "configurations", "features", "least movement", "all"], rows)}
""")
    return failed


if __name__ == "__main__":
    sys.exit(main())
