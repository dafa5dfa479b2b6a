"""GGUF files of every architecture that is read, made by llama.cpp's own converter from random models of tests/parity.

The same model is read from transformers' folder and from the file: the logits are the same, to the bit. Where transformers
reads the file too, its logits stand beside; those of granite, which it does not read, are llama.cpp's. Needs torch, transformers
5.24, gguf and llama-cpp-python from PyPI. Writes the section `gguf` of docs/results/importers.md.

    python tests/importers/gguf_files.py [ARCHITECTURE ...]
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

from fetch import LLAMA_CPP, package
from page import table, write
from smollm2 import logits

ROOT = Path(__file__).parents[2]
LENGTH = 48
# Architecture, and models by family and number in `tests/parity/families.py`; what its files cannot say is left out below.
MODELS = [
    ("llama", "llama", 0), ("llama", "llama", 1), ("llama", "mixtral", 0), ("qwen2", "qwen2", 0), ("qwen2moe", "qwen2_moe", 0),
    ("qwen3", "qwen3", 0), ("qwen3moe", "qwen3_moe", 0), ("olmoe", "olmoe", 0), ("gemma2", "gemma2", 0), ("gemma3", "gemma3_text", 0),
    ("lfm2", "lfm2", 0), ("lfm2moe", "lfm2_moe", 0), ("granite", "granite", 0), ("granitemoe", "granitemoe", 0),
    ("granitemoe", "granitemoeshared", 0), ("gpt-oss", "gpt_oss", 0),
]
# What the files of an architecture take for granted.
GRANTED = {
    "qwen2moe": {"norm_topk_prob": False, "mlp_only_layers": [], "decoder_sparse_step": 1},
    "qwen3moe": {"moe_intermediate_size": 768, "norm_topk_prob": True, "mlp_only_layers": [], "decoder_sparse_step": 1},
    "qwen2": {"use_sliding_window": False},
    "qwen3": {"use_sliding_window": False, "head_dim": 128},
    "olmoe": {"norm_topk_prob": False, "attention_bias": False, "rms_norm_eps": 1e-5},
    "llama": {},
    "gemma2": {"query_pre_attn_scalar": 16, "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False,
               "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    "gemma3": {"query_pre_attn_scalar": 256, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False,
               "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                                   "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}},
               "num_hidden_layers": 7, "layer_types": ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"]},
    "lfm2": {"conv_bias": False, "block_auto_adjust_ff_dim": False, "block_ffn_dim_multiplier": 1.0, "block_multiple_of": 8},
    "lfm2moe": {"conv_bias": False, "norm_topk_prob": True, "routed_scaling_factor": 1.0, "tie_word_embeddings": True},
    "granite": {"attention_bias": False},
    "granitemoe": {"attention_bias": False},
    "gpt-oss": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
}
SHARED = {"hidden_act": "silu"}
# What transformers reads whole: of llama no biases and no divisors of frequencies.
READ = [("llama", 0), ("qwen2", 0), ("qwen3", 0), ("qwen3_moe", 0), ("gemma3_text", 0), ("lfm2", 0)]


def parity():
    sys.path.insert(0, str(ROOT / "tests" / "parity"))
    import families
    import make
    return make, families


def converter():
    """llama.cpp's converter, which writes a vocabulary of its own: models of 64 tokens have no tokenizer."""
    found, = package(LLAMA_CPP).glob("llama_cpp_python-*/vendor/llama.cpp")
    sys.path[:0] = [str(found / "gguf-py"), str(found)]
    from conversion import get_model_class
    from conversion.base import gguf

    def convert(folder, architecture, file):
        made = get_model_class(architecture)
        class Small(made):
            model_arch = made.model_arch
            def set_vocab(self):
                size = self.hparams["vocab_size"]
                self.gguf_writer.add_tokenizer_model("gpt2")
                self.gguf_writer.add_tokenizer_pre("gpt-2")
                self.gguf_writer.add_token_list(["a", "b", "ab"] + [f"t{i}" for i in range(3, size)])
                self.gguf_writer.add_token_types([gguf.TokenType.NORMAL] * size)
                self.gguf_writer.add_token_merges(["a b"])
        tokenizer = folder / "tokenizer.json"
        # One family looks for the number of tokens there.
        tokenizer.write_text(json.dumps({"model": {"vocab": list(range(64))}, "added_tokens": []}))
        Small(folder, gguf.LlamaFileType.ALL_F32, file).write()
        tokenizer.unlink()
    return convert


def folder_of(make, families, family, number, granted, out):
    values = dict(families.FAMILIES[family][number])
    values.pop("head", None)
    values |= SHARED | granted
    config = make.configured(family, values)
    model = make.model_of(config, None)
    seed = sum(map(ord, family)) + number
    offset = -1.0 if family.startswith("gemma") else 0.0
    make.load(model, make.weights(model, seed, offset))
    model.save_pretrained(out)
    # Sizes the converter asks for and that are no features.
    path = out / "config.json"
    written = json.loads(path.read_text()) | {"max_position_embeddings": config.max_position_embeddings}
    for key in ("block_auto_adjust_ff_dim", "block_ffn_dim_multiplier", "block_multiple_of"):
        if family == "lfm2":
            written[key] = granted[key]
    path.write_text(json.dumps(written))
    return model, written["architectures"][0]


def by_llama_cpp(file, ids):
    from llama_cpp import Llama
    try:
        # Keys and values in F32.
        model = Llama(str(file), n_ctx=64, logits_all=True, verbose=False, n_threads=2, type_k=0, type_v=0)
    except ValueError:
        return None
    model.eval(ids)
    return np.array(model.scores[: len(ids)])


def main():
    make, families = parity()
    convert = converter()
    rows = []
    for architecture, family, number in MODELS:
        if sys.argv[1:] and architecture not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "model"
            model, name = folder_of(make, families, family, number, GRANTED[architecture], out)
            file = Path(scratch) / "model.gguf"
            convert(out, name, file)
            ids = np.random.default_rng(7).integers(0, model.config.vocab_size, LENGTH).tolist()
            with torch.no_grad():
                expected = model(torch.tensor([ids])).logits[0].float().numpy()
            folder, read = logits(out, ids), logits(file, ids)
            beside = "–"
            if (family, number) in READ:
                again = transformers.AutoModelForCausalLM.from_pretrained(
                    scratch, gguf_file=file.name, dtype=torch.float32, attn_implementation="eager").eval()
                with torch.no_grad():
                    beside = f"{np.abs(again(torch.tensor([ids])).logits[0].numpy() - read).max():.1e}"
            other = by_llama_cpp(file, ids)
            theirs = "does not load" if other is None else f"{np.abs(other - read).max():.1e}"
        rows.append([architecture, f"{family} {number}", f"{np.abs(expected).max():.1f}",
                     "the same" if np.array_equal(folder, read) else f"{np.abs(folder - read).max():.1e}",
                     f"{np.abs(expected - read).max():.1e}", beside, theirs])
        print(*rows[-1], sep=" | ", flush=True)
    if not sys.argv[1:]:
        write("gguf", f"""
Random models of tests/parity, written by the converter of `{LLAMA_CPP}` as F32. Logits of gemc's reference for {LENGTH} tokens; differences
are the largest of all.

{table(["architecture", "model", "largest logit", "folder and file", "to transformers, the folder", "to transformers, the file",
        "to llama.cpp, the file"], rows)}
""")


if __name__ == "__main__":
    main()
