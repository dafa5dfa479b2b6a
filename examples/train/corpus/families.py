"""Families of licences: texts that repeat one another, so that a whole family lies in one split.

The GNU licences quote one another, and the permissive ones are variations of a few sentences. A model that has seen one of a family
has seen most of the others; held-out text of the same family would measure its memory.
"""

import re

from corpus.extract import read, wrapped

# The first that occurs in a name decides, so what "GPL or Artistic" holds is judged as GPL.
FAMILIES = [
    ("gnu", r"gpl|fdl|gnu|fsf|general public|autoconf|libtool"),
    ("permissive", r"mit\b|mit[-_. ]|expat|bsd|isc\b|x11|\bx\b|ntp|hpnd|zlib|libpng|curl|ncsa|simplified|permissive|unlicense|postgresql|jam\b|fsful"),
    ("apache", r"apache|\becl\b|ecl-"),
    ("creative commons", r"^cc|creative"),
    ("mozilla", r"mpl|mozilla|cddl|netscape|sissl"),
    ("eclipse", r"epl|\bcpl\b|eclipse|ibm"),
    ("artistic", r"artistic|perl"),
    ("boost", r"bsl|boost"),
    ("openssl", r"openssl|ssleay|openldap"),
    ("public domain", r"public[- ]domain|wtfpl|cc0"),
]


def family(name):
    """Of a licence's short name, or of a file's name without its ending."""
    lower = name.strip().lower()
    for found, pattern in FAMILIES:
        if re.search(pattern, lower):
            return found
    return re.match(r"[a-z]*", lower)[0] or lower


def stanzas(path):
    """(family, paragraphs) of a copyright file's licences, without the lists of files and holders. A file without fields is one."""
    body = re.sub(r"^ \.$", "", read(path), flags=re.M)
    body = re.sub(r"(?m)^(Format|Files|Copyright|Source|Upstream-\w+|Files-Excluded|Comment)(-\w+)?:.*(\n[ \t]+\S.*)*", "", body)
    parts = re.split(r"(?m)^License:[ \t]*(.*)$", body)
    named = list(zip(parts[1::2], parts[2::2])) or [(parts[0], parts[0])]
    texts = {}
    for name, part in named:
        keep = [b for b in wrapped(part) if len(b) > 80 and b.count(" ") > 10]
        if keep:
            texts.setdefault(family(name), []).extend(keep)
    yield from texts.items()
