"""What gemc makes of texts and conversations, through the program `texts` of this folder (`texts.rs`)."""

import json
import os
import subprocess
from pathlib import Path

from fetch import LLAMA_CPP, package

ROOT = Path(__file__).parents[2]


def program():
    """Beside the gemc that GEMC names, else that of the profile `ci`; built where it is not there."""
    gemc = Path(os.environ.get("GEMC", ROOT / "target" / "ci" / "gemc"))
    texts = gemc.parent / "examples" / "texts"
    if not texts.exists():
        subprocess.run(["cargo", "build", "--profile", "ci", "--workspace", "--example", "texts"], cwd=ROOT, check=True)
    return texts


def rebuild(gguf, folder):
    """Writes the tokenizer in a GGUF file's metadata as files."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([program(), "rebuild", gguf, folder], check=True)
    return folder


def ask(arguments, requests):
    """The answers to a list of requests."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([program(), *arguments], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    # A text may hold other ends of lines than `\n`.
    return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


def llama_cpp():
    """The folder `models` of llama.cpp: vocabularies and chat templates."""
    folder, = package(LLAMA_CPP).glob("llama_cpp_python-*/vendor/llama.cpp/models")
    return folder
