"""A trained model -> a checkpoint, and what gemc says of it at each width: the judge of whatever is quantised."""

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


def gemc():
    """The command: what GEMC names, else the newest build of this repository, else what is on the path."""
    built = [ROOT / "target" / profile / "gemc" for profile in ("release", "ci", "debug")]
    newest = max((path for path in built if path.exists()), key=lambda path: path.stat().st_mtime, default=None)
    command = os.environ.get("GEMC") or newest and str(newest) or shutil.which("gemc")
    if not command:
        raise SystemExit("gemc: not found; build it (`cargo build --release -p gemc`) or name it in GEMC")
    return command


class Judge:
    """Short texts of every domain in a folder, as gemc reads them."""

    def __init__(self, corpus, tokens):
        """`tokens`: of each domain."""
        self.holder = tempfile.TemporaryDirectory(prefix="gemc-paper-")  # goes with the judge
        self.folder = Path(self.holder.name)
        self.windows, self.bytes = {}, {}
        for domain in corpus.domains:
            taken, size = [], 0
            for _, text in corpus.texts("judged", domain):
                ids = corpus.encode([text])[0]
                if len(ids) < 2:
                    continue
                taken.append((text, ids))
                size += len(ids)
                if size >= tokens:
                    break
            lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text, _ in taken]
            (self.folder / f"{domain}.jsonl").write_text("".join(lines), encoding="utf-8")
            cut = [(n, ids[i:i + 256]) for n, (_, ids) in enumerate(taken) for i in range(0, len(ids), 256)]
            cut = [(n, w) for n, w in cut if len(w) > 1]
            self.windows[domain] = Windows([w for _, w in cut], np.array([n for n, _ in cut]), np.array([corpus.bytes_of[w[1:]].sum() for _, w in cut]))

    def bits(self, domain, total):
        return total / np.log(2) / self.windows[domain].bytes.sum()

    def here(self, model):
        """{domain: bits a byte}, by PyTorch."""
        return {d: float(self.bits(d, nats(model, w).sum())) for d, w in self.windows.items()}

    def there(self, model, bits):
        """({domain: bits a byte of gemc's f32 reference}, the same of the compiled program, by gemc."""
        with tempfile.TemporaryDirectory(prefix="gemc-paper-") as folder:
            export(model, Path(folder))
            arguments = [gemc(), "verify", folder, "--texts", str(self.folder), "--per-document", "--json", "--tokens", "1000000000",
                         "--bits", bits, "--backend", "jit", "--threads", "2"]
            done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip()}")
        sums = {d: [0.0, 0.0] for d in self.windows}
        for text in json.loads(done.stdout)["texts"]:
            sums[text["domain"]][0] += text["nats_reference"]
            sums[text["domain"]][1] += text["nats"]
        return tuple({d: float(self.bits(d, s[which])) for d, s in sums.items()} for which in (0, 1))


def latency():
    """{device: milliseconds in which gem-cls classifies 128 tokens at 4.25 bits}, projected by the targets' costs."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="gemc-paper-") as folder:
        for target in ("pi4", "pixel6"):
            done = subprocess.run([gemc(), "plan", str(GEM_LM.parent / "gem-cls"), "--target", target, "--bits", "4.25", "--effort", "low",
                                   "-o", f"{folder}/plan.toml", "--json"], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr.strip())
            plan = json.loads(done.stdout)
            found[target] = {"milliseconds": plan["predicted_ms"], "projected": plan["projected"], "bits": plan["bits_per_weight"]}
    return found


def export(model, folder):
    """A checkpoint in f32, with gem-lm's tokenizer."""
    with torch.no_grad():
        save(merged(model), folder, torch.float32)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GEM_LM / name, folder / name)
