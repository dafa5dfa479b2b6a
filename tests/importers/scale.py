"""Large mixtures of experts: what gemc takes of time and memory. Weights are random, or holes in files.

    python tests/importers/scale.py                  whole Qwen3-30B-A3B as sparse files, and 4 G random weights (20 GB of disk)
    python tests/importers/scale.py --hidden 192     the same layers and experts, a quarter as wide each way
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import page

ROOT = Path(__file__).parents[2]
WORK = ROOT / "target" / "importers" / "scale"
GEMC = Path(os.environ.get("GEMC", ROOT / "target" / "ci" / "gemc")).resolve()
TEXTS = ROOT / "examples" / "models" / "gem-lm" / "calibration"
DOCUMENTS = 20
MOE = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_hidden_layers": 48, "num_experts": 128,
    "num_experts_per_tok": 8, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [], "vocab_size": 151936,
    "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "hidden_act": "silu",
    "tie_word_embeddings": False, "attention_bias": False, "bos_token_id": 151643, "eos_token_id": 151645,
}
WHOLE = MOE | {"hidden_size": 2048, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
               "intermediate_size": 6144, "moe_intermediate_size": 768}


def run(name, *arguments, kill_at=None):
    """Seconds, processor seconds and the most anonymous memory (MB) of a command; killed once it has said so many percent of
    its longest step."""
    log = (WORK / f"{name}.log").open("w+")
    before, began, anonymous = used(), time.monotonic(), 0
    command = [GEMC, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "GEMC_CACHE": str(WORK / "cache")})
    while process.poll() is None:
        anonymous = max(anonymous, resident(process.pid))
        # Not every number is told.
        said = re.findall(r"measuring sensitivity: (\d+) %", (WORK / f"{name}.log").read_text()) if kill_at else []
        if said and max(map(int, said)) >= kill_at:
            process.send_signal(signal.SIGKILL)
            kill_at = None
        time.sleep(0.05)
    said = (WORK / f"{name}.log").read_text()
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"{command}: {process.returncode}\n{said[-2000:]}")
    return {"seconds": time.monotonic() - began, "cpu": used() - before, "mb": anonymous, "said": said}


def used():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def resident(pid):
    try:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) // 1024 if found else 0


def tensors(c):
    """Names and shapes of a qwen3_moe."""
    d, q, kv, f = (c["hidden_size"], c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"],
                   c["moe_intermediate_size"])
    yield "model.embed_tokens.weight", [c["vocab_size"], d]
    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}"
        for name, shape in [("self_attn.q_proj", [q, d]), ("self_attn.k_proj", [kv, d]), ("self_attn.v_proj", [kv, d]),
                            ("self_attn.o_proj", [d, q]), ("self_attn.q_norm", [c["head_dim"]]),
                            ("self_attn.k_norm", [c["head_dim"]]), ("input_layernorm", [d]),
                            ("post_attention_layernorm", [d]), ("mlp.gate", [c["num_experts"], d])]:
            yield f"{p}.{name}.weight", shape
        for e in range(c["num_experts"]):
            for name, shape in [("gate_proj", [f, d]), ("up_proj", [f, d]), ("down_proj", [d, f])]:
                yield f"{p}.mlp.experts.{e}.{name}.weight", shape
    yield "model.norm.weight", [d]
    yield "lm_head.weight", [c["vocab_size"], d]


def sparse(folder, config, shard_bytes=4 << 30):
    """A checkpoint of zeros in files with holes: gives its bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shards = [[]]
    size = total = 0
    for name, shape in tensors(config):
        values = 2
        for n in shape:
            values *= n
        if size + values > shard_bytes and shards[-1]:
            shards.append([])
            size = 0
        shards[-1].append((name, shape, values))
        size, total = size + values, total + values
    where = {}
    for i, shard in enumerate(shards, 1):
        file, header, end = f"model-{i:05}-of-{len(shards):05}.safetensors", {}, 0
        for name, shape, bytes_ in shard:
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + bytes_]}
            end += bytes_
            where[name] = file
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        with (folder / file).open("wb") as out:
            out.write(len(head).to_bytes(8, "little") + head)
            out.truncate(8 + len(head) + end)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "config.json").write_text(json.dumps(config))
    return total


def random(folder, hidden):
    """4 G random weights at a hidden size of 768."""
    config = MOE | {"hidden_size": hidden, "num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": hidden // 12,
                    "intermediate_size": 8 * hidden // 3, "moe_intermediate_size": hidden // 3}
    (WORK / "config.json").write_text(json.dumps(config))
    if not folder.exists():
        run("synth", "synth", WORK / "config.json", "-o", folder)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) // 2


def texts():
    folder = WORK / "texts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ["law", "stem"]:
        lines = (TEXTS / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}.jsonl").write_text("".join(lines[:DOCUMENTS]))
    return folder


def line(what, r):
    return [what, f"{r['seconds']:.1f}", f"{r['cpu']:.1f}", r["mb"]]


def sources(folder):
    return sum(file.stat().st_size for file in folder.rglob("*.rs") if "kernels" in file.name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=768)
    hidden = parser.parse_args().hidden
    WORK.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(WORK / "cache", ignore_errors=True)
    whole, many, plan = WORK / "whole", WORK / f"many-{hidden}", WORK / "plan.toml"
    total = sparse(whole, WHOLE)
    rows = [line("`inspect`", run("inspect-whole", "inspect", whole)),
            line("`plan --effort prior`", run("prior-whole", "plan", whole, "--effort", "prior", "-o", WORK / "prior.toml"))]
    weights = random(many, hidden)
    given = ["plan", many, "--effort", "low", "--bits", "4.25", "--calib", texts(), "-o", plan]
    large = [line("`inspect`", run("inspect", "inspect", many)),
             line("`plan --effort low`, killed at a third", run("killed", *given, kill_at=33))]
    for file in WORK.glob("plan.*"):
        file.unlink()
    large.append(line("the same again, to its end", run("resumed", *given)))
    plan.unlink(), plan.with_suffix(".codes").unlink()
    given[5] = "3.25"
    large.append(line("the same at 3.25 bits", run("smaller", *given)))
    built = run("build", "build", many, "--plan", plan, "--target", "x86-64-v3", "-o", WORK / "built")
    large.append(line("`build` with that plan", built))
    kernels = re.search(r"(\d+) kernels in (\d+) phases", built["said"])
    header = ["", "s", "processor s", "anonymous MB at most"]
    load = os.getloadavg()[2]
    page.write("scale", f"""
Qwen3-30B-A3B as it is (48 layers, 128 experts of which 8 fire, {total / 1e9:.1f} GB as BF16), files with holes:

{page.table(header, rows)}

The same layers and experts at a hidden size of {hidden}, experts {hidden // 3} wide: {weights / 1e9:.2f} G random weights, on
{os.cpu_count()} cores that others used too (load {load:.0f}):

{page.table(header, large)}

Its program has {kernels[1]} kernels in {kernels[2]} phases. Memory that is a mapped file's is not counted; a plan that was killed
goes on where it was, and one of another size measures nothing anew.
""")


if __name__ == "__main__":
    main()
