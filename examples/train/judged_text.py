"""Held-out text of the corpus -> the part of it that no checkpoint's folder holds, so that nothing was chosen by it.

    python examples/train/judged_text.py --without examples/models/gem-lm [--without DIR] --out DIR

Writes `DIR/{domain}.jsonl`, one {"text"} a line. `protocol.toml` calls it the judged text.
"""

import argparse
import json
from pathlib import Path

from train_lm import CACHE, DOMAINS


def texts(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--corpus", type=Path, default=CACHE / "corpus")
    parser.add_argument("--without", type=Path, action="append", required=True, help="a checkpoint whose evaluation text is left out")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for domain in DOMAINS:
        seen = {text for model in args.without for text in texts(model / "evaluation" / f"{domain}.jsonl")}
        found = texts(args.corpus / "evaluation" / f"{domain}.jsonl")
        kept = [text for text in found if text not in seen]
        lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in kept]
        (args.out / f"{domain}.jsonl").write_text("".join(lines), encoding="utf-8")
        size = sum(len(text.encode()) for text in kept)
        print(f"{domain:<16}{len(kept):>4} of {len(found):>4} documents, {size:>9,} bytes")


if __name__ == "__main__":
    main()
