"""Cycles of the inner products on cores that nobody here has: the loops that are emitted for Arm, through llvm-mca.

    RUSTC=/usr/bin/rustc python tests/devices/cycles.py [--spills]

Compiles the copies of inner loops in gemc/kernels/src/micro (the text that generated crates have), finds the loop over blocks of
each, and asks llvm-mca how many cycles it takes where nothing waits for memory. Needs a rustc with the standard library for
aarch64-unknown-linux-gnu (Debian: rustc-web, libstd-rust-web-dev:arm64) in RUSTC, and llvm-mca of LLVM 22 (Debian: llvm-22) in MCA or
as `llvm-mca-22`. Writes the section `cycles` of docs/results/devices.md, and what follows from it as `[costs]` of the devices in targets/. With `--spills`
it counts accesses of vectors on the stack inside the loops that multiply, and prints them as JSON, without llvm-mca.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results" / "devices.md"
TRIPLE = "aarch64-unknown-linux-gnu"
RUSTC = os.environ.get("RUSTC", "rustc")
MCA = os.environ.get("MCA", "llvm-mca-22")

FORMATS = ["B8", "L6", "N5", "N4", "L4", "N3", "N2", "MX4"]
# Levels, with the cores that they are for: name of LLVM's model, and whose it is.
LEVELS = {"neon": {"cortex-a72": "A72"}, "neon_dotprod": {"neoverse-n1": "A76", "cortex-x1": "X1"}}
# What is asked of a core, format and number of rows: at least, and the aim.
BARS = {
    ("cortex-a72", 1): {"L4": (5.5, 4.7), "B8": (5.6, 5.0), "N4": (9.7, 8.2), "N3": (11, 9.3), "N2": (9.3, 7.3), "L6": (8.9, 7.8), "N5": (14, 13)},
    ("cortex-a72", 32): {"L4": (5.0, 4.5), "B8": (5.6, 5.0), "N2": (5.3, 4.7)} | {codec: (6.8, 6.0) for codec in ("N4", "N5", "L6", "N3")},
    ("neoverse-n1", 1): {"L4": (3.1, 2.9), "B8": (3.1, 3.0), "N4": (4.7, 4.3), "N3": (5.6, 5.0), "N2": (3.9, 3.4)},
    ("neoverse-n1", 32): {"L4": (2.2, 1.8), "B8": (2.0, 1.75)} | {codec: (2.5, 2.1) for codec in ("N4", "N3", "N2", "N5")},
    ("cortex-x1", 1): {"L4": (1.5, 1.3), "N4": (2.8, 2.6), "B8": (1.0, 0.75)},
    ("cortex-x1", 32): {"L4": (0.85, 0.75), "N4": (1.0, 0.9)},
}
# Devices whose cores LLVM has models of. Their files say which cores with which clocks, and GB/s of memory.
DEVICES = ["pi4", "pi5", "pixel6"]
MODELS = {"Cortex-A72": "cortex-a72", "Cortex-A76": "neoverse-n1", "Cortex-X1": "cortex-x1"}
# How much longer silicon took than the model: the middle of 1.75 to 2.1 and of 1.10 to 1.18.
FACTORS = {"cortex-a72": 1.925, "neoverse-n1": 1.14, "cortex-x1": 1.14}
# Cycles a value of work that is no product, counted once with the same models and not recounted here: activations, norms, rounding and
# routers in object code, attention in loops for NEON (heads of 64; 16 positions' exponentials). Of heads, sums and embeddings
# nothing is known.
OTHERS = {
    "cortex-a72": {"attention": (25.1 + 18.1 + (130 + 13.1 + 3) / 16) / 64, "silu": 564 / 32, "gelu": 897 / 32, "norm": 16.1 / 16 + 162 / 32,
                   "rounding": 113 / 32, "router": 9.1 / 16, "clusters": 9.1 / 16},
    "neoverse-n1": {"attention": (21.1 + 18.0 + (72 + 10 + 3) / 16) / 64, "silu": 277 / 32, "gelu": 415 / 32, "norm": 15.5 / 16 + 120 / 32,
                    "rounding": 80 / 32, "router": 12 / 16, "clusters": 12 / 16},
    "cortex-x1": {"attention": (6.1 + 5.7 + (38.2 + 6 + 3) / 16) / 64, "silu": 161 / 32, "gelu": 245 / 32, "norm": 4.9 / 16 + 58 / 32,
                  "rounding": 42 / 32, "router": 3.3 / 16, "clusters": 3.3 / 16},
}
# Microseconds that a phase takes beyond its work where threads share it; assumed, nobody measured them.
BARRIERS = {"pi4": 2.0, "pi5": 1.5, "pixel6": 1.5}
TURNS = 300
ROWS_OF_A_TILE = 16
# Rows that pass by weights in registers.
ROWS = 32
BRANCH = re.compile(r"^(b\.\w+|cbz|cbnz|tbz|tbnz|b)\s+(.*)$")


def run(*command, **more):
    return subprocess.run([str(part) for part in command], check=True, text=True, **more)


def assembly(folder):
    """The copies of both levels as assembly."""
    runtime = ROOT / "gem-runtime" / "src"
    modules = {"abi": "abi.rs", "kernel": "kernel.rs", "simd": "simd/mod.rs"}
    text = "".join(f'#[path = "{runtime / path}"] pub mod {name};\n' for name, path in modules.items())
    (folder / "gem_runtime.rs").write_text(text)
    text = ("pub type Run = unsafe extern \"C\" fn(*const *mut u8, *const i32, *mut f32);\n"
            "#[repr(C)] pub struct Copy { key: u64, run: Run }\n"
            "const fn copy(key: u64, run: Run) -> Copy { Copy { key, run } }\n")
    for level in LEVELS:
        path = ROOT / "gemc" / "kernels" / "src" / "micro" / f"{level}.rs"
        text += (f'#[path = "{path}"] mod {level};\n'
                 f"#[unsafe(no_mangle)] pub static copies_{level}: &[Copy] = {level}::COPIES;\n")
    (folder / "copies.rs").write_text(text)
    rustc = [RUSTC, "--edition=2024", "--cap-lints=allow", '--cfg=feature="std"', "-Copt-level=3", "-Cpanic=abort",
             "-Ccodegen-units=1", "-Csymbol-mangling-version=v0", "--target", TRIPLE]
    library = folder / "libgem_runtime.rlib"
    run(*rustc, "--crate-type=rlib", "--crate-name=gem_runtime", folder / "gem_runtime.rs", "-o", library)
    out = folder / "copies.s"
    run(*rustc, "--crate-type=lib", "--emit=asm", "--extern", f"gem_runtime={library}", folder / "copies.rs", "-o", out)
    return out.read_text()


def functions(text):
    """{symbol: [(label or None, instruction or None)]}."""
    found, body = {}, None
    for line in text.splitlines():
        line = line.split("//")[0].rstrip()
        label = re.match(r"^([\w.$]+):$", line)
        if label and label[1].startswith(".L"):
            body is not None and body.append((label[1], None))
        elif label:
            body = found.setdefault(label[1], [])
        elif body is not None and re.match(r"^\s+[a-z]", line):
            body.append((None, re.sub(r"\s+", " ", line.strip())))
    return found


def loops(body):
    """(first, last) of every loop: from a label to the last branch back to it."""
    labels = {label: i for i, (label, _) in enumerate(body) if label}
    found = {}
    for i, (_, instruction) in enumerate(body):
        branch = instruction and BRANCH.match(instruction)
        start = branch and labels.get(branch[2].split(",")[-1].strip())
        if start is not None and start <= i:
            found[start] = i
    return sorted(found.items())


def vectors(body):
    return sum(1 for _, instruction in body if instruction and re.search(r"\bv\d+\.|\bq\d+\b", instruction))


def block(body):
    """Instructions of the loop over blocks, the one with most vectors."""
    every = loops(body)
    inner = [a for a in every if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in every)]
    first, last = max(inner, key=lambda loop: vectors(body[loop[0]:loop[1]]))
    return plain(body[first:last + 1])


def passing(body, rows):
    """[(times, instructions)] of one turn of the loop over blocks, where rows pass by parts of a block in inner loops."""
    every = loops(body)
    inside = lambda a, b: a != b and a[0] <= b[0] and b[1] <= a[1]  # noqa: E731
    inner = [a for a in every if not any(inside(a, b) for b in every)]
    # Of loops around others the innermost whose inner loops multiply: that over blocks.
    around = [a for a in every if any(inside(a, b) for b in inner)]
    first, last = max(around, key=lambda a: (sum(inside(a, b) for b in inner if multiplies(body, b)), a[0] - a[1]))
    parts, rest, at = [], [], first
    multiplying = [b for b in inner if inside((first, last), b) and multiplies(body, b)]
    most = max(multiplies(body, b) for b in multiplying)
    by_two = any(multiplies(body, b) * 2 == most for b in multiplying)
    for begin, end in multiplying:
        # Where turns take two rows, other loops take what is left of an odd number.
        times = rows // (2 if by_two else 1) if multiplies(body, (begin, end)) == most else rows % 2
        parts.append((times, body[begin:end + 1]))
        rest += body[at:begin]
        at = end + 1
    parts.append((1, rest + body[at:last + 1]))
    return [(times, plain(part)) for times, part in parts]


def multiplies(body, loop):
    """How many products a loop has."""
    return sum(1 for _, instruction in body[loop[0]:loop[1]] if instruction and re.match(r"(smull|sdot)", instruction))


def plain(body):
    """Instructions as llvm-mca reads them: branches to one label, no addresses of symbols."""
    lines = []
    for _, instruction in body:
        if not instruction or instruction.startswith(("adrp", "b .")):
            continue
        instruction = re.sub(r"\.LBB\w+", "LOOP", instruction)
        lines.append(re.sub(r", :lo12:[^\]]*\]", "]", instruction))
    return lines


def cycles(lines, core):
    source = "LOOP:\n" + "\n".join(lines) + "\n"
    done = run(MCA, f"-mcpu={core}", f"-mtriple={TRIPLE}", "-mattr=+neon,+dotprod", f"-iterations={TURNS}", input=source,
               capture_output=True)
    return float(re.search(r"Total Cycles:\s+(\d+)", done.stdout)[1]) / TURNS


def spills(lines):
    return sum(1 for line in lines if re.match(r"(ldr|str|ldp|stp|ldur|stur) [qds]\d+.*\[(sp|x29)", line))


def copy(found, level, name):
    """The body of an outline's copy."""
    name = re.compile(rf"{len(level)}{level}\d+{name}$")
    body, = (body for symbol, body in found.items() if name.search(symbol))
    return body


