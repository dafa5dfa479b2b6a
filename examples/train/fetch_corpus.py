"""Debian packages -> calibration, train and evaluation text of eight domains, for gem-lm.

Fetches the packages of `corpus/sources.py` by name (`apt-get download`, `dpkg-deb -x`; nothing is
installed), cuts their text out, splits it by document and writes `{split}/{domain}.jsonl`, one
{"text", "package", "document"} a line, a long document several,, and `SOURCES.tsv` (domain, package, version, licences) into the cache.

Invariants: all of a document (a file; a chapter; for package descriptions a source package; all licences of a family) lies in
one split; no paragraph occurs twice, in a split or across (letters and digits compared); a training
paragraph of which half the 8-word shingles occur in held-out text is dropped; no text names its domain
unless its author did.

    python examples/train/fetch_corpus.py [--out DIR]
"""

import argparse
import collections
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

from corpus.extract import EXTRACTORS
from corpus.families import family, stanzas
from corpus.sources import COPYRIGHT_ONLY, DOMAINS, LICENCES, SOURCES

CACHE = Path(os.environ.get("GEM_TRAIN_CACHE", "~/.cache/gem-train")).expanduser()
TRAIN_LIMIT = 8 << 20  # bytes of a domain: more would not be seen in a run of two hours
HELD_OUT_LIMIT = {"evaluation": 240_000, "calibration": 120_000}
HELD_OUT_PERCENT = {"evaluation": 10, "calibration": 5}
DOCUMENT_LIMIT = 12_000  # characters; longer documents are cut, after their split is decided
SPLITS = ["evaluation", "calibration", "train"]
# Read by hand where the copyright file is prose, or missing because it is that of a package of the same source.
READ_BY_HAND = {
    "fortunes": "BSD-3-clause (The Regents of the University of California)", "cfi-en": "public-domain",
    "gretl-data": "GPL-3 (source package gretl)", "quantlib-refman-html": "BSD-3-clause (QuantLib)",
    "manpages-ja": "each page under the licence of its original, all free by Debian's guidelines",
}
READ_BY_HAND["fortunes-min"] = READ_BY_HAND["fortunes"]


def download(packages, debs):
    """Fetches what is not there yet; a package the release lacks is reported and skipped."""
    debs.mkdir(parents=True, exist_ok=True)
    have = {p.name.split("_")[0] for p in debs.glob("*.deb")}
    for package in packages:
        if package not in have:
            done = subprocess.run(["apt-get", "download", "-qq", package], cwd=debs, capture_output=True, text=True)
            if done.returncode:
                print(f"note: {package} is not to be had: {done.stderr.strip().splitlines()[-1:]}")
    return {p.name.split("_")[0]: p for p in sorted(debs.glob("*.deb"))}


