"""One row of the table in make_tiny.py -> a tiny checkpoint directory with random weights and golden outputs.

Random weights are shaped so that the outputs say something: routers are centred and scaled until a sensible share of
tokens fires and no module takes everything, centroids lie where the tokens are, logits spread by about 1.5. Golden
prompts are chosen so that no routing decision is a near-tie: a correct f32 implementation reproduces all of them.
"""

import json
import math
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from . import GemConfig, build, checkpoint
from .config import DTYPES

DOMAINS = ["healthcare", "law", "finance", "stem", "commonsense", "conversation", "multilingual", "adaptation"]
CAUSAL_SPECIALS = ["<pad>", "<s>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CLASS_SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TORCH = dict(zip(DTYPES, (torch.float32, torch.float16, torch.bfloat16)))
# Widths on and off multiples of 32, so that padding of rows and columns is exercised.
HIDDEN_AND_HEADS = {
    "small": [(40, 2), (48, 4), (40, 2), (48, 4)],
    "even": [(64, 4), (32, 4), (32, 4), (32, 4)],
    "large": [(72, 6), (56, 4), (80, 4), (56, 4), (56, 4), (56, 4)],
}
MARGIN = 3e-4  # three times the width at which docs/checkpoint.md lets a decision differ


# ---- config -----------------------------------------------------------------------


def config_of(row, number):
    """The `GemConfig` of a row. Sizes that the row leaves open follow from `number`."""
    alternate = number % 2
    hidden, heads = _pick(HIDDEN_AND_HEADS[row["hidden"]], number)
    explicit = {32: 12, 40: 12, 48: 16, 56: 12, 64: 24, 72: 14, 80: 16}[hidden]
    scaling = {
        "linear": {"rope_type": "linear", "factor": 2.0},
        "llama3": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    }.get(row["rope_scaling"])
    labels = 2 + number % 4
    return GemConfig(
        architectures=["GemForCausalLM" if row["task"] == "causal" else "GemForSequenceClassification"],
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads={"mha": heads, "gqa": heads // 2, "mqa": 1}[row["kv_heads"]],
        head_dim=explicit if row["head_dim"] == "explicit" else hidden // heads,
        intermediate_size=row["intermediate"],
        vocab_size=_pick((264, 271, 280, 262, 300), number),
        max_position_embeddings={"short": (64, 128), "long": (192, 600)}[row["limit"]][alternate],
        hidden_act=row["hidden_act"],
        mlp_gated=row["mlp_gated"],
        norm=row["norm"],
        norm_eps=row["norm_eps"],
        norm_position=row["norm_position"],
        position_embedding=row["position_embedding"],
        rope_theta=row["rope_theta"] or 10000.0,
        rope_scaling=scaling,
        type_vocab_size=row["type_vocab_size"],
        attention_bias=row["attention_bias"],
        mlp_bias=row["mlp_bias"],
        qk_norm=row["qk_norm"],
        tie_word_embeddings=bool(row["tie"]),
        num_labels=None if row["task"] == "causal" else labels,
        id2label=None if row["task"] == "causal" else {str(i): f"label-{i}" for i in range(labels)},
        extra={"bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256, "initializer_range": 0.02},
        **(routing_of(row, number) if row["placement"] != "dense" else {}),
    )


def _pick(options, number):
    return options[number % len(options)]


def routing_of(row, number):
    domains = row["domains"]
    some = [number % 2]
    scar = {"mask": row["mask"], "heads": 1, "layers": "routed", "residual": bool(row["residual"])}
    if row["mask"] != "off":
        scar["heads"] = {"one": 1, "many": (2, 4)[number % 2]}[row["scar_heads"]]
    if row["scar_layers"] == "list":
        scar["layers"] = some
    sizes = {
        "mlp": {"intermediate_size": {1: 36, 2: 20, 5: 12, 8: 7}[domains]},
        "lora": {"rank": {1: 8, 2: 5, 5: 3, 8: 2}[domains]},
        "off": {},
    }
    return {
        "domains": DOMAINS[:domains],
        "router": {
            "layers": {"all": "all", "some": some, "final": "final"}[row["placement"]],
            "score": row["score"],
            "top_k": row["top_k"],
            "threshold": row["threshold"],
            "renormalize": row["renormalize"],
            "clusters": row["clusters"],
            "bias": row["router_bias"],
        },
        "scar": scar,
        "modules": {"kind": row["modules"], **sizes[row["modules"]]},
        "general_path": row["general_path"],
    }


DENSE = {"domains": [], "router": {"layers": []}, "scar": {"mask": "off"}, "modules": {"kind": "off"}}


def config_json(config, row):
    """`config.json` with defaults written out or left away, and `num_labels` told once or twice."""
    data = config.to_dict(row["spelling"])
    if row["defaults"] == "written":
        return {**DENSE, **data} if row["placement"] == "dense" else data
    plain = {
        "num_key_value_heads": config.num_attention_heads,
        "head_dim": config.hidden_size // config.num_attention_heads,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "type_vocab_size": 0,
        **dict.fromkeys(("attention_bias", "mlp_bias", "qk_norm", "tie_word_embeddings"), False),
        "modules": {"kind": "off"},
        "general_path": "always",
    }
    out = {key: value for key, value in data.items() if key not in plain or plain[key] != value}
    for key in list(config.extra):
        del out[key]
    if config.id2label is not None:
        del out["num_labels"]
    if config.scar.mask == "off":
        out.pop("scar", None)
    return out


# ---- weights ----------------------------------------------------------------------


@torch.no_grad()
def randomise(model, seed):
    """Weights whose effects are all visible in the logits: no zero bias, no unit norm, no tiny branch."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    for name, value in sorted(model.state_dict().items()):
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("norm.weight"):
            value.copy_(1.0 + 0.15 * noise)
        elif name.endswith("bias"):
            value.copy_(0.1 * noise)
        elif "embed" in name:
            value.copy_(noise * 1.5 / math.sqrt(config.hidden_size))
        else:
            gain = 1.5 if name.endswith(("down_proj.weight", ".b.weight", "scar.out.weight", "scar.qkv.weight")) else 1.1
            value.copy_(gain * noise / math.sqrt(value.shape[1]))
    ids = torch.randint(0, 256, (6, min(64, config.max_position_embeddings)), generator=generator)
    for place, router in model.model.routers().items():
        # In layer order, because an earlier router decides what a later one reads.
        settle(router, model(ids).routing[place].x.flatten(0, 1), generator)
    scale_head(model, ids)


def settle(router, x, generator):
    """Makes one router useful on its inputs x [N, d]: directions centred, gain chosen, centroids among the rows."""
    mean = x.mean(0)
    router.weight -= torch.outer(router.weight @ mean, mean) / mean.dot(mean)
    router.weight /= (x @ router.weight.T).std(0)[:, None]
    base = router.weight.clone()
    best = choose(router, x, base, mean) if router.threshold > 0 else (1.4, 0.0)
    shape(router, base, mean, *best)
    if hasattr(router, "centroids"):
        rows = torch.randperm(len(x), generator=generator)[: len(router.centroids)]
        router.centroids.copy_(mean + 1.2 * (x[rows] - mean))


def shape(router, base, mean, gain, shift):
    """Logits of standard deviation `gain`, lowered by about `shift` along the mean input (a bias, where none is)."""
    router.weight.copy_(gain * base - shift * mean / mean.dot(mean))


def choose(router, x, base, mean, share=0.6):
    """The (gain, shift) with which the share of tokens that fire something is nearest to `share`."""
    softmax = router.c.score == "softmax"  # ignores a shift
    options = [(g, 0.0) for g in (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)] if softmax else [(1.4, s / 4) for s in range(-4, 20)]

    def miss(option):
        shape(router, base, mean, *option)
        return round(abs(router(x[None], None).flag.float().mean().item() - share), 2)

    return min(options, key=lambda option: (miss(option), abs(option[0] - 1.4)))


def scale_head(model, ids, spread=1.5):
    """A head of its own is scaled to logits of standard deviation `spread`; a tied one is what the embedding is."""
    head = getattr(model, "lm_head", None) or getattr(model, "classifier", None)
    if head is not None:
        head.weight *= spread / model(ids).logits.std()


# ---- golden outputs ---------------------------------------------------------------


def near_ties(model, ids):
    """Positions of ids [T] at which some routing decision has a margin below MARGIN, as a sorted list."""
    found = torch.zeros(len(ids), dtype=torch.bool)
    for place, r in model(ids[None]).routing.items():
        router = model.model.routers()[place]
        k, p = model.config.router.top_k, r.p[0].sort(-1, descending=True).values
        if k < p.shape[1]:  # who is the k-th? It matters only where it could fire.
            found |= (p[:, k - 1] - p[:, k] < MARGIN) & (p[:, k - 1] > router.threshold - MARGIN)
        if p.shape[1] > 1:  # who is first?
            found |= (p[:, 0] - p[:, 1] < MARGIN) & r.flag[0]
        if router.threshold > 0:
            found |= ((p[:, :k] - router.threshold).abs() < MARGIN).any(-1)
        if r.cluster is not None and len(router.centroids) > 1:
            distance = torch.cdist(r.x[0].double(), router.centroids.double()).square().sort(-1).values
            found |= (distance[:, 1] - distance[:, 0]) / distance[:, 0] < MARGIN
    return found.nonzero().flatten().tolist()


@torch.no_grad()
def prompt(model, length, first_fires, generator):
    """Random ids [length] without a near-tie: offending tokens are drawn again until none is left. A classifier reads
    position 0 alone, so there the last routing should fire or not as `first_fires` says, if that can be had."""
    limit = 262 if model.config.causal else 260
    ids = torch.randint(0, limit, (length,), generator=generator)
    if model.config.causal:
        ids[0] = 257  # <s>
    for attempt in range(400):
        bad = near_ties(model, ids)
        if not model.config.causal and attempt < 100:
            bad += [0] * any(r.flag[0, 0] != first_fires for r in last(model(ids[None]).routing))
        if not bad:
            return ids
        bad = bad[:1] if model.config.causal else bad
        ids[bad] = torch.randint(0, 256, (len(bad),), generator=generator)
    raise RuntimeError(f"near-ties remain at {bad}")


def last(routing):
    return list(routing.values())[-1:]


def lengths(config, number):
    limit = config.max_position_embeddings
    if limit < 192:
        return [1, 33] if number % 2 else [1, limit]
    return [1, 33, limit if number % 2 else limit - 7]


@torch.no_grad()
def golden(directory, number):
    """Writes golden.safetensors: an f32 run of the saved weights. Returns the share of tokens with a set flag."""
    model = checkpoint.load(directory)
    generator = torch.Generator().manual_seed(1000 + number)
    tensors, flags = {}, []
    for i, length in enumerate(lengths(model.config, number)):
        ids = prompt(model, length, i == 1, generator)
        out = model(ids[None])
        tensors[f"{i}.ids"] = ids.int()
        tensors[f"{i}.logits"] = out.logits[0, -16:] if model.config.causal else out.logits[0]
        for place, r in out.routing.items():
            prefix = f"{i}.final" if place == "final" else f"{i}.layers.{place}"
            tensors[f"{prefix}.p"] = r.p[0]
            tensors[f"{prefix}.fired"] = r.fired[0].to(torch.uint8)
            tensors[f"{prefix}.domain"] = r.domain[0].int()
            if r.cluster is not None:
                tensors[f"{prefix}.cluster"] = r.cluster[0].int()
            flags.append(r.flag[0].float())
    save_file({k: v.contiguous() for k, v in tensors.items()}, pathlib.Path(directory) / "golden.safetensors")
    return torch.cat(flags).mean().item() if flags else None


# ---- the files around the weights -------------------------------------------------


def byte_alphabet():
    """The printable character that stands for each byte in GPT-2's byte-level BPE."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def tokenizer(causal):
    """Byte-level BPE without merges: id = byte, then the special tokens."""
    specials = CAUSAL_SPECIALS if causal else CLASS_SPECIALS
    vocab = {char: byte for byte, char in enumerate(byte_alphabet())}
    made = Tokenizer(models.BPE(vocab=vocab | {s: 256 + i for i, s in enumerate(specials)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=causal)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    single, pairs = ("<s> $A", [("<s>", 257)]) if causal else ("[CLS] $A [SEP]", [("[CLS]", 257), ("[SEP]", 258)])
    made.post_processor = processors.TemplateProcessing(single=single, special_tokens=pairs)
    return made


def write_json(path, data):
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_texts(directory, config, number):
    """tokenizer.json, tokenizer_config.json, generation_config.json."""
    made = json.loads(tokenizer(config.causal).to_str())
    (directory / "tokenizer.json").write_text(json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n")
    names = CAUSAL_SPECIALS if config.causal else CLASS_SPECIALS
    kinds = ("pad_token", "bos_token", "eos_token") if config.causal else ("pad_token", "cls_token", "sep_token")
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config.max_position_embeddings}
    about |= dict(zip(kinds, names)) | {"clean_up_tokenization_spaces": False}
    if config.causal:
        about["chat_template"] = CHAT_TEMPLATE
        sampling = {"do_sample": True, "temperature": 0.8, "top_p": 0.9, "top_k": 20} if number % 2 else {"do_sample": False}
        ids = {"bos_token_id": 257, "eos_token_id": [258, 256] if number % 3 == 0 else 258, "pad_token_id": 256}
        write_json(directory / "generation_config.json", ids | sampling | {"max_new_tokens": 32})
    else:
        write_json(directory / "generation_config.json", {"pad_token_id": 256})
    write_json(directory / "tokenizer_config.json", about)


def write_data(directory, config):
    """Small calibration/ and evaluation/ sets: a few made-up lines for each domain."""
    for part, count in (("calibration", 4), ("evaluation", 3)):
        (directory / part).mkdir(exist_ok=True)
        for d, domain in enumerate(config.domains):
            lines = []
            for i in range(count):
                line = {"text": f"A {part} line of {domain}, number {i}: {'so it goes. ' * (1 + (d + i) % 3)}".strip()}
                if not config.causal:
                    line["label"] = (d + i) % config.num_labels
                lines.append(json.dumps(line) + "\n")
            (directory / part / f"{domain}.jsonl").write_text("".join(lines))


def is_small_tensor(name):
    """What the packed model keeps in f32 anyway: norms, biases, router, centroids."""
    return name.endswith(("norm.weight", "bias", "router.weight", "centroids"))


def write(directory, row, number, data):
    """One checkpoint directory; `row` is completed by `number`. Returns (config, share of flagged tokens)."""
    directory.mkdir(parents=True)
    config = config_of(row, number)
    model = build(config).eval()
    for attempt in range(20):
        try:
            randomise(model, 100 * number + attempt)
            checkpoint.save(
                model,
                directory,
                TORCH[row["dtype"]],
                dtype_of=lambda name: torch.float32 if row["small_tensors"] == "float32" and is_small_tensor(name) else None,
                max_shard_bytes=60_000 if row["sharded"] else None,
            )
            write_json(directory / "config.json", config_json(config, row))
            flagged = golden(directory, number)
            break
        except RuntimeError:  # near-ties that no prompt avoids: other weights
            continue
    else:
        raise RuntimeError(f"{directory.name}: no weights without near-ties")
    write_texts(directory, config, number)
    if data:
        write_data(directory, config)
    return config, flagged
