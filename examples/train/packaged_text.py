"""The committed texts of gem-lm -> the texts that gemc has for checkpoints without any (gemc/src/texts/packaged/).

From every domain pieces of documents, evenly spread over its file, until they have a domain's share of the bytes.

    python examples/train/packaged_text.py
"""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "models" / "gem-lm"
OUT = ROOT / "gemc" / "src" / "texts" / "packaged"
SHARES = {"calibration": 16_000, "evaluation": 8_000}  # bytes of a domain
PIECE = 1_600  # bytes of a document at most


def pieces(text):
    """A document in pieces that end where a line or at least a word does."""
    while text:
        piece = text.encode()[:PIECE].decode(errors="ignore")
        if len(piece) < len(text):
            end = max(piece.rfind("\n"), piece.rfind(" ", len(piece) * 3 // 4))
            piece = piece[:end] if end > len(piece) // 2 else piece
        yield piece.strip()
        text = text[len(piece):].lstrip()


def domain(path, share):
    """Pieces of a domain, the first of every document before the second of any."""
    documents = [list(pieces(json.loads(line)["text"])) for line in path.read_text(encoding="utf-8").splitlines()]
    queue = [document[turn] for turn in range(max(map(len, documents))) for document in documents if turn < len(document)]
    queue = [piece for piece in queue if len(piece) > 200]
    mean = sum(len(piece.encode()) for piece in queue) / len(queue)
    step = max(1, int(len(queue) / (share / mean)))
    taken, size = [], 0
    for piece in queue[::step] + queue:
        if piece not in taken and size + len(piece.encode()) <= share:
            taken.append(piece)
            size += len(piece.encode())
    return taken


def main():
    for split, share in SHARES.items():
        with open(OUT / f"{split}.jsonl", "w", encoding="utf-8") as out:
            for path in sorted((MODEL / split).glob("*.jsonl")):
                for text in domain(path, share):
                    out.write(json.dumps({"domain": path.stem, "text": text}, ensure_ascii=False) + "\n")
    (OUT / "SOURCES.tsv").write_text((MODEL / "SOURCES.tsv").read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
