"""The table below -> examples/checkpoints/<name>/: tiny random checkpoints in which every feasible pair of config
values meets, each with golden outputs.

Run as `python examples/train/make_tiny.py`, optionally with an output directory. The same bytes come out every time.
"""

import pathlib
import shutil
import sys

import torch

from gem.pairwise import Pairwise
from gem.tiny import write

SEED = 0  # of the row generator; other seeds give 32 to 36 rows
LIMIT_BYTES = 350_000  # a directory above this does not belong into a repository
YES_NO = [False, True]

VALUES = {
    "task": ["causal", "classify"],
    "placement": ["all", "some", "final", "dense"],  # router.layers: "all", [one index], "final", []
    "domains": [1, 2, 5, 8],
    "score": ["softmax", "sigmoid"],
    "top_k": [1, 2, 3],
    "threshold": [0.0, 0.2, 0.65],
    "renormalize": YES_NO,
    "clusters": [0, 6],
    "router_bias": YES_NO,
    "mask": ["cluster_or_flag", "cluster_or_domain", "off"],
    "scar_layers": ["routed", "list"],
    "scar_heads": ["one", "many"],
    "residual": YES_NO,
    "modules": ["mlp", "lora", "off"],
    "general_path": ["always", "fallback", "none"],
    "hidden": ["small", "even", "large"],
    "kv_heads": ["mha", "gqa", "mqa"],
    "head_dim": ["default", "explicit"],
    "intermediate": [36, 52, 100],
    "limit": ["short", "long"],
    "hidden_act": ["silu", "gelu", "gelu_pytorch_tanh", "relu"],
    "mlp_gated": YES_NO,
    "norm": ["rmsnorm", "layernorm"],
    "norm_eps": [1e-5, 1e-12],
    "norm_position": ["pre", "post"],
    "position_embedding": ["rope", "learned", "none"],
    "rope_theta": [10000.0, 500000.0],
    "rope_scaling": ["null", "linear", "llama3"],
    "type_vocab_size": [0, 2],
    "attention_bias": YES_NO,
    "mlp_bias": YES_NO,
    "qk_norm": YES_NO,
    "tie": YES_NO,
    "dtype": ["bfloat16", "float16"],  # float32 replaces some afterwards: pairs with it would cost megabytes
    "small_tensors": ["same", "float32"],
    "spelling": ["old", "new"],
    "defaults": ["written", "omitted"],
    "sharded": YES_NO,
}

_ROUTED = (("placement",), lambda placement: placement != "dense")
_SCAR = (("mask",), lambda mask: mask not in (None, "off"))
_ROPE = (("position_embedding",), lambda kind: kind == "rope")
APPLIES = {
    **dict.fromkeys(
        "domains score top_k threshold renormalize clusters router_bias mask modules general_path".split(), _ROUTED
    ),
    **dict.fromkeys(("scar_layers", "scar_heads", "residual"), _SCAR),
    **dict.fromkeys(("rope_theta", "rope_scaling"), _ROPE),
    "tie": (("task",), lambda task: task == "causal"),
}
RULES = [
    (("domains", "top_k"), lambda domains, k: domains is None or k is None or k <= domains),
    # Placement "final" has one SCAR at most, so there is no list of layers to choose from.
    (("placement", "scar_layers"), lambda placement, layers: not (placement == "final" and layers == "list")),
    # A routed layer in which nothing can contribute is legal and pointless.
    (
        ("modules", "general_path", "placement"),
        lambda kind, general, placement: not (kind == "off" and general == "none" and placement != "final"),
    ),
]


def name_of(row, taken):
    """A name that says what the row is about; the width, the norm or the activation tell equal ones apart."""
    parts = ["lm" if row["task"] == "causal" else "cls", row["placement"]]
    if row["placement"] == "dense":
        parts += [row["norm_position"], row["position_embedding"]]
    else:
        kind = {"off": "domains"}.get(row["modules"], row["modules"])
        parts += [f"{row['domains']}{kind}", f"top{row['top_k']}", row["general_path"]]
        parts += {"off": [], "cluster_or_flag": ["flagscar"], "cluster_or_domain": ["domainscar"]}[row["mask"]]
    for extra in ([], [row["norm"]], [row["norm"], row["hidden_act"].split("_")[0]]):
        if (name := "-".join(parts + extra)) not in taken:
            return name
    raise AssertionError(f"no free name for {row}")


