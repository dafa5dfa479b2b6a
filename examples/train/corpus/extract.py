"""Package files -> lists of paragraphs, one extractor per kind of file.

An extractor takes a path and yields documents, each a list of paragraphs without markup. What reads
badly as text (tables of numbers, navigation, code listings of macros) is left out rather than mended.
"""

import ast
import gzip
import html.parser
import re

BLOCKS = {"p", "div", "li", "h1", "h2", "h3", "h4", "h5", "h6", "dt", "dd", "tr", "pre", "blockquote", "table",
          "section", "br", "title", "para", "simpara", "listitem", "term", "sect1", "sect2", "sect3", "chapter",
          "programlisting", "screen", "note", "row", "gnc:act", "act:description", "act:name", "item", "list"}
SKIPPED = {"script", "style", "head", "nav", "footer", "svg", "math", "notes", "crossrefs", "index", "indexterm",
           "authorgroup", "revhistory", "standardlicenseheader"}
SKIPPED_CLASSES = re.compile(
    r"sphinxsidebar|related|navheader|navfooter|footer|header$|breadcrumb|toc\b|patternTopic|twiki|"
    r"docnav|headerlink|memproto|memtitle|memberdecls|navpath|tabs|MSearch|sidebar|mw-jump")
VOID = {"br", "img", "hr", "meta", "link", "input", "col", "area", "base", "wbr", "xref", "graphic", "imagedata"}


def read(path):
    """A file's text, unpacked where needed; what is not UTF-8 is read as Latin-1."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


class Markup(html.parser.HTMLParser):
    """Collects the text between block elements of HTML or DocBook."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.blocks, self.text, self.open, self.hidden = [], [], [], 0

    def flush(self):
        text = re.sub(r"\s+", " ", "".join(self.text)).strip()
        if text:
            self.blocks.append(text)
        self.text = []

    def handle_starttag(self, tag, attrs):
        if tag in BLOCKS:
            self.flush()
        if tag in VOID:
            return
        classes = dict(attrs).get("class") or dict(attrs).get("id") or ""
        hide = tag in SKIPPED or bool(SKIPPED_CLASSES.search(classes))
        self.open.append((tag, hide))
        self.hidden += hide

    def handle_startendtag(self, tag, attrs):
        if tag in BLOCKS:
            self.flush()

    def handle_endtag(self, tag):
        if tag in BLOCKS:
            self.flush()
        if any(t == tag for t, _ in self.open):
            while True:
                top, hide = self.open.pop()
                self.hidden -= hide
                if top == tag:
                    break

    def handle_data(self, data):
        if not self.hidden:
            self.text.append(data)


def markup(text):
    parser = Markup()
    parser.feed(text)
    parser.close()
    parser.flush()
    return parser.blocks


def html_pages(path):
    yield markup(read(path))


def html_prose(path):
    """Pages generated from source: only what reads as sentences."""
    yield [b for b in markup(read(path)) if len(b) > 60 and b.count(" ") > 8 and "::" not in b and ";" not in b]


def docbook(path):
    """Chapters of a DocBook file; one file may hold a whole book."""
    text = re.sub(r"<!\[CDATA\[(.*?)\]\]>", lambda m: m[1].replace("<", "&lt;"), read(path), flags=re.S)
    for chapter in re.split(r"(?=<(?:chapter|appendix)\b)", text):
        yield markup(chapter)


def wrapped(text):
    """Blank-line separated paragraphs of wrapped text, each on one line."""
    return [re.sub(r"\s+", " ", block).strip() for block in re.split(r"\n\s*\n", text)]


def text(path):
    yield wrapped(re.sub(r"^---\n.*?\n---\n", "", read(path), flags=re.S))


def perl_licence(path):
    found = re.search(r"__LICENSE__\n(.*)", read(path), flags=re.S)
    if found:
        yield wrapped(found[1].replace("{{", "").replace("}}", ""))


