"""Writes into templates.json what Jinja2, set up as transformers sets it up, makes of each template there.

    pip install jinja2==3.1.6 && python templates.py

A template that fails has the output null. Tests of the runtime read the result; CI runs no Python.
"""

import datetime
import json
import pathlib

import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_said")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _said(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


NOW = datetime.datetime(2024, 7, 6, 15, 4, 5)
environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = NOW.strftime
VARIABLES = {
    "messages": [
        {"role": "system", "content": "be <kind>"},
        {"role": "user", "content": " hi "},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "bye \u00e9"},
    ],
    "tools": None,
    "documents": None,
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "additional_special_tokens": ["<a>"],
}


def output(template):
    try:
        return environment.from_string(template).render(**VARIABLES)
    except Exception:
        return None


path = pathlib.Path(__file__).with_name("templates.json")
cases = [[template, output(template)] for template, _ in json.loads(path.read_text())]
lines = ",\n".join(json.dumps(case) for case in cases)
path.write_text(f"[\n{lines}\n]\n")
