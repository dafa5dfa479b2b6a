"""The corpus, or a checkpoint's own texts -> streams to train on, and windows to choose rates and to judge by."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "train"))

from judged_text import pieces  # noqa: E402
from train_lm import CACHE  # noqa: E402

WINDOW = 256
GEM_LM = ROOT / "examples" / "models" / "gem-lm"
CONTEXT, CONTINUATION, CHOICES = 96, 24, 4  # of a choice item, in tokens; continuations that are offered


@dataclass
class Windows:
    """Windows of one domain, spread over its documents."""

    ids: list  # arrays of at most WINDOW ids
    documents: np.ndarray  # [windows], the document of each
    bytes: np.ndarray  # [windows], bytes of the predicted tokens: all but the first

    def first(self, count):
        """As many, spread evenly over these."""
        taken = min(count, len(self.ids))
        pick = [i * len(self.ids) // taken for i in range(taken)]
        return Windows([self.ids[i] for i in pick], self.documents[pick], self.bytes[pick])

    def batches(self, size=8):
        """(ids [B, T], predicted [B, T - 1]): padded on the right."""
        for i in range(0, len(self.ids), size):
            part = self.ids[i:i + size]
            ids = torch.zeros(len(part), max(map(len, part)), dtype=torch.long)
            real = torch.zeros_like(ids, dtype=torch.bool)
            for row, window in enumerate(part):
                ids[row, :len(window)] = torch.from_numpy(window)
                real[row, :len(window)] = True
            yield ids, real[:, 1:]


@dataclass
class Item:
    """One continuation choice: `ids[k]` is the context with continuation k; the one that belongs to it is `answer`."""

    ids: np.ndarray  # [CHOICES, CONTEXT + CONTINUATION]
    answer: int


class Corpus:
    """All domains' text as token ids. `small`: a checkpoint's committed texts instead of the fetched corpus."""

    def __init__(self, domains, small):
        self.domains, self.small = domains, small
        self.folder = CACHE / "corpus"
        self.tokenizer = Tokenizer.from_file(str(GEM_LM / "tokenizer.json"))
        # Byte-level pieces: a piece has as many characters as bytes.
        self.bytes_of = np.zeros(self.tokenizer.get_vocab_size(), dtype=np.int64)
        for piece, i in self.tokenizer.get_vocab().items():
            self.bytes_of[i] = len(piece)

    def encode(self, texts):
        return [np.asarray(e.ids, dtype=np.int64) for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def texts(self, split, domain):
        """[(document, text)] of `train`, `validation` or `judged`."""
        if self.small:
            where = {"train": "calibration", "validation": "evaluation", "judged": "evaluation"}[split]
            found = pieces(GEM_LM / where / f"{domain}.jsonl")
            half = max(1, len(found) // 2)
            return {"train": found, "validation": found[:half], "judged": found[half:] or found}[split]
        where = {"train": "train", "validation": "calibration", "judged": "evaluation"}[split]
        found = pieces(self.folder / where / f"{domain}.jsonl")
        if split != "judged":
            return found
        committed = {text for _, text in pieces(GEM_LM / "evaluation" / f"{domain}.jsonl")}
        gone = {document for document, text in found if text in committed}
        return [(document, text) for document, text in found if document not in gone]

    def stream(self, domain):
        """Ids to train on, one array."""
        if not self.small:
            return np.load(self.folder / "train" / f"{domain}.npy")
        return np.concatenate(self.encode([text for _, text in self.texts("train", domain)]))

    def windows_of_stream(self, domain, count):
        """Windows spread over the training stream, whose documents are not known any more."""
        stream = np.asarray(self.stream(domain), dtype=np.int64)
        starts = [i * (len(stream) - WINDOW) // count for i in range(count)]
        ids = [stream[start:start + WINDOW] for start in starts]
        return Windows(ids, np.zeros(count, dtype=int), np.array([self.bytes_of[w[1:]].sum() for w in ids]))

    def windows(self, split, domain):
        """All windows of more than one token."""
        found = self.texts(split, domain)
        ids, documents = [], []
        for (document, _), of in zip(found, self.encode([text for _, text in found])):
            cut = [of[i:i + WINDOW] for i in range(0, len(of), WINDOW)]
            cut = [window for window in cut if len(window) > 1]
            ids += cut
            documents += [document] * len(cut)
        names = sorted(set(documents))
        place = {name: i for i, name in enumerate(names)}
        size = np.array([self.bytes_of[window[1:]].sum() for window in ids])
        return Windows(ids, np.array([place[d] for d in documents]), size)

    def items(self, domain, count):
        """Continuation choices of the judged text; the answer's place goes round."""
        of = {}
        for document, text in self.texts("judged", domain):
            of.setdefault(document, []).append(text)
        documents = [np.concatenate(self.encode(texts)) for _, texts in sorted(of.items())]
        length = CONTEXT + CONTINUATION
        documents = [ids for ids in documents if len(ids) >= length]
        if len(documents) < 2:
            raise SystemExit(f"{domain}: continuation choices need two documents of {length} tokens; there are {len(documents)}")
        random = np.random.default_rng(len(domain) + 1000 * count)
        items = []
        for n in range(count):
            which = n % len(documents)
            start = int(random.integers(0, len(documents[which]) - length + 1))
            right = documents[which][start:start + length]
            wrong = []
            while len(wrong) < CHOICES - 1:
                other = documents[int(random.integers(0, len(documents)))]
                if other is documents[which]:
                    continue
                at = int(random.integers(0, len(other) - CONTINUATION + 1))
                wrong.append(np.concatenate([right[:CONTEXT], other[at:at + CONTINUATION]]))
            answer = n % CHOICES
            items.append(Item(np.stack(wrong[:answer] + [right] + wrong[answer:]), answer))
        return items