def store_some_in_float32(table, rows):
    """Replaces the stored type by float32 in two narrow rows whose (dtype, value) pairs other rows cover as well.
    Returns how many were found."""
    full = table.covered(rows)
    done = 0
    for row in sorted(rows, key=lambda row: ({"small": 0, "even": 1, "large": 2}[row["hidden"]], row["limit"] == "long")):
        before = row["dtype"]
        row["dtype"] = None
        if done < 2 and row["hidden"] == "small" and table.covered(rows) == full:
            done += 1
        else:
            row["dtype"] = before
    for row in rows:
        row["dtype"] = row["dtype"] or "float32"
    return done


def size(directory):
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def main(out):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    table = Pairwise(VALUES, APPLIES, RULES)
    rows = table.rows(SEED)
    in_float32 = store_some_in_float32(table, rows)
    covered = len(table.covered(rows))
    print(f"{len(rows)} rows cover {covered} of {len(table.pairs)} feasible pairs; {in_float32} stored in float32")
    assert covered == len(table.pairs) and in_float32
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.iterdir():
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    taken, lines = set(), []
    with_data = {next(i for i, r in enumerate(rows) if r["task"] == t and r["domains"] == 2) for t in ("causal", "classify")}
    for number, row in enumerate(rows):
        name = name_of(row, taken)
        taken.add(name)
        config, flagged = write(out / name, row, number, number in with_data)
        share = "-" if flagged is None else f"{flagged:.2f}"
        lines.append(describe(name, row, config, share, number in with_data))
        print(f"{name}: {size(out / name) // 1000} KB, flagged {share}")
        assert size(out / name) <= LIMIT_BYTES, name
    (out / "README.md").write_text(HEADER + "".join(lines), encoding="utf-8")
    print(f"{size(out) / 1e6:.1f} MB in all")


HEADER = """# Tiny checkpoints

Random weights, written by `examples/train/make_tiny.py`; every feasible pair of config values meets in one of them.
`golden.safetensors` holds f32 outputs of the saved weights: `{i}.ids`, `{i}.logits` (the last 16 positions at most, or
the class logits) and per routed place (`{i}.layers.{l}`, `{i}.final`) `.p`, `.fired`, `.domain`, `.cluster`. No routing
decision in them has a margin below 3e-4. "flagged" is the share of golden tokens for which a module fires.

| checkpoint | hidden, heads, head_dim | body | routing | stored | flagged |
|---|---|---|---|---|---|
"""


def describe(name, row, c, share, data):
    body = [c.norm_position, c.norm, c.hidden_act, "gated" if c.mlp_gated else "plain", c.position_embedding]
    body += [f"rope {row['rope_scaling']}"] if c.rope_scaling else []
    flags = {"attention_bias": c.attention_bias, "mlp_bias": c.mlp_bias, "qk_norm": c.qk_norm}
    flags |= {"tied": c.tie_word_embeddings, "types": c.type_vocab_size}
    body += [key for key, value in flags.items() if value]
    routing = "-"
    if c.domains:
        r, s = c.router, c.scar
        routing = f"{r.layers}, {r.score} top {r.top_k} > {r.threshold}"
        routing += ", renormalized" * r.renormalize + ", bias" * r.bias + f", {r.clusters} clusters"
        if s.mask != "off":
            routing += f"; scar {s.layers}, {s.heads} heads, {s.mask}" + ", residual" * s.residual
        routing += f"; {len(c.domains)} {c.modules.kind}, general {c.general_path}"
    stored = [row["dtype"], "small f32"] if row["small_tensors"] == "float32" else [row["dtype"]]
    stored += [row["spelling"] + " keys", row["defaults"] + " defaults"] + ["sharded"] * row["sharded"] + ["data"] * data
    heads = f"{c.hidden_size}, {c.num_attention_heads}/{c.num_key_value_heads}, {c.head_dim}"
    cells = [f"`{name}`", heads, ", ".join(body), routing, ", ".join(stored), share]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "checkpoints")
