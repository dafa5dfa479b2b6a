"""Names of Debian packages -> the licence of their packaging, or nothing where that is not clear.

A description is part of `debian/control`, so its licence is the one that the package's `copyright`
file gives for `debian/*`, or for `*` where it has no such paragraph. Only machine-readable files that
name a well-known free licence count. The packages come through `apt-get download`; answers are kept.
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path

from fetch_descriptions import CACHE, apt_options, stanzas

KNOWN = re.compile(
    r"(AGPL|Apache|Artistic|BSD|CC0|Expat|GPL|ISC|LGPL|MIT|MPL|Perl|WTFPL|Zlib|public-domain|zlib)[\w.+-]*", re.ASCII)
ANSWERS = CACHE / "gem-cls" / "licences.json"


def licence_of_packaging(text):
    """The short name of the licence of `debian/*` in a machine-readable copyright file, else None."""
    if not text.startswith("Format:"):
        return None
    found = {}
    for fields in stanzas(text):
        licence = " ".join(fields.get("License", "").split("\n")[0].split())
        for pattern in fields.get("Files", "").split():
            found[pattern] = licence
    licence = found.get("debian/*", found.get("*", ""))
    names = [n for n in re.split(r"\s+(?:or|and)\s+|[\s,()]+", licence) if n]
    return licence if names and all(KNOWN.fullmatch(n) for n in names) else None


def copyright_file(package, archive):
    """The copyright file inside a .deb; empty where it is a link into another package."""
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], check=True, capture_output=True).stdout
    run = subprocess.run(["tar", "-xO", "-f", "-", f"./usr/share/doc/{package}/copyright"], input=tar,
                         capture_output=True)
    return run.stdout.decode("utf-8", "replace")


def licences(packages):
    """{package: licence or None}; downloads what is not known yet, some packages at a time."""
    answers = json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {}
    unknown = [p for p in packages if p not in answers]
    for at in range(0, len(unknown), 50):
        some = unknown[at : at + 50]
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", "-q", "-q", *apt_options(CACHE / "apt"), *some],
                           check=True, cwd=folder)
            for archive in Path(folder).glob("*.deb"):
                package = archive.name.split("_")[0]
                answers[package] = licence_of_packaging(copyright_file(package, archive))
        ANSWERS.write_text(json.dumps(answers, indent=0, sort_keys=True))
        print(f"{min(at + 50, len(unknown))} of {len(unknown)} packages read", flush=True)
    return {p: answers.get(p) for p in packages}
