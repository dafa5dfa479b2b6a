"""Corpus text -> a byte-level BPE of 4,096 tokens, and the corpus as arrays of token ids.

The tokenizer (GPT-2's pre-tokenizer, no normaliser, one special token `<|endoftext|>` with id 0) is
trained on the same number of bytes from each domain, so that no domain's words crowd the others out.
Writes `tokenizer.json` and `{split}/{domain}.npy` (uint16; each document is followed by one id 0).

    python examples/train/tokenizer.py [--corpus DIR] [--tokenizer FILE to use instead of training one]
"""

import argparse
import json
import os
import random
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CACHE = Path(os.environ.get("GEM_TRAIN_CACHE", "~/.cache/gem-train")).expanduser()
VOCABULARY, SAMPLE_BYTES, END_OF_TEXT = 4096, 1_800_000, "<|endoftext|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}")


def read_texts(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def balanced_sample(corpus, domains):
    """Whole training documents in random order, about SAMPLE_BYTES of each domain."""
    for domain in domains:
        texts = read_texts(corpus / "train" / f"{domain}.jsonl")
        random.Random(0).shuffle(texts)
        size = 0
        for text in texts:
            size += len(text.encode())
            yield text
            if size > SAMPLE_BYTES:
                break


def train(corpus, domains):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[END_OF_TEXT], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(balanced_sample(corpus, domains), trainer)
    return tokenizer


def encode_split(tokenizer, texts):
    """One stream of ids, id 0 after each document."""
    ids = []
    for encoding in tokenizer.encode_batch(texts):
        ids += encoding.ids + [0]
    return np.asarray(ids, dtype=np.uint16)


def tokenizer_config():
    return {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 1024, "eos_token": END_OF_TEXT,
            "clean_up_tokenization_spaces": False, "chat_template": CHAT_TEMPLATE}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--corpus", type=Path, default=CACHE / "corpus")
    parser.add_argument("--tokenizer", type=Path, help="use this one: another model's")
    args = parser.parse_args()
    domains = sorted(p.stem for p in (args.corpus / "train").glob("*.jsonl"))
    tokenizer = Tokenizer.from_file(str(args.tokenizer)) if args.tokenizer else train(args.corpus, domains)
    tokenizer.save(str(args.corpus / "tokenizer.json"))
    for split in ("train", "calibration", "evaluation"):
        for domain in domains:
            texts = read_texts(args.corpus / split / f"{domain}.jsonl")
            ids = encode_split(tokenizer, texts)
            np.save(args.corpus / split / f"{domain}.npy", ids)
            size = sum(len(t.encode()) for t in texts)
            print(f"{split:<12}{domain:<16}{len(ids):>9,} tokens, {size / len(ids):.2f} bytes a token", flush=True)


if __name__ == "__main__":
    main()
