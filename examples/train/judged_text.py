"""Held-out text of the corpus -> the part of it that no checkpoint's folder holds, so that nothing was chosen by it.

    python examples/train/judged_text.py --without examples/models/gem-lm [--without DIR] --out DIR

Writes `DIR/{domain}.jsonl`, one {"text", "document"} a line. `protocol.toml` calls it the judged text.
"""

import argparse
import json
from pathlib import Path

from train_lm import CACHE, DOMAINS


def pieces(path):
    """[(document, text)]: a long document is several lines; a line that names none is one."""
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row.get("document", f"line {i}"), row["text"]) for i, row in enumerate(rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--corpus", type=Path, default=CACHE / "corpus")
    parser.add_argument("--without", type=Path, action="append", required=True, help="a checkpoint whose evaluation text is left out")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for domain in DOMAINS:
        seen = {text for model in args.without for _, text in pieces(model / "evaluation" / f"{domain}.jsonl")}
        found = pieces(args.corpus / "evaluation" / f"{domain}.jsonl")
        # Of a document of which a checkpoint holds a piece, no other piece is kept.
        gone = {document for document, text in found if text in seen}
        kept = [(document, text) for document, text in found if document not in gone]
        lines = [json.dumps({"text": text, "document": document}, ensure_ascii=False) + "\n" for document, text in kept]
        (args.out / f"{domain}.jsonl").write_text("".join(lines), encoding="utf-8")
        size = sum(len(text.encode()) for _, text in kept)
        count = lambda pieces: len({document for document, _ in pieces})
        print(f"{domain:<16}{count(kept):>4} of {count(found):>4} documents, {size:>9,} bytes")


if __name__ == "__main__":
    main()