def pod(path):
    source = read(path)
    body = "\n\n".join(re.findall(r"(?ms)^=(?:head\d|over|item|pod)(.*?)^=cut", source))
    body = re.sub(r"(?m)^=(head\d|item|over|back|pod).*?(\S.*)?$", r"\2", body)
    yield [b for b in wrapped(re.sub(r"[BCFIL]<+\s?(.*?)\s?>+", r"\1", body)) if not re.search("copyright|licen", b, re.I)]


def info(path):
    """Nodes of an info file, about five to a document."""
    nodes = re.split(r"\x1f", read(path))
    bodies = [re.sub(r"(?m)^(File: .*|\* .*::.*|[*=\-.]{4,})$", "", n) for n in nodes if "Node:" in n[:400]]
    for i in range(0, len(bodies), 5):
        yield [p for b in bodies[i:i + 5] for p in wrapped(b)]


def docstrings(path):
    tree = ast.parse(read(path))
    nodes = [n for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    yield [p for n in nodes for p in wrapped(ast.get_docstring(n) or "") if "Copyright" not in p]


def gretl_data(path):
    """What a data set is about, and what its variables mean."""
    source = read(path)
    about = re.findall(r"(?s)<description>(.*?)</description>", source)
    labels = re.findall(r'label="([^"]+)"', source)
    yield [p for a in about for p in markup(a.replace("\n\n", "<p>"))] + ["; ".join(labels)]


def latex(path):
    body = re.sub(r"(?<!\\)%.*", "", read(path))
    body = re.sub(r"(?s)\\begin\{(code|verbatim|tabular|figure|table|center|script)\}.*?\\end\{\1\}", "", body)
    body = re.sub(r"\\(label|cite\w*|index|ref|pageref|vspace|input|include)\*?(\[.*?\])?\{.*?\}", "", body)
    body = re.sub(r"\\(begin|end)\{.*?\}(\[.*?\])?", "", body)
    for _ in range(3):
        body = re.sub(r"\\[a-zA-Z]+\*?(?:\[[^\]]*\])?\{([^{}]*)\}", r"\1", body)
    body = re.sub(r"\\([%$&#_{}])", r"\1", body)
    body = re.sub(r"\\[a-zA-Z]+\*?", "", body).replace("``", '"').replace("''", '"').replace("~", " ")
    yield [p for p in wrapped(body) if p.count(" ") > 5]


ROFF_CHARS = {"\\-": "-", "\\&": "", "\\e": "\\", "\\(aq": "'", "\\(cq": "’", "\\(oq": "‘", "\\(lq": "“",
              "\\(rq": "”", "\\(dq": '"', "\\(em": "—", "\\(en": "–", "\\(bu": "•", "\\(co": "©", "\\ ": " ",
              "\\~": " ", "\\|": "", "\\^": "", "\\/": "", "\\,": "", "\\:": "", "\\%": "", "\\c": "", "\\(ti": "~",
              "\\(ha": "^", "\\(rs": "\\", "\\(ga": "`", "\\(Fo": "«", "\\(Fc": "»", "\\(:o": "ö", "\\(:u": "ü",
              "\\(:a": "ä", "\\(ss": "ß", "\\(->": "→", "\\(mu": "×", "\\(**": "*", "\\(pl": "+", "\\(mi": "-"}


def roff_text(line):
    line = re.sub(r"\\f(\[[^\]]*\]|\(..|.)|\\s[+-]?\d|\\m\[.*?\]|\\[hv]'.*?'", "", line)
    line = re.sub(r"\\\*\(..|\\\*\[.*?\]", "", line)
    return re.sub(r"\\\(..|\\[-&e ~|^/,:%c]", lambda m: ROFF_CHARS.get(m[0], ""), line)


def man(path):
    """A manual page's sentences; tables and unknown macros are dropped."""
    out, table = [], False
    for line in read(path).split("\n"):
        if line.startswith(('.\\"', "'\\\"", ".TH", ".\\}")):
            continue
        if line.startswith((".TS", ".EX", ".nf")) or line.startswith((".TE", ".EE", ".fi")):
            table = line.startswith((".TS", ".EX", ".nf"))
            continue
        if table:
            continue
        macro = re.match(r"[.'][ \t]*([A-Za-z]+)[ \t]*(.*)", line)
        if not macro:
            out.append("" if line.startswith((".", "'")) and len(line) < 3 else roff_text(line))
        elif macro[1] in ("B", "I", "SM"):
            out.append(roff_text(macro[2].replace('"', "")))
        elif macro[1] in ("BR", "RB", "BI", "IB", "IR", "RI"):
            words = re.findall(r'"[^"]*"|(?:\\.|[^\s"])+', macro[2])
            out.append(roff_text("".join(w.strip('"') for w in words)))
        elif macro[1] in ("SH", "SS"):
            out += ["", roff_text(macro[2].replace('"', "")), ""]
        elif macro[1] in ("PP", "P", "LP", "TP", "IP", "HP", "sp", "br", "Pp", "TQ"):
            out.append("")
    yield wrapped("\n".join(out))


def wordnet(path):
    """Dictionary entries "words: gloss; "example"", sixteen neighbouring synsets to a document."""
    entries = []
    for line in read(path).split("\n"):
        head, bar, gloss = line.partition(" | ")
        if not bar or line.startswith("  "):
            continue
        fields = head.split()
        count = int(fields[3], 16)
        words = [re.sub(r"\(\w+\)$", "", w).replace("_", " ") for w in fields[4:4 + 2 * count:2]]
        entries.append(f"{', '.join(words)}: {gloss.strip()}")
    for i in range(0, len(entries), 16):
        yield entries[i:i + 16]


def fortunes(path):
    """Cookies of a fortune file, about a dozen to a document."""
    if path.is_symlink() or path.suffix in (".dat", ".u8") or path.name in ("ascii-art", "asciiart"):
        return
    cookies = [c.strip() for c in re.split(r"(?m)^%%?\s*$", read(path))]
    cookies = [re.sub(r"\n\s+", "\n", re.sub(r"[ \t]+", " ", c)) for c in cookies]
    cookies = [c for c in cookies if sum(ch.isalpha() for ch in c) > 0.6 * len(c) and "\x08" not in c]
    for i in range(0, len(cookies), 12):
        yield cookies[i:i + 12]


def wesnoth(path):
    """Dialogue and story lines of a campaign's scenario, as "speaker: line"."""
    source = re.sub(r'"\s*\+\s*_?\s*"', "", read(path))
    lines, speaker = [], ""
    for key, value, quoted in re.findall(r'(?m)^\s*(speaker|story|message)\s*=\s*(?:_?\s*"([^"]*)"|(?=\S)([\w ]+))', source):
        if key == "speaker":
            speaker = value or quoted
        elif value:
            value = re.sub(r"<[^>]*>|\$\w+", "", re.sub(r"\s+", " ", value)).strip()
            name = f"{speaker}: " if speaker and key == "message" and speaker not in ("narrator", "unit") else ""
            lines.append(name + value)
            speaker = ""
    for i in range(0, len(lines), 40):
        yield lines[i:i + 40]


def endless_sky(path):
    """Conversations, hails and news of the game: the text between backquotes."""
    paragraphs = [re.sub(r"<(\w+)>", r"the \1", p).strip() for p in re.findall(r"`([^`]*)`", read(path))]
    paragraphs = [p for p in paragraphs if p.count(" ") > 3]
    for i in range(0, len(paragraphs), 25):
        yield paragraphs[i:i + 25]


EXTRACTORS = {"html": html_pages, "html_prose": html_prose, "docbook": docbook, "text": text,
              "perl_licence": perl_licence, "pod": pod, "info": info, "docstrings": docstrings, "latex": latex,
              "gretl_data": gretl_data, "man": man, "wordnet": wordnet, "fortunes": fortunes, "wesnoth": wesnoth,
              "endless_sky": endless_sky}
