"""The trained student -> the checkpoint folder: bf16 weights, config, tokenizer, texts, SOURCES, goldens.

    python examples/train/export_cls.py [--out examples/models/gem-cls]

The texts are test rows (`evaluation/`) and validation rows (`calibration/`), one a source package, the
labels of a domain in turn, and only of packages whose packaging has a clear free licence. The goldens
come from the weights as they stand in the file, run in f32.
"""

import argparse
import collections
import hashlib
import json
import shutil
from pathlib import Path

import torch
from cls_data import CLS, DOMAINS, MASK, MAX_TOKENS, PAD, SEP, UNK, load_tokenizer, read_rows
from cls_licences import licences
from fetch_descriptions import GROUPS
from gem import GemConfig, build, load, save
from safetensors.torch import save_file
from train_cls import ENCODER, HOME, ROUTING

OUT = Path(__file__).resolve().parents[1] / "models" / "gem-cls"
LARGEST_PACKAGE = 300_000  # bytes: the copyright file is read from the package itself
# Folder -> split, bytes per domain, packages asked per domain. Rows are 0.4 KB on average.
TEXTS = {"evaluation": ("test", 40 * 1024, 120), "calibration": ("validation", 12 * 1024, 40)}


def order_of(row):
    return hashlib.sha256(row["package"].encode()).digest()


def candidates(rows, domain, count):
    """Rows of a domain, one per source, its labels in turn, in an order that only names decide."""
    queues, sources = collections.defaultdict(list), set()
    for row in sorted(rows, key=order_of):
        if row["label"] in GROUPS[domain] and row["source"] not in sources and row["size"] <= LARGEST_PACKAGE:
            sources.add(row["source"])
            queues[row["label"]].append(row)
    turns = [(at, label, row) for label, queue in queues.items() for at, row in enumerate(queue)]
    return [row for _, _, row in sorted(turns, key=lambda turn: turn[:2])][:count]


def line_of(row):
    return json.dumps({"text": row["text"], "label": row["label"]}, ensure_ascii=False) + "\n"


def fill(rows, known, limit):
    """The rows with a known licence, as many as fit into `limit` bytes."""
    chosen, size = [], 0
    for row in rows:
        size += len(line_of(row).encode()) if known[row["package"]] else 0
        if size > limit:
            break
        if known[row["package"]]:
            chosen.append(row)
    return chosen


def write_texts(out):
    """evaluation/ and calibration/ and the SOURCES file that names every package used."""
    asked = {(folder, domain): candidates(read_rows(split), domain, count)
             for folder, (split, _, count) in TEXTS.items() for domain in DOMAINS}
    known = licences([row["package"] for rows in asked.values() for row in rows])
    used = []
    for (folder, domain), rows in asked.items():
        chosen = fill(rows, known, TEXTS[folder][1])
        (out / folder).mkdir(parents=True, exist_ok=True)
        (out / folder / f"{domain}.jsonl").write_text("".join(map(line_of, chosen)), encoding="utf-8")
        used += [(row["package"], row["version"], row["source"], known[row["package"]], folder) for row in chosen]
    head = [
        "# Texts in evaluation/ and calibration/: long descriptions of binary packages of Debian 12 (bookworm), main.",
        "# A description is part of debian/control; the licence is that of debian/* in the package's copyright file",
        "# (of * where it names no other). Packages whose file is not machine-readable were left out. Own names of a",
        "# package were taken out of its text and line breaks joined; see examples/train/fetch_descriptions.py.",
        "# The model itself was trained on descriptions of the same release, none of which is stored here.",
        "# package, version, source, licence, used in",
    ]
    (out / "SOURCES").write_text("\n".join(head + ["\t".join(row) for row in sorted(used)]) + "\n", encoding="utf-8")
    print(f"texts of {len(used)} packages; {sum(v is None for v in known.values())} of {len(known)} left out as unclear")


def write_tokenizer(out):
    shutil.copy(HOME / "tokenizer.json", out / "tokenizer.json")
    tokens = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_TOKENS, "do_lower_case": True,
              "truncation_side": "right", **tokens}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_weights(out, weights):
    ids = {"pad_token_id": PAD, "unk_token_id": UNK, "cls_token_id": CLS, "sep_token_id": SEP, "mask_token_id": MASK}
    label2id = {label: int(i) for i, label in ENCODER["id2label"].items()}
    model = build(GemConfig(**ENCODER, **ROUTING, extra={**ids, "label2id": label2id}))
    model.load_state_dict(torch.load(weights, weights_only=True))
    save(model, out, torch.bfloat16)


@torch.no_grad()
def write_golden(out):
    """Three test texts: the shortest and a middling one, and one that is cut at the limit."""
    model, tokenizer = load(out), load_tokenizer(out / "tokenizer.json")
    texts = [json.loads(line)["text"] for domain in DOMAINS
             for line in (out / "evaluation" / f"{domain}.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = sorted(texts, key=lambda text: (len(tokenizer.encode(text).ids), text))
    tensors = {}
    for i, text in enumerate((texts[0], texts[len(texts) // 2], texts[-1])):
        ids = torch.tensor(tokenizer.encode(text).ids)
        output = model(ids[None])
        routing = output.routing["final"]
        tensors[f"{i}.ids"] = ids.to(torch.int32)
        tensors[f"{i}.logits"] = output.logits[0]
        tensors[f"{i}.final.p"] = routing.p[0]
        tensors[f"{i}.final.fired"] = routing.fired[0].to(torch.uint8)
        tensors[f"{i}.final.cluster"] = routing.cluster[0].to(torch.int32)
        tensors[f"{i}.final.domain"] = routing.domain[0].to(torch.int32)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out / "golden.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--weights", type=Path, default=HOME / "student.pt")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    write_tokenizer(args.out)
    write_weights(args.out, args.weights)
    write_texts(args.out)
    write_golden(args.out)


if __name__ == "__main__":
    main()