def unpack(deb, directory, copyright_only):
    """The package's files below `directory`; of the large ones its documentation folder alone."""
    if not directory.exists():
        partial = directory.with_name(directory.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        part = ["--wildcards", "./usr/share/doc/*/copyright"] if copyright_only else []
        files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", str(partial), *part], stdin=files.stdout, check=True)
        files.wait()
        partial.rename(directory)
    return directory


def debian_med():
    """(source package, document) of the long descriptions of packages the Debian Med team keeps."""
    from fetch_descriptions import apt_options, read_indices, stanzas
    directory = CACHE / "apt"
    if not directory.exists():
        subprocess.run(["apt-get", "update", "-q", *apt_options(directory)], check=True)
    texts = {s["Description-md5"]: s["Description-en"]
             for s in stanzas(read_indices(directory, "bookworm", "Translations"))}
    for s in stanzas(read_indices(directory, "bookworm", "Packages")):
        if "debian-med" in s.get("Maintainer", "") and s.get("Description-md5") in texts:
            body = re.sub(r"(?m)^\.$", "", texts[s["Description-md5"]])
            synopsis, _, rest = body.partition("\n")
            yield s.get("Source", s["Package"]).split()[0], [synopsis] + [
                re.sub(r"\s+", " ", p).strip() for p in re.split(r"\n\s*\n", rest)]


def documents(domain, roots):
    """(group, package, paragraphs): documents of one group never part."""
    for package, kind, globs in SOURCES[domain]:
        if kind == "debian_med":
            for source, paragraphs in debian_med():
                yield f"med:{source}", package, paragraphs
            continue
        for name in sorted(roots) if kind == "copyright" else [package]:
            if name not in roots:
                continue
            paths = sorted({p for g in globs for p in roots[name].glob(g) if p.is_file()})
            for path in paths:
                for group, paragraphs in parts(name, kind, path, roots[name]):
                    yield group, name, paragraphs


def parts(package, kind, path, root):
    """(group, paragraphs) of a file's documents. Licences are grouped by family."""
    if kind == "copyright":
        yield from ((f"family:{name}", paragraphs) for name, paragraphs in stanzas(path))
        return
    for number, paragraphs in enumerate(EXTRACTORS[kind](path)):
        group = f"family:{family(path.stem)}" if package in LICENCES else f"{package}:{path.relative_to(root)}:{number}"
        yield group, paragraphs


def readable(paragraph):
    """Neither a table of numbers nor line noise nor a line of navigation."""
    letters = sum(c.isalpha() for c in paragraph)
    return len(paragraph) >= 12 and letters > 0.55 * len(paragraph)


def number_of(group):
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big")


def fingerprint(paragraph):
    return hashlib.blake2b(re.sub(r"\W+", "", paragraph.lower()).encode(), digest_size=8).digest()


def shingles(paragraph):
    words = re.findall(r"\w+", paragraph.lower())
    if len(words) < 12:  # Japanese has no spaces: fall back to runs of characters
        words = list(re.sub(r"\W+", "", paragraph.lower()))[::2] if len(paragraph) > 60 else words
    return {hash(tuple(words[i:i + 8])) for i in range(max(1, len(words) - 7))} if len(words) >= 8 else set()


def pieces(paragraphs):
    """Cuts a document at paragraph ends, so that no piece is longer than the limit."""
    piece, size = [], 0
    for p in paragraphs:
        if piece and size + len(p) > DOCUMENT_LIMIT:
            yield piece
            piece, size = [], 0
        piece.append(p)
        size += len(p) + 1
    yield piece


def split_documents(found):
    """Documents by split: a stable shuffle by group, held-out splits first, each up to its share."""
    total = sum(len(p) for _, _, ps in found for p in ps)
    splits, sizes = collections.defaultdict(list), collections.Counter()
    groups = collections.defaultdict(list)
    for document in found:
        groups[document[0]].append(document)
    for group in sorted(groups, key=number_of):
        size = sum(len(p.encode()) for _, _, ps in groups[group] for p in ps)
        for name, percent in HELD_OUT_PERCENT.items():
            room = min(HELD_OUT_LIMIT[name], total * percent // 100)
            if sizes[name] < room and size < max(room // 4, 4000):
                break
        else:
            name = "train"
        sizes[name] += size
        splits[name] += groups[group]
    return splits


def deduplicate(splits_of_domain):
    """Drops repeated paragraphs over all domains, and near-copies of held-out text from training."""
    seen, held_out = set(), set()
    for split in SPLITS:
        for domain, splits in splits_of_domain.items():
            kept = []
            for group, package, paragraphs in splits[split]:
                unique = []
                for p in paragraphs:
                    key = fingerprint(p)
                    if not readable(p) or key in seen:
                        continue
                    if split == "train":
                        grams = shingles(p)
                        if grams and 2 * len(grams & held_out) >= len(grams):
                            continue
                    seen.add(key)
                    unique.append(p)
                if sum(map(len, unique)) >= 120:
                    kept.append((group, package, unique))
            splits[split] = kept
            if split != "train":
                held_out |= {g for _, _, ps in kept for p in ps for g in shingles(p)}


def write_split(path, docs, limit):
    path.parent.mkdir(parents=True, exist_ok=True)
    size, count = 0, 0
    with open(path, "w", encoding="utf-8") as out:
        for group, package, paragraphs in docs:
            for piece in pieces(paragraphs):
                text = "\n".join(piece)
                if size + len(text.encode()) > limit:
                    return size, count
                size, count = size + len(text.encode()), count + 1
                out.write(json.dumps({"text": text, "package": package, "document": group}, ensure_ascii=False) + "\n")
    return size, count


def licences(root):
    """Short names of the licences a package's copyright file gives."""
    names = []
    for path in sorted(root.glob("usr/share/doc/*/copyright")):
        content = path.read_text(errors="replace")
        names += re.findall(r"(?m)^License:\s*([A-Za-z][\w.+~-]{1,40}(?: (?:or|and|with) [\w.+~-]+)*)\s*$", content)
        names += re.findall(r"common-licenses/([A-Z][\w.-]*\w)", content)
    return ", ".join(sorted(dict.fromkeys(names))[:12]) or "as its copyright file says"


def packages_used(out):
    """(domain, package) of everything written."""
    used = set()
    for split in SPLITS:
        for domain in DOMAINS:
            with open(out / split / f"{domain}.jsonl", encoding="utf-8") as lines:
                used |= {(domain, json.loads(line)["package"]) for line in lines}
    return sorted(used, key=lambda u: (DOMAINS.index(u[0]), u[1]))


def write_sources(out, debs, roots):
    """SOURCES.tsv: the packages whose text was used; their licences are those of Debian's copyright files."""
    rows = []
    for domain, package in packages_used(out):
        version = debs[package].name.split("_")[1].replace("%3a", ":") if package in debs else "bookworm"
        names = READ_BY_HAND.get(package) or licences(roots[package]) if package in roots else "package descriptions, under each package's licence"
        rows.append((domain, package, version, names))
    (out / "SOURCES.tsv").write_text("".join("\t".join(r) + "\n" for r in rows), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=CACHE / "corpus")
    args = parser.parse_args()
    wanted = [p for rows in SOURCES.values() for p, kind, _ in rows if " " not in p] + COPYRIGHT_ONLY
    debs = download(dict.fromkeys(wanted), CACHE / "debs")
    roots = {name: unpack(deb, CACHE / "x" / name, name in COPYRIGHT_ONLY) for name, deb in debs.items()}
    splits_of_domain = {}
    for domain in DOMAINS:
        splits_of_domain[domain] = split_documents(list(documents(domain, roots)))
    deduplicate(splits_of_domain)
    for domain, splits in splits_of_domain.items():
        limits = {**HELD_OUT_LIMIT, "train": TRAIN_LIMIT}
        done = {s: write_split(args.out / s / f"{domain}.jsonl", splits[s], limits[s]) for s in SPLITS}
        print(f"{domain:<16}" + "".join(f"{s}: {b:>9,} bytes {n:>6} documents   " for s, (b, n) in done.items()))
    write_sources(args.out, debs, roots)


if __name__ == "__main__":
    main()
