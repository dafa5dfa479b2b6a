"""Debian's package indices -> rows (text, section, source package, split) for gem-cls.

Reads the `Packages` and `Translation-en` indices of one Debian release through apt, into a private
directory (nothing of the machine's own apt state is touched), joins them on Description-md5 and
writes `train.jsonl`, `validation.jsonl` and `test.jsonl` of {"text", "label", "package", "source",
"version", "size"} (size: bytes of the binary package).

Invariants: a source package lies in one split only; no text (case, digits and spaces aside) occurs
twice, in one split or across; no package's own name, nor that of its source or its siblings, stands
in its text; the same indices always give the same files.

    python examples/train/fetch_descriptions.py [--out DIR] [--release bookworm]
"""

import argparse
import collections
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("GEM_TRAIN_CACHE", "~/.cache/gem-train")).expanduser()

# Section -> the domain (group of labels) that one module serves. Sections with fewer than
# MIN_SOURCES source packages in the release are dropped; the list names what is left.
GROUPS = {
    "scripting": ["perl", "python", "ruby"],
    "compiled": ["golang", "haskell", "rust"],
    "native": ["devel", "libdevel", "libs"],
    "documentation": ["doc"],
    "research": ["gnu-r", "science"],
    "internet": ["java", "javascript", "net"],
    "desktop": ["games", "sound", "x11"],
    "system": ["admin", "misc", "utils"],
}
LABELS = sorted(label for labels in GROUPS.values() for label in labels)
DOMAIN_OF = {label: domain for domain, labels in GROUPS.items() for label in labels}

MIN_SOURCES = 500
MIN_TEST_ROWS = 100
# A few sources build hundreds of packages that say the same with one word changed.
MAX_ROWS_PER_SOURCE_AND_SECTION = 6
# Upper bounds of a source's hash, of 100: a fifth to the test, so that each section has >= 100 rows.
SPLITS = (("train", 72), ("validation", 80), ("test", 100))


def apt_options(directory):
    """Options that keep every file apt writes inside `directory` and ask for English descriptions."""
    for sub in ("lists/partial", "cache/archives/partial"):
        (directory / sub).mkdir(parents=True, exist_ok=True)
    return [
        "-o", "Acquire::Languages=en",
        "-o", f"Dir::State::Lists={directory / 'lists'}",
        "-o", f"Dir::Cache={directory / 'cache'}",
        # The private directory may sit where apt's unprivileged user cannot reach it.
        "-o", "APT::Sandbox::User=root",
    ]


def read_indices(directory, release, created_by):
    """The text of all indices of a kind (`Packages`, `Translations`) of the release's `main`."""
    options = apt_options(directory)
    paths = subprocess.run(
        ["apt-get", "indextargets", *options, "--format", "$(FILENAME)",
         f"Created-By: {created_by}", f"Codename: {release}", "Component: main", "Origin: Debian"],
        check=True, capture_output=True, text=True).stdout.split()
    if not paths:
        raise SystemExit(f"no {created_by} index of {release}/main; does this machine's apt know {release}?")
    return "\n\n".join(
        subprocess.run(["/usr/lib/apt/apt-helper", *options, "cat-file", path],
                       check=True, capture_output=True).stdout.decode("utf-8")
        for path in sorted(set(paths)))


def stanzas(text):
    """Deb822 stanzas as dictionaries; continuation lines are joined with newlines."""
    for block in re.split(r"\n\n+", text.strip()):
        fields, key = {}, None
        for line in block.split("\n"):
            if line[:1] in (" ", "\t"):
                fields[key] += "\n" + line[1:]
            else:
                key, _, value = line.partition(":")
                fields[key] = value.strip()
        yield fields


def packages(directory, release):
    """Joined (package, source, version, size, section, description) of the release, by package name."""
    descriptions = {s["Description-md5"]: s["Description-en"]
                    for s in stanzas(read_indices(directory, release, "Translations"))}
    for s in sorted(stanzas(read_indices(directory, release, "Packages")), key=lambda s: s["Package"]):
        description = descriptions.get(s.get("Description-md5"))
        if description is not None and "Section" in s:
            source = s.get("Source", s["Package"]).split()[0]
            yield s["Package"], source, s["Version"], int(s["Size"]), s["Section"], description


def without_names(text, names):
    """`text` without whole-word mentions of `names`: they would give the section away."""
    alternatives = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w.+-])(?:{alternatives})(?![\w+-]|\.\w)", "", text)


def clean(description, names):
    """One paragraph from a description field: synopsis, full stop, body; markup dots dropped."""
    synopsis, *body = ["" if line.strip() == "." else line.strip() for line in description.split("\n")]
    text = without_names(". ".join([synopsis, " ".join(body)]), names)
    return re.sub(r"\s+", " ", text).strip()


def fingerprint(text):
    """What makes two texts the same: letters only, so that versions and layout do not count."""
    return re.sub(r"[\W\d_]+", " ", text.lower()).strip()


def percentile(source):
    """A number below 100 that depends on the source's name alone, so that splits never move."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "big") % 100


def split_of(source):
    return next(name for name, bound in SPLITS if percentile(source) < bound)


def rows(directory, release):
    """Deduplicated rows of the labelled sections, in a fixed order."""
    found = list(packages(directory, release))
    siblings, sources = collections.defaultdict(set), collections.defaultdict(set)
    for package, source, _, _, section, _ in found:
        siblings[source] |= {package, source}
        sources[section].add(source)
    large = sorted(s for s, members in sources.items() if len(members) >= MIN_SOURCES)
    if large != LABELS:
        print(f"note: sections with >= {MIN_SOURCES} sources here are {large}")
    seen, per_source = set(), collections.Counter()
    for package, source, version, size, section, description in found:
        if section not in DOMAIN_OF:
            continue
        text = clean(description, siblings[source])
        key = fingerprint(text)
        if len(key) < 20 or key in seen or per_source[source, section] >= MAX_ROWS_PER_SOURCE_AND_SECTION:
            continue
        seen.add(key)
        per_source[source, section] += 1
        yield {"text": text, "label": section, "package": package, "source": source, "version": version,
               "size": size}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=CACHE / "descriptions")
    parser.add_argument("--release", default="bookworm")
    parser.add_argument("--no-update", action="store_true", help="use the indices fetched before")
    args = parser.parse_args()
    directory = CACHE / "apt"
    if not args.no_update:
        subprocess.run(["apt-get", "update", "-q", *apt_options(directory)], check=True)
    by_split = collections.defaultdict(list)
    for row in rows(directory, args.release):
        by_split[split_of(row["source"])].append(row)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, _ in SPLITS:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in by_split[name])
        (args.out / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    counts = {name: collections.Counter(r["label"] for r in by_split[name]) for name, _ in SPLITS}
    print(f"{'section':<12}" + "".join(f"{name:>12}" for name, _ in SPLITS))
    for label in LABELS:
        few = "  below 100 test rows" if counts["test"][label] < MIN_TEST_ROWS else ""
        print(f"{label:<12}" + "".join(f"{counts[name][label]:>12}" for name, _ in SPLITS) + few)
    print(f"{'all':<12}" + "".join(f"{len(by_split[name]):>12}" for name, _ in SPLITS))


if __name__ == "__main__":
    main()
