"""`config.json` of a GEM checkpoint <-> `GemConfig`, with every rule of docs/checkpoint.md checked.

All findings of one file are collected and raised together, so that a person
fixes a config once and not once per mistake.
"""

import difflib
import json
import pathlib
from dataclasses import dataclass, field, fields

ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh", "relu")
ARCHITECTURES = ("GemForCausalLM", "GemForSequenceClassification")
DTYPES = ("float32", "float16", "bfloat16")
LLAMA3_KEYS = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
REQUIRED = (
    "model_type gem_version architectures hidden_size num_hidden_layers num_attention_heads intermediate_size"
    " vocab_size max_position_embeddings hidden_act mlp_gated norm norm_eps norm_position position_embedding"
).split()
# Keys that only training or other libraries use: accepted, kept, without effect. So are `*_token_id` and `*dropout*`.
TRAINING_ONLY = (
    "transformers_version", "_name_or_path", "use_cache", "initializer_range", "label2id", "problem_type",
)  # fmt: skip


def is_training_only(key):
    return key in TRAINING_ONLY or key.endswith("_token_id") or "dropout" in key


class ConfigError(ValueError):
    """Everything that is wrong with one config, one finding a line."""


@dataclass
class RouterConfig:
    """Which layers are routed (`"all"`, `"final"` or indices) and how a token chooses its modules."""

    layers: object = field(default_factory=list)
    score: str = "softmax"
    top_k: int = 1
    threshold: float = 0.0
    renormalize: bool = False
    clusters: int = 0
    bias: bool = False


@dataclass
class ScarConfig:
    """The attention between routed tokens; `mask == "off"` means there is none."""

    layers: object = "routed"
    heads: int = 1
    mask: str = "off"
    residual: bool = False


@dataclass
class ModulesConfig:
    """What a domain module is: an MLP of its own width, a LoRA pair, or nothing."""

    kind: str = "off"
    intermediate_size: int | None = None
    rank: int | None = None


