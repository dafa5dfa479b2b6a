"""Rows of `fetch_descriptions.py` -> a tokenizer, and batches of token ids that need no padding.

A batch holds rows of one length only: SCAR and k-means look at every position, so padding would have
to be masked in both, and on two cores it would cost time as well.
"""

import json

import torch
from fetch_descriptions import CACHE, DOMAIN_OF, GROUPS, LABELS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

MAX_TOKENS = 128
VOCABULARY = 8192
PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
DOMAINS = list(GROUPS)
DOMAIN_IDS = torch.tensor([DOMAINS.index(DOMAIN_OF[label]) for label in LABELS])  # label id -> domain id


def read_rows(split):
    """The rows of one split, as `fetch_descriptions.py` wrote them."""
    path = CACHE / "descriptions" / f"{split}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def train_tokenizer(texts):
    """Lower-cased WordPiece of VOCABULARY pieces whose post-processor adds [CLS] and [SEP]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, limit_alphabet=200,
                                         show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)])
    return tokenizer


def load_tokenizer(path):
    """The tokenizer, cutting texts on the right to the model's limit; the special tokens stay."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


class Encoded:
    """A split as token ids: `ids[i]` is a list of ints, `labels[i]` an index into LABELS."""

    def __init__(self, tokenizer, rows):
        self.ids = [encoding.ids for encoding in tokenizer.encode_batch([row["text"] for row in rows])]
        self.labels = torch.tensor([LABELS.index(row["label"]) for row in rows])

    def __len__(self):
        return len(self.ids)


def cut_middle(ids, limit):
    """At most `limit` ids: what a package is stands at the start, what part of it at the end."""
    if len(ids) <= limit:
        return ids
    tail = limit * 2 // 5
    return ids[: limit - tail] + ids[-tail:]


def batches(encoded, rows, tokens, generator=None, limit=MAX_TOKENS):
    """Yields (row numbers [n], ids [n, T]) with n * T about `tokens`, every row of one length.

    With a generator the rows are shuffled first and the batches afterwards."""
    order = torch.randperm(len(rows), generator=generator).tolist() if generator else range(len(rows))
    by_length = {}
    for row in (rows[i] for i in order):
        by_length.setdefault(min(len(encoded.ids[row]), limit), []).append(row)
    groups = []
    for length, members in sorted(by_length.items()):
        size = max(1, tokens // length)
        groups += [members[at : at + size] for at in range(0, len(members), size)]
    if generator:
        groups = [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]
    for group in groups:
        yield torch.tensor(group), torch.tensor([cut_middle(encoded.ids[row], limit) for row in group])


def mask_tokens(ids, share, generator):
    """Hides a share of the tokens, never [CLS] or [SEP]: no single word may decide."""
    hide = torch.rand(ids.shape, generator=generator) < share
    return torch.where(hide & (ids > MASK), MASK, ids)
