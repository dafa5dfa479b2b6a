"""Committed text -> texts to judge with and, of other documents, text to plan with. The same on every machine."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def documents():
    """Lists of documents by domain: the calibration text of the example models, and this repository's own pages."""
    found = {}
    for model in ("gem-lm", "gem-cls"):
        for file in sorted((ROOT / "examples" / "models" / model / "calibration").glob("*.jsonl")):
            lines = file.read_text(encoding="utf-8").splitlines()
            found[f"{model}-{file.stem}"] = [json.loads(line)["text"] for line in lines]
    pages = sorted((ROOT / "docs").glob("*.md"))
    found["docs"] = [part for page in pages for part in re.split(r"\n#+ ", page.read_text(encoding="utf-8"))]
    return found


def calibration(folder):
    """Writes every second document, as `gemc plan` reads text."""
    folder.mkdir(parents=True, exist_ok=True)
    for domain, all_of_it in documents().items():
        lines = [json.dumps({"text": text}) for text in all_of_it[1::2]]
        (folder / f"{domain}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def texts(count, length, shortest, longest):
    """`count` texts of the other documents, of `shortest` to `longest` tokens, which `length` counts; spread evenly over the
    logarithm of their length."""
    sources = [text.split() for all_of_it in documents().values() for text in all_of_it[0::2]]
    found, step = [], 0
    while len(found) < count:
        words = sources[step % len(sources)]
        wanted = shortest * (longest / shortest) ** ((step * 0.6180339887) % 1.0)
        text = piece(words, step * 7919, wanted, length)
        step += 1
        if text and shortest <= length(text) <= longest and text not in found:
            found.append(text)
    return found


def piece(words, start, wanted, length):
    """Words from somewhere on, as many as stay within `wanted` tokens."""
    start %= max(len(words) - 3, 1)
    least, most = 0, min(len(words) - start, int(wanted))
    while least < most:
        middle = (least + most + 1) // 2
        if length(" ".join(words[start : start + middle])) <= wanted:
            least = middle
        else:
            most = middle - 1
    return " ".join(words[start : start + least])
