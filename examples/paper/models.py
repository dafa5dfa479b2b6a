"""Settings of protocol.toml -> the two families of models, a module added to one, adapters, and what each arm trains."""

import copy
import hashlib

import torch
from torch import nn

from gem import GemConfig, build


def config_of(settings, family, domains):
    """`gem`: a module for each of `domains`; `dense`: an MLP as wide as the general path and one module."""
    m = settings["model"]
    routed = family == "gem"
    return GemConfig.from_dict({
        "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"], "hidden_size": m["hidden_size"],
        "num_hidden_layers": m["layers"], "num_attention_heads": m["heads"], "num_key_value_heads": m["key_value_heads"],
        "head_dim": m["hidden_size"] // m["heads"], "intermediate_size": m["general"] + (0 if routed else m["module"]), "vocab_size": 4096,
        "max_position_embeddings": 1024, "norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True,
        "hidden_act": "silu", "mlp_gated": True, "norm": "rmsnorm", "norm_position": "pre", "position_embedding": "rope",
    } | ({
        "domains": list(domains),
        "router": {"layers": "all", "score": "softmax", "top_k": 1, "threshold": 0.5, "renormalize": False, "clusters": m["clusters"],
                   "bias": False},
        "scar": {"layers": [m["scar_layer"]], "heads": m["heads"], "mask": "cluster_or_domain", "residual": True},
        "modules": {"kind": "mlp", "intermediate_size": m["module"]}, "general_path": "always",
    } if routed else {"domains": [], "router": {"layers": []}, "scar": {"mask": "off"}, "modules": {"kind": "off"}}))


@torch.no_grad()
def most_routed(model, batches):
    """{layer: the module to which most tokens' highest probability goes}."""
    counts = {}
    for ids, predicted in batches:
        real = torch.cat([torch.ones(len(ids), 1, dtype=torch.bool), predicted], 1)
        for layer, routing in model(ids).routing.items():
            chosen = torch.bincount(routing.p.argmax(-1)[real], minlength=routing.p.shape[-1])
            counts[layer] = counts.get(layer, 0) + chosen
    return {layer: int(c.argmax()) for layer, c in counts.items()}


@torch.no_grad()
def grown(settings, model, domain, sources):
    """The model with one module more: in each layer a copy of module `sources[layer]`, and of its row of the router."""
    larger = build(config_of(settings, "gem", model.config.domains + [domain]))
    old, new = model.state_dict(), larger.state_dict()
    added = len(model.config.domains)
    for name, value in new.items():
        layer = int(name.split(".")[2]) if ".layers." in name else None
        if name.endswith("router.weight"):
            value[:added] = old[name]
            value[added] = old[name][sources[layer]]
        elif f".modules.{added}." in name:
            value.copy_(old[name.replace(f".modules.{added}.", f".modules.{sources[layer]}.")])
        else:
            value.copy_(old[name])
    larger.load_state_dict(new)
    return larger


class Adapted(nn.Module):
    """A linear map with a low-rank part beside it, which starts at nothing."""

    def __init__(self, linear, rank, generator):
        super().__init__()
        self.linear = linear
        self.a = nn.Parameter(torch.randn(rank, linear.in_features, generator=generator) * linear.in_features ** -0.5)
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        return self.linear(x) + (x @ self.a.T) @ self.b.T


def adapt(model, rank, seed):
    """Puts an adapter beside every linear map of the layers; gives the parameters of all of them by name."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.model.layers:
        for owner in (layer.self_attn, layer.general):
            for name, linear in list(owner.named_children()):
                if isinstance(linear, nn.Linear):
                    setattr(owner, name, Adapted(linear, rank, generator))
    return adapters(model)


def adapters(model):
    return {name: p for name, p in model.named_parameters() if name.endswith((".a", ".b"))}


@torch.no_grad()
def merged(model):
    """A copy of the model whose adapters are added to the maps that they stand beside."""
    model = copy.deepcopy(model)
    for layer in model.model.layers:
        for owner in (layer.self_attn, layer.general):
            for name, adapted in list(owner.named_children()):
                if isinstance(adapted, Adapted):
                    adapted.linear.weight += adapted.b @ adapted.a
                    setattr(owner, name, adapted.linear)
    return model


def module_parameters(model, which):
    """Of one module in every layer, and the routers' weights: C trains the former and one row of the latter."""
    named = dict(model.named_parameters())
    return ({n: p for n, p in named.items() if f".modules.{which}." in n}, {n: p for n, p in named.items() if n.endswith("router.weight")})


def digests(model, but=(), row=None):
    """SHA-256 of each tensor that is not in `but`; of the routers' weights without row `row`, if one is given."""
    found = {}
    for name, value in model.state_dict().items():
        if name in but:
            continue
        if row is not None and name.endswith("router.weight"):
            value = torch.cat([value[:row], value[row + 1:]])
        found[name] = hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    return found
