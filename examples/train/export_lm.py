"""A training state of train_lm.py and the corpus -> a gem-lm checkpoint directory, complete.

Writes config.json, model.safetensors (bf16), tokenizer.json, tokenizer_config.json, generation_config.json,
calibration/ and evaluation/ (at most 64 KiB a domain and split, whole documents), SOURCES.tsv (of the
packages whose text those files hold) and golden.safetensors (f32 outputs of the saved weights).
`eval_lm.py --write-reference` adds reference_ppl.json.

    python examples/train/export_lm.py [--state last.pt] [--out examples/models/gem-lm] [--text-of DIR]

`--text-of` takes tokenizer and texts from another checkpoint instead of the corpus, for a twin of it; but those of the domains that
`--anew` names, whose documents the corpus has divided in another way since.
"""

import argparse
import collections
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from eval_lm import documents
from gem import GemConfig, build, load, save
from tokenizer import tokenizer_config
from train_lm import CACHE, DOMAINS

TEXT_LIMIT = 64 << 10
GOLDEN_LENGTHS = (1, 130, 300)


def write_text(corpus, out, domains=DOMAINS):
    """Whole held-out documents up to the limit, taken in turn from the packages. Returns {domain: packages}."""
    used = collections.defaultdict(set)
    for split in ("calibration", "evaluation"):
        (out / split).mkdir(parents=True, exist_ok=True)
        for domain in domains:
            by_package = collections.defaultdict(list)
            for line in (corpus / split / f"{domain}.jsonl").read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                by_package[row["package"]].append(row["text"])
            lines, size = [], 0
            queues = sorted(by_package.items())
            while any(texts for _, texts in queues):
                for package, texts in queues:
                    if not texts:
                        continue
                    line = json.dumps({"text": texts.pop(0)}, ensure_ascii=False) + "\n"
                    if size + len(line.encode()) <= TEXT_LIMIT:
                        lines.append(line)
                        size += len(line.encode())
                        used[domain].add(package)
            (out / split / f"{domain}.jsonl").write_text("".join(lines), encoding="utf-8")
    return used


def write_sources(corpus, out, used, kept=()):
    """Of the packages that are used, and `kept`: lines of other domains."""
    rows = [line.split("\t") for line in (corpus / "SOURCES.tsv").read_text().splitlines()]
    known = {(r[0], r[1]) for r in rows}
    missing = {(d, p) for d, ps in used.items() for p in ps} - known
    if missing:
        raise SystemExit(f"no source record for {sorted(missing)}")
    lines = ["\t".join(r) + "\n" for r in rows if r[1] in used[r[0]]]
    order = lambda line: DOMAINS.index(line.split("\t")[0])
    lines = ["domain\tpackage\tversion\tlicences\n", *sorted([*kept, *lines], key=order)]
    (out / "SOURCES.tsv").write_text("".join(lines), encoding="utf-8")


def write_weights(state, out, threshold):
    config = GemConfig.from_dict(state["config"])
    if threshold is not None:
        config.router.threshold = threshold
    model = build(config)
    model.load_state_dict(state["model"])
    config.extra["bos_token_id"] = config.extra["eos_token_id"] = 0
    save(model, out, torch.bfloat16)


def copy_text(other, out):
    """Tokenizer, texts and their sources of another checkpoint."""
    for name in ("tokenizer.json", "SOURCES.tsv"):
        shutil.copy(other / name, out / name)
    for split in ("calibration", "evaluation"):
        shutil.copytree(other / split, out / split, dirs_exist_ok=True)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@torch.no_grad()
def write_golden(out):
    """f32 outputs of the saved weights on the longest-enough evaluation texts of three domains."""
    model, tokenizer = load(out), Tokenizer.from_file(str(out / "tokenizer.json"))
    tensors = {}
    for i, (length, domain) in enumerate(zip(GOLDEN_LENGTHS, ("law", "commonsense", "conversation"))):
        texts = documents(out / "evaluation" / f"{domain}.jsonl")
        ids = next(ids for ids in (tokenizer.encode(t).ids for t in texts) if len(ids) >= length)[:length]
        result = model(torch.tensor([ids]))
        tensors[f"{i}.ids"] = torch.tensor(ids, dtype=torch.int32)
        tensors[f"{i}.logits"] = result.logits[0, -16:]
        for layer, r in result.routing.items():
            prefix = f"{i}.layers.{layer}"
            tensors[f"{prefix}.p"] = r.p[0]
            tensors[f"{prefix}.fired"] = r.fired[0].to(torch.uint8)
            tensors[f"{prefix}.domain"] = r.domain[0].int()
            if r.cluster is not None:
                tensors[f"{prefix}.cluster"] = r.cluster[0].int()
    save_file({k: v.contiguous() for k, v in tensors.items()}, out / "golden.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--state", type=Path, default=CACHE / "gem-lm" / "last.pt")
    parser.add_argument("--corpus", type=Path, default=CACHE / "corpus")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "models" / "gem-lm")
    parser.add_argument("--text-of", type=Path, help="a checkpoint whose tokenizer and texts this one has, too")
    parser.add_argument("--anew", type=lambda text: text.split(","), default=[], help="domains whose texts come from the corpus all the same")
    parser.add_argument("--threshold", type=float, help="another threshold than the one trained for")
    args = parser.parse_args()
    torch.set_num_threads(2)
    args.out.mkdir(parents=True, exist_ok=True)
    write_weights(torch.load(args.state, weights_only=True), args.out, args.threshold)
    if args.text_of:
        copy_text(args.text_of, args.out)
        if args.anew:
            lines = (args.out / "SOURCES.tsv").read_text(encoding="utf-8").splitlines(keepends=True)[1:]
            others = [line for line in lines if line.split("\t")[0] not in args.anew]
            write_sources(args.corpus, args.out, write_text(args.corpus, args.out, args.anew), others)
    else:
        shutil.copy(args.corpus / "tokenizer.json", args.out / "tokenizer.json")
        write_sources(args.corpus, args.out, write_text(args.corpus, args.out))
    write_json(args.out / "tokenizer_config.json", tokenizer_config())
    write_json(args.out / "generation_config.json", {
        "eos_token_id": 0, "do_sample": True, "temperature": 0.8, "top_p": 0.95, "repetition_penalty": 1.1,
        "max_new_tokens": 200})
    write_golden(args.out)
    for path in args.out.glob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