def inner_spills(found):
    """{level: {codec: [of the loop over blocks for a row alone, of the loops over rows]}}"""
    def of(level, codec):
        alone = block(copy(found, level, f"run_alone_{codec.lower()}"))
        loops_ = passing(copy(found, level, f"run_pass_{codec.lower()}"), ROWS)
        return [spills(alone), sum(spills(lines) for times, lines in loops_ if times != 1)]
    return {level: {codec: of(level, codec) for codec in FORMATS} for level in LEVELS}


def measured(found):
    """(level, codec, rows at once, {core: cycles}, instructions, accesses of the stack) of every copy."""
    for level, cores in LEVELS.items():
        for codec in FORMATS:
            for together in (1, ROWS):
                name = {1: "alone", ROWS: "pass"}[together]
                body = copy(found, level, f"run_{name}_{codec.lower()}")
                parts = [(1, block(body))] if together == 1 else passing(body, ROWS)
                units = ROWS_OF_A_TILE * together
                each = {core: sum(times * cycles(lines, core) for times, lines in parts) / units for core in cores}
                instructions = sum(times * len(lines) for times, lines in parts)
                stacked = sum(times * spills(lines) for times, lines in parts)
                yield level, codec, together, each, instructions, stacked


def line(level, codec, together, each, instructions, stacked):
    told = ", ".join(f"{LEVELS[level][core]} {n:.2f}" for core, n in each.items())
    bars = [(LEVELS[level][core], BARS[core, together].get(codec)) for core in each]
    asked = ", ".join(f"{whose} {bar[0]} / {bar[1]}" for whose, bar in bars if bar)
    return f"| `{level}` | {codec} | {together} | {told} | {asked} | {instructions} | {stacked} |"


