"""A dense checkpoint, quantised by llama.cpp's own tools -> read-back checkpoints in f32, one folder per type.

Fetches llama.cpp's source (the sdist of PyPI's `llama-cpp-python` holds it), builds `llama-quantize` and `llama-imatrix`,
writes the checkpoint as GGUF, makes an importance matrix from the checkpoint's own calibration text, quantises, and
dequantises every tensor again. What comes out goes to `cargo run --release -p gemc-lab --bin peers`. Needs a C++ compiler,
and `gguf`, `safetensors`, `numpy`, `scikit-build-core`, `cmake` and `ninja` from PyPI.

    python tests/peers/llama_cpp.py examples/models/gem-lm-dense OUT [--types Q5_K_M Q4_K_M IQ3_M] [--work DIR]
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from to_gguf import back, to_gguf

PACKAGE = "llama-cpp-python==0.3.36"
TOOLS = ("llama-quantize", "llama-imatrix")
BENCH = "llama-bench"
CONTEXT = 256  # tokens of a chunk of the importance matrix: the windows that the model was trained on


def run(*command, **more):
    print("+", *command, file=sys.stderr, flush=True)
    subprocess.run([str(c) for c in command], check=True, **more)


def source(work):
    """Folder of llama.cpp's source, fetched once."""
    found = list(work.glob("llama_cpp_python-*/vendor/llama.cpp"))
    if not found:
        run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
            "-d", work, PACKAGE)
        archive, = work.glob("llama_cpp_python-*.tar.gz")
        with tarfile.open(archive) as files:
            files.extractall(work, filter="data")
        found = list(work.glob("llama_cpp_python-*/vendor/llama.cpp"))
    return found[0]


def tools(work, wanted=TOOLS, options=()):
    """{tool: program}, built once, without network, servers or GPUs; for this machine unless options of CMake say otherwise."""
    build = work / "-".join(["build", *(option.split("=")[0].lower() for option in options)])
    programs = {tool: build / "bin" / tool for tool in wanted}
    if not all(program.exists() for program in programs.values()):
        off = ("LLAMA_CURL", "LLAMA_OPENSSL", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_SERVER", "GGML_OPENMP",
               "BUILD_SHARED_LIBS")
        path = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        run("cmake", "-S", source(work), "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
            *(f"-D{option}=OFF" for option in off), *(f"-D{option}" for option in options), env=path)
        run("cmake", "--build", build, "--target", *wanted, env=path)
    return programs


def calibration_text(checkpoint, out):
    """One text file of all calibration documents, domains in turn as the planner takes them."""
    queues = [[json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
              for path in sorted((checkpoint / "calibration").glob("*.jsonl"))]
    with open(out, "w", encoding="utf-8") as text:
        for row in range(max(map(len, queues))):
            for queue in queues:
                if row < len(queue):
                    text.write(queue[row] + "\n\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--types", nargs="+", default=["Q5_K_M", "Q4_K_M", "IQ3_M"])
    parser.add_argument("--work", type=Path, help="where source and programs are kept; OUT/work if left out")
    args = parser.parse_args()
    work = args.work or args.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    programs = tools(work)
    args.out.mkdir(parents=True, exist_ok=True)
    whole, matrix, text = args.out / "f32.gguf", args.out / "imatrix.gguf", args.out / "calibration.txt"
    to_gguf(args.checkpoint, whole)
    calibration_text(args.checkpoint, text)
    run(programs["llama-imatrix"], "-m", whole, "-f", text, "-o", matrix, "-c", CONTEXT)
    for kind in args.types:
        quantised = args.out / f"{kind}.gguf"
        run(programs["llama-quantize"], "--imatrix", matrix, whole, quantised, kind)
        back(quantised, args.checkpoint, args.out / kind)


if __name__ == "__main__":
    main()
