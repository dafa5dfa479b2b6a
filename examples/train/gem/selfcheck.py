"""A few configs -> forward, backward, padding, save and load: does the reference hold together?

Run as `PYTHONPATH=examples/train python -m gem.selfcheck`.
"""

import tempfile

import torch

from . import GemConfig, build, load, save

BASE = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=52, vocab_size=64,
            max_position_embeddings=64)
ROUTED = dict(BASE, domains=["a", "b", "c", "d", "e"])
CLASSIFIER = ["GemForSequenceClassification"]
MLP, LORA = {"kind": "mlp", "intermediate_size": 20}, {"kind": "lora", "rank": 3}
CASES = {
    "dense": dict(BASE, norm="layernorm", mlp_gated=False, hidden_act="relu", qk_norm=True),
    "mixture of experts": dict(ROUTED, router={"layers": "all", "top_k": 2, "renormalize": True}, modules=MLP,
                               general_path="none", num_key_value_heads=2),
    "scar, fallback": dict(ROUTED, router={"layers": [1], "threshold": 0.2, "clusters": 4, "bias": True}, modules=LORA,
                           scar={"mask": "cluster_or_domain", "heads": 4}, general_path="fallback", mlp_bias=True,
                           rope_scaling={"rope_type": "linear", "factor": 2.0}),
    "final, causal": dict(ROUTED, router={"layers": "final", "score": "sigmoid"}, modules=MLP,
                          scar={"mask": "cluster_or_flag", "heads": 2, "residual": True}, tie_word_embeddings=True),
    "published classifier": dict(ROUTED, architectures=CLASSIFIER, num_labels=3, norm_position="post", norm="layernorm",
                                 position_embedding="learned", type_vocab_size=2, attention_bias=True, mlp_bias=True,
                                 hidden_act="gelu", mlp_gated=False, scar={"mask": "cluster_or_flag", "heads": 4},
                                 router={"layers": "final", "threshold": 0.2, "clusters": 8}),
}


def check(name, data):
    model = build(GemConfig(**data), seed=1)
    ids = torch.randint(0, 64, (3, 17), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(17) < torch.tensor([17, 9, 1])[:, None]
    out = model(ids, mask)
    out.logits[mask if model.config.causal else slice(None)].square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters()), name
    for row, length in enumerate([17, 9, 1]):  # padding must not change anything
        alone = model(ids[row : row + 1, :length])
        want = alone.logits[0]
        got = out.logits[row, :length] if model.config.causal else out.logits[row]
        assert torch.allclose(got, want, atol=1e-5), (name, (got - want).abs().max())
    model.update_centroids(out, mask)
    with tempfile.TemporaryDirectory() as folder:
        save(model, folder, torch.float32, spelling="new", max_shard_bytes=50_000)
        again = load(folder)
        assert again.config.to_dict() == model.config.to_dict(), name
        assert torch.equal(again(ids, mask).logits, model(ids, mask).logits), name
    off = [None] * len(model.config.domains)
    if model.config.modules.kind == "mlp":
        assert not torch.equal(model(ids, mask, module_map=off).logits, model(ids, mask).logits), name
    fired = {place: round(r.flag[mask].float().mean().item(), 2) for place, r in out.routing.items()}
    print(f"{name}: ok, flagged {fired}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in CASES.items():
        check(*case)