def project(device, table, rustc):
    """Writes the device's costs: nanoseconds for 1000 weights of a thread, the mean of threads that share out the work."""
    path = ROOT / "targets" / f"{device}.toml"
    target = tomllib.loads(path.read_text(encoding="utf-8"))
    used = [group for group in target["cores"] if group.get("used", True)]
    threads = [(MODELS[group["name"]], group["ghz"]) for group in used for _ in range(group["count"])]
    bandwidth = target["costs"]["bandwidth"]
    costs = [f"[costs]\nprojected = true\nthreads = {len(threads)}\nbandwidth = {bandwidth}\nbarrier = {BARRIERS[device]}\n"]
    # Nanoseconds for a thousand values of a thread, the mean of threads that share out the work.
    shared = lambda cycles_of: len(threads) / sum(ghz / (cycles_of(core) * FACTORS[core]) for core, ghz in threads)
    for name, together in ("weights", 1), ("batch", ROWS):
        costs.append(f"\n[costs.{name}]\n")
        for codec in sorted(FORMATS):
            costs.append(f"{codec} = {1000 / 32 * shared(lambda core: table[core, codec, together]):.3g}\n")
    costs.append("\n[costs.others]\n")
    for kind in sorted(OTHERS[threads[0][0]]):
        costs.append(f"{kind} = {float(f'{1000 * shared(lambda core: OTHERS[core][kind]):.3g}'):g}\n")
    models = ", ".join(sorted({core for core, _ in threads}))
    how = (f'costs = "projected on {date.today()}: static cycles of the emitted loops (tests/devices/cycles.py, rustc {rustc}, '
           f'llvm-mca 22, {models}) times what silicon took longer than such models; {ROWS} rows for batch; others from counts that are not repeated there, barrier assumed"')
    text = path.read_text(encoding="utf-8")
    before, provenance = re.split(r"(?:\[costs\].*)?\[provenance\]\n", text, flags=re.DOTALL)
    lines = [one for one in provenance.splitlines() if not one.startswith("costs =")]
    path.write_text(before + "".join(costs) + "\n[provenance]\n" + "\n".join([how, *lines]) + "\n", encoding="utf-8")


def main():
    with tempfile.TemporaryDirectory() as folder:
        found = functions(assembly(Path(folder)))
    if sys.argv[1:] == ["--spills"]:
        return print(json.dumps(inner_spills(found)))
    all_ = list(measured(found))
    rustc = run(RUSTC, "--version", capture_output=True).stdout.split()[1]
    text = "\n".join(["| level | format | rows at once | cycles | at least / aim | instructions of a block | accesses of vectors on the stack |",
                      "| --- | --- | --- | --- | --- | --- | --- |", *(line(*one) for one in all_)])
    table = {(core, codec, together): n for _, codec, together, each, _, _ in all_ for core, n in each.items()}
    for device in DEVICES:
        project(device, table, rustc)
    begin, end = "<!-- begin cycles -->\n", "<!-- end cycles -->"
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(begin)
    PAGE.write_text(f"{before}{begin}rustc {rustc}, llvm-mca 22:\n\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
