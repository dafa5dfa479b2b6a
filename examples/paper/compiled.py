"""A trained model -> a checkpoint, and what gemc says of it at each width: the judge of whatever is quantised."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

from gem import save
from judging import nats
from models import merged
from text import GEM_LM, ROOT, Windows


LENGTH = 128  # tokens of a text that gemc judges


def gemc():
    """The command: what GEMC names, else the newest build of this repository, else what is on the path."""
    built = [ROOT / "target" / profile / "gemc" for profile in ("release", "ci", "debug")]
    newest = max((path for path in built if path.exists()), key=lambda path: path.stat().st_mtime, default=None)
    command = os.environ.get("GEMC") or newest and str(newest) or shutil.which("gemc")
    if not command:
        raise SystemExit("gemc: not found; build it (`cargo build --release -p gemc`) or name it in GEMC")
    return command


class Judge:
    """The beginning of documents of every domain, spread over all of them, in a folder, as gemc reads them: one window each."""

    def __init__(self, corpus, tokens, cells):
        """`tokens`: of each domain, about."""
        self.holder = tempfile.TemporaryDirectory(prefix="gemc-paper-")  # goes with the judge
        self.folder, self.cells, self.windows = Path(self.holder.name), cells, {}
        digest = hashlib.sha256()
        for domain in corpus.domains:
            first = {}
            for document, text in corpus.texts("judged", domain):
                first.setdefault(document, text)
            documents, count = list(first.values()), max(1, tokens // LENGTH)
            taken = min(count, len(documents))
            texts = [beginning(corpus.tokenizer, documents[i * len(documents) // taken]) for i in range(taken)]
            ids = corpus.encode(texts)
            texts, ids = zip(*[(text, of) for text, of in zip(texts, ids) if len(of) > 1])
            lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
            (self.folder / f"{domain}.jsonl").write_text(lines, encoding="utf-8")
            digest.update(lines.encode())
            self.windows[domain] = Windows(list(ids), np.arange(len(ids)), np.array([corpus.bytes_of[w[1:]].sum() for w in ids]))
        self.digest, self.version = digest.hexdigest(), run(gemc(), "--version").strip()

    def here(self, model):
        """{domain: nats of each text}, by PyTorch."""
        return {d: nats(model, w) for d, w in self.windows.items()}

    def there(self, model, bits):
        """({domain: nats of each text by gemc's f32 reference}, the same of the compiled program); asked once."""
        state = hashlib.sha256()
        for name, value in sorted(model.state_dict().items()):
            state.update(name.encode() + value.contiguous().numpy().tobytes())
        key = {"what": "gemc", "model": state.hexdigest(), "text": self.digest, "bits": bits, "version": self.version}
        if self.cells.has(key):
            return self.cells.get(key)
        with tempfile.TemporaryDirectory(prefix="gemc-paper-") as folder:
            export(model, Path(folder))
            told = run(gemc(), "verify", folder, "--texts", str(self.folder), "--per-document", "--json", "--tokens", "1000000000", "--bits", bits,
                       "--backend", "jit", "--threads", "2")
        found = [{d: np.zeros(len(w.ids)) for d, w in self.windows.items()} for _ in range(2)]
        for document in json.loads(told)["documents"]:
            for of, which in zip(found, ("nats_reference", "nats")):
                of[document["domain"]][document["document"]] = document[which]
        return self.cells.put(key, tuple(found))


def beginning(tokenizer, text):
    """So much of a text as its first tokens are, which may be read in another way at the end."""
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    return text if len(offsets) <= LENGTH else text[:offsets[LENGTH - 1][1]]


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def latency():
    """{device: milliseconds in which gem-cls classifies 128 tokens at 4.25 bits}, projected by the targets' costs."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="gemc-paper-") as folder:
        for target in ("pi4", "pixel6"):
            plan = json.loads(run(gemc(), "plan", str(GEM_LM.parent / "gem-cls"), "--target", target, "--bits", "4.25", "--effort", "low",
                                  "-o", f"{folder}/plan.toml", "--json"))
            found[target] = {"milliseconds": plan["predicted_ms"], "projected": plan["projected"], "bits": plan["bits_per_weight"]}
    return found


def export(model, folder):
    """A checkpoint in f32, with gem-lm's tokenizer."""
    with torch.no_grad():
        save(merged(model), folder, torch.float32)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GEM_LM / name, folder / name)
