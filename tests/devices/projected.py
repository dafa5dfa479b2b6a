"""What a whole step takes on boards that nobody here has: `python tests/devices/projected.py` in the repository's root.

Writes section `projected` of docs/results/devices.md: milliseconds of 128 tokens and of a token after them, by the costs in targets/*.toml
(`tests/devices/cycles.py` makes them). Needs `gemc` built by `cargo build --profile ci -p gemc` or named by the environment variable GEMC.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results" / "devices.md"
GEMC = os.environ.get("GEMC", ROOT / "target" / "ci" / "gemc")
DEVICES = ["pi4", "pi5", "pixel6"]
FORMATS = ["8.25", "4.25", "l4"]
ENCODER = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], "num_labels": 2, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2,
           "hidden_act": "gelu", "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"}
SHAPES = {
    "encoder 6 x 384": ENCODER | {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "encoder 12 x 768": ENCODER | {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
MODELS = {"gem-cls": ROOT / "examples/models/gem-cls", "gem-lm": ROOT / "examples/models/gem-lm"}


def gemc(*arguments):
    done = subprocess.run([GEMC, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"gemc {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def rows(folder):
    models = dict(MODELS)
    for name, config in SHAPES.items():
        path = folder / name.replace(" ", "-")
        path.with_suffix(".json").write_text(json.dumps(config))
        gemc("synth", path.with_suffix(".json"), "-o", path)
        models[name] = path
    for device in DEVICES:
        for name, model in models.items():
            for bits in FORMATS:
                said = json.loads(gemc("build", model, "--target", device, "--bits", bits, "--rounding", "plain", "--format", "obj",
                                       "-o", folder / "out", "--json"))
                found = said["predicted"]
                token = found["token_ms"]
                yield [f"`{device}`", name, bits, f"{found['prompt_ms']:.1f}", "" if token is None else f"{token:.2f}"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(Path(folder)))
    head = ["device", "model", "bits", "128 tokens, ms", "a token at position 512, ms"]
    lines = [head, ["---"] * len(head), *found]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    begin, end = "<!-- begin projected -->\n", "<!-- end projected -->"
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(begin)
    PAGE.write_text(before + begin + text + end + rest.split(end)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
