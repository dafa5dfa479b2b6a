"""A dense gem checkpoint directory <-> a GGUF file of architecture `llama`, so that llama.cpp can run the same weights.

llama.cpp's own converter refuses tokenizers that it does not know by hash; this writes what it would write: tokenizer
model `gpt2` with pre-tokenizer `gpt-2`, tensors in f32 under LLaMA's names. LLaMA files hold the rows of query and key
maps so that a rotated pair is two neighbours; checkpoints hold halves (as Hugging Face does): `interleave` and `halve`.

    python tests/peers/to_gguf.py examples/models/gem-lm-dense model.gguf
    python tests/peers/to_gguf.py --back model-Q4_K_M.gguf --like examples/models/gem-lm-dense DIR

`--back` dequantises every tensor and writes DIR, a checkpoint in f32 with the other files of `--like`.
"""

import argparse
import json
import shutil
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

LAYER = {"input_norm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_norm": "ffn_norm",
         "general.gate_proj": "ffn_gate", "general.up_proj": "ffn_up", "general.down_proj": "ffn_down"}
OUTSIDE = {"model.embed_tokens.weight": "token_embd.weight", "model.final_norm.weight": "output_norm.weight",
           "lm_head.weight": "output.weight"}
REQUIRED = {"norm": "rmsnorm", "norm_position": "pre", "position_embedding": "rope", "hidden_act": "silu",
            "mlp_gated": True}


def names(config):
    """{name in the checkpoint: name in the GGUF file}"""
    found = {k: v for k, v in OUTSIDE.items() if k != "lm_head.weight" or not config["tie_word_embeddings"]}
    for layer in range(config["num_hidden_layers"]):
        for ours, theirs in LAYER.items():
            found[f"model.layers.{layer}.{ours}.weight"] = f"blk.{layer}.{theirs}.weight"
    return found


def heads_of(name, config):
    """How many heads' rows a tensor holds that rotation pairs up; None for all others."""
    if name.endswith("q_proj.weight"):
        return config["num_attention_heads"]
    return config["num_key_value_heads"] if name.endswith("k_proj.weight") else None


def interleave(rows, heads):
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def halve(rows, heads):
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def read_weights(path):
    """Tensors of a bf16 or f32 file as f32; NumPy knows no bf16."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[8 + size + begin:8 + size + end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] == "F32":
            values = np.frombuffer(raw, np.float32)
        else:
            raise SystemExit(f"{name} is {entry['dtype']}; bf16 and f32 are known here")
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def check(config):
    for key, value in REQUIRED.items():
        if config.get(key, value) != value:
            raise SystemExit(f"`{key}` is {config[key]!r}; a `llama` file can hold {value!r} only")
    if config.get("domains"):
        raise SystemExit("the checkpoint routes tokens; llama.cpp has no such architecture")


def write_tokenizer(writer, path):
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    special = {t["id"] for t in tokenizer["added_tokens"] if t["special"]}
    tokens = sorted(vocabulary, key=vocabulary.get)
    kinds = [gguf.TokenType.CONTROL if vocabulary[t] in special else gguf.TokenType.NORMAL for t in tokens]
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def to_gguf(checkpoint, out):
    config = json.loads((checkpoint / "config.json").read_text())
    check(config)
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_name(checkpoint.name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    write_tokenizer(writer, checkpoint / "tokenizer.json")
    weights = read_weights(checkpoint / "model.safetensors")
    for ours, theirs in names(config).items():
        values, heads = weights.pop(ours), heads_of(ours, config)
        writer.add_tensor(theirs, np.ascontiguousarray(interleave(values, heads) if heads else values))
    if weights:
        raise SystemExit(f"tensors without a name in a `llama` file: {sorted(weights)}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def back(path, like, out):
    config = json.loads((like / "config.json").read_text())
    theirs = {v: k for k, v in names(config).items()}
    tensors, sizes = {}, {}
    for tensor in gguf.GGUFReader(str(path)).tensors:
        name = theirs.pop(tensor.name)
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        values, heads = values.reshape([int(n) for n in reversed(tensor.shape)]), heads_of(name, config)
        tensors[name] = np.ascontiguousarray(halve(values, heads) if heads else values)
        sizes[name] = {"type": tensor.tensor_type.name, "bytes": int(tensor.n_bytes)}
    if theirs:
        raise SystemExit(f"{path} lacks {sorted(theirs)}")
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(like / name, out / name)
    (out / "gguf.json").write_text(json.dumps({"file": path.name, "file_bytes": path.stat().st_size, "tensors": sizes}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--back", action="store_true", help="source is a GGUF file")
    parser.add_argument("--like", type=Path, help="with --back: the checkpoint that the file was made from")
    args = parser.parse_args()
    if args.back:
        if args.like is None:
            parser.error("--back needs --like")
        back(args.source, args.like, args.out)
    else:
        to_gguf(args.source, args.out)


if __name__ == "__main__":
    main()