@dataclass
class GemConfig:
    """Every key of `config.json`; see docs/checkpoint.md for the meaning of each."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    architectures: list = field(default_factory=lambda: ["GemForCausalLM"])
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    mlp_gated: bool = True
    norm: str = "rmsnorm"
    norm_eps: float = 1e-5
    norm_position: str = "pre"
    position_embedding: str = "rope"
    rope_theta: float = 10000.0
    rope_scaling: dict | None = None
    type_vocab_size: int = 0
    attention_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    tie_word_embeddings: bool = False
    domains: list = field(default_factory=list)
    router: RouterConfig = field(default_factory=RouterConfig)
    scar: ScarConfig = field(default_factory=ScarConfig)
    modules: ModulesConfig = field(default_factory=ModulesConfig)
    general_path: str = "always"
    num_labels: int | None = None
    id2label: dict | None = None
    torch_dtype: str | None = None
    extra: dict = field(default_factory=dict)

    def __post_init__(self):
        for name, kind in NESTED.items():
            value = getattr(self, name)
            if isinstance(value, dict):
                setattr(self, name, _nested(kind, name, value))
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.head_dim is None:
            self.head_dim = self.hidden_size // max(self.num_attention_heads, 1)
        if self.num_labels is None and self.id2label:
            self.num_labels = len(self.id2label)
        _validate(self)

    # ---- questions the model asks -------------------------------------------------

    @property
    def causal(self):
        return self.architectures[0] == "GemForCausalLM"

    @property
    def placement_final(self):
        return self.router.layers == "final"

    @property
    def routed_layers(self):
        """Indices of the routed layers; empty for a dense model and for placement `final`."""
        if self.router.layers == "all":
            return list(range(self.num_hidden_layers))
        return [] if self.placement_final else list(self.router.layers)

    @property
    def scar_layers(self):
        """Indices of the routed layers that have SCAR (placement `final`: see `scar_final`)."""
        if self.scar.mask == "off":
            return []
        return self.routed_layers if self.scar.layers == "routed" else list(self.scar.layers)

    @property
    def scar_final(self):
        return self.placement_final and self.scar.mask != "off"

    # ---- config.json --------------------------------------------------------------

    @classmethod
    def from_dict(cls, data):
        """Reads a parsed `config.json`; raises `ConfigError` with every finding."""
        data, errors = dict(data), []
        known = {f.name for f in fields(cls)} - {"extra"}
        errors += [f"`{key}` is missing" for key in REQUIRED if key not in data]
        if data.pop("model_type", "gem") != "gem":
            errors.append('`model_type` must be "gem"')
        if data.pop("gem_version", 1) != 1:
            errors.append("`gem_version` must be 1")
        _one_spelling(data, errors)
        extra = {key: data.pop(key) for key in list(data) if is_training_only(key)}
        for key in sorted(set(data) - known):
            near = difflib.get_close_matches(key, sorted(known), 1)
            errors.append(f"unknown key `{key}`" + (f", did you mean `{near[0]}`?" if near else ""))
        if errors:
            raise ConfigError("\n".join(errors))
        return cls(**data, extra=extra)

    @classmethod
    def load(cls, directory):
        return cls.from_dict(json.loads((pathlib.Path(directory) / "config.json").read_text()))

    def to_dict(self, spelling="old"):
        """The `config.json` object. `spelling` picks Hugging Face's old keys (`torch_dtype`, `rope_theta` and
        `rope_scaling`) or its new ones (`dtype`, `rope_parameters`)."""
        out = {"architectures": self.architectures, "model_type": "gem", "gem_version": 1}
        nested = {"router", "scar", "modules"}
        skip = {"architectures", "extra", "torch_dtype", "rope_theta", "rope_scaling", "num_labels", "id2label"}
        for f in fields(self):
            if f.name in nested:
                out[f.name] = {k: v for k, v in vars(getattr(self, f.name)).items() if v is not None}
            elif f.name not in skip:
                out[f.name] = getattr(self, f.name)
        for key in ("num_labels", "id2label"):
            if getattr(self, key) is not None:
                out[key] = getattr(self, key)
        if spelling == "old":
            out["rope_theta"], out["rope_scaling"] = self.rope_theta, self.rope_scaling
            out["torch_dtype"] = self.torch_dtype
        else:
            scaling = self.rope_scaling or {"rope_type": "default"}
            out["rope_parameters"] = {"rope_theta": self.rope_theta, **scaling}
            out["dtype"] = self.torch_dtype
        for key in ("torch_dtype", "dtype"):
            if key in out and out[key] is None:
                del out[key]
        if not self.routed_layers and not self.placement_final:
            for key in ("router", "scar", "modules", "domains"):
                del out[key]
        return {**out, **self.extra}

    def save(self, directory, spelling="old"):
        text = json.dumps(self.to_dict(spelling), indent=2, ensure_ascii=False) + "\n"
        (pathlib.Path(directory) / "config.json").write_text(text)


NESTED = {"router": RouterConfig, "scar": ScarConfig, "modules": ModulesConfig}


def _nested(kind, name, data):
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(data) - known):
        raise ConfigError(f"unknown keys in `{name}`: {unknown}; allowed: {sorted(known)}")
    return kind(**data)


def _one_spelling(data, errors):
    """Folds `dtype` into `torch_dtype` and `rope_parameters` into `rope_theta` + `rope_scaling`, in place."""
    if "dtype" in data:
        new = data.pop("dtype")
        if data.setdefault("torch_dtype", new) != new:
            errors.append("`dtype` and `torch_dtype` disagree")
    if (scaling := data.get("rope_scaling")) is not None:
        data["rope_scaling"] = _canonical_scaling(scaling)
    if (parameters := data.pop("rope_parameters", None)) is not None:
        scaling = dict(parameters)
        theta = scaling.pop("rope_theta", data.get("rope_theta", 10000.0))
        scaling = _canonical_scaling(scaling)
        if data.setdefault("rope_theta", theta) != theta:
            errors.append("`rope_parameters.rope_theta` and `rope_theta` disagree")
        if data.setdefault("rope_scaling", scaling) != scaling:
            errors.append("`rope_parameters` and `rope_scaling` disagree")


def _canonical_scaling(scaling):
    """`{"type": ...}` is the older name of `rope_type`; `default` means no scaling at all."""
    scaling = dict(scaling)
    kind = scaling.pop("type", None)
    scaling.setdefault("rope_type", kind or "default")
    return None if scaling["rope_type"] == "default" else scaling


def _is_count(value, least=1):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_layer_list(value, allowed):
    """Ascending, without duplicates, each one of `allowed`."""
    return (
        isinstance(value, list)
        and all(_is_count(i, 0) for i in value)
        and value == sorted(set(value))
        and set(value) <= set(allowed)
    )


def _validate(c):
    errors = []

    def need(condition, message):
        if not condition:
            errors.append(message)

    for key in (
        "hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim intermediate_size"
        " vocab_size max_position_embeddings"
    ).split():
        need(_is_count(getattr(c, key)), f"`{key}` must be a positive integer, found {getattr(c, key)!r}")
    for key in ("mlp_gated", "attention_bias", "mlp_bias", "qk_norm", "tie_word_embeddings"):
        need(isinstance(getattr(c, key), bool), f"`{key}` must be true or false, found {getattr(c, key)!r}")
    need(_is_count(c.type_vocab_size, 0), "`type_vocab_size` must be an integer >= 0")
    choices = {
        "hidden_act": ACTIVATIONS,
        "norm": ("rmsnorm", "layernorm"),
        "norm_position": ("pre", "post"),
        "position_embedding": ("rope", "learned", "none"),
        "general_path": ("always", "fallback", "none"),
        "torch_dtype": (None, *DTYPES),
    }
    for key, allowed in choices.items():
        need(getattr(c, key) in allowed, f"`{key}` must be one of {allowed}, found {getattr(c, key)!r}")
    need(len(c.architectures) == 1 and c.architectures[0] in ARCHITECTURES, f"`architectures`: one of {ARCHITECTURES}")
    need(c.norm_eps >= 0, "`norm_eps` must not be negative")
    if errors:
        raise ConfigError("\n".join(errors))
    need(c.num_attention_heads % c.num_key_value_heads == 0, "`num_key_value_heads` must divide `num_attention_heads`")
    _validate_rope(c, need)
    _validate_routing(c, need)
    if not c.causal:
        need(_is_count(c.num_labels or 0), "`num_labels` (or `id2label`) is needed for classification")
    if c.id2label is not None:
        want = [str(i) for i in range(c.num_labels or 0)]
        need(sorted(map(str, c.id2label), key=int) == want, "`id2label` must name each label 0..num_labels-1")
    if errors:
        raise ConfigError("\n".join(errors))


def _validate_rope(c, need):
    need(c.rope_theta > 0, "`rope_theta` must be positive")
    if c.position_embedding == "rope":
        need(c.head_dim % 2 == 0, "`head_dim` must be even for rope")
    if (scaling := c.rope_scaling) is None:
        return
    need(c.position_embedding == "rope", "`rope_scaling` needs `position_embedding` = rope")
    keys = {"linear": ("factor",), "llama3": LLAMA3_KEYS}.get(scaling.get("rope_type"))
    need(keys is not None, f"`rope_scaling`: linear or llama3, found {scaling.get('rope_type')!r}")
    if keys is not None:
        need(set(scaling) == {"rope_type", *keys}, f"`rope_scaling` {scaling['rope_type']} needs exactly {keys}")
        need(all(scaling.get(k, 0) > 0 for k in keys), f"`rope_scaling`: {keys} must be positive")


def _validate_routing(c, need):
    router, scar, modules = c.router, c.scar, c.modules
    need(
        router.layers in ("all", "final") or _is_layer_list(router.layers, range(c.num_hidden_layers)),
        '`router.layers`: "all", "final" or ascending layer indices',
    )
    need(bool(c.domains) == bool(router.layers), "`domains` is empty exactly when `router.layers` is empty")
    need(len(set(c.domains)) == len(c.domains), "`domains` holds a duplicate")
    need(scar.mask in ("cluster_or_flag", "cluster_or_domain", "off"), f"`scar.mask`: found {scar.mask!r}")
    need(modules.kind in ("mlp", "lora", "off"), f"`modules.kind`: mlp, lora or off, found {modules.kind!r}")
    if not router.layers:
        need(scar.mask == "off", "`scar` needs routed layers")
        need(modules.kind == "off", "`modules` need routed layers")
        return
    need(router.score in ("softmax", "sigmoid"), f"`router.score`: softmax or sigmoid, found {router.score!r}")
    need(_is_count(router.top_k) and router.top_k <= len(c.domains), "`router.top_k` must be 1..len(domains)")
    need(0 <= router.threshold < 1, "`router.threshold` must be in [0, 1)")
    need(_is_count(router.clusters, 0), "`router.clusters` must be an integer >= 0")
    if scar.mask != "off":
        need(_is_count(scar.heads) and c.hidden_size % scar.heads == 0, "`scar.heads` must divide `hidden_size`")
        routed = c.routed_layers if _is_layer_list(router.layers, range(c.num_hidden_layers)) or router.layers == "all" else []
        need(
            scar.layers == "routed" or (bool(scar.layers) and _is_layer_list(scar.layers, routed)),
            '`scar.layers`: "routed" or a non-empty ascending subset of the routed layers',
        )
    if modules.kind == "mlp":
        need(_is_count(modules.intermediate_size or 0), "`modules.intermediate_size` must be a positive integer")
    if modules.kind == "lora":
        need(_is_count(modules.rank or 0), "`modules.rank` must be a positive integer")
