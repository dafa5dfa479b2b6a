"""docs/results/importers.md, which every script of this folder writes one section of."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "results" / "importers.md"


def write(section, text):
    """Puts `text`, Markdown without a heading, in the place of what stands between the section's markers."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- begin {section} -->\n", f"<!-- end {section} -->"
    whole, count = re.subn(re.escape(begin) + ".*?" + re.escape(end), lambda _: f"{begin}{text.strip()}\n{end}", page,
                           flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{PAGE}: has {count} sections named {section}; expected 1")
    PAGE.write_text(whole, encoding="utf-8")


def table(header, rows):
    """A Markdown table; `rows` are sequences of values."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(value) for value in line) + " |" for line in lines)
