"""Chat templates of public models: what gemc writes against transformers' `apply_chat_template`, on twelve conversations.

    python tests/importers/templates.py

The templates are those of llama.cpp's source in PyPI's `llama-cpp-python`. Where it has the family's vocabulary, ids are
compared, too. A template that fails in Jinja must fail here, and the other way round.
"""

import datetime
import sys

import tokenizers
import transformers.utils.chat_template_utils as hugging_face

import page
from fetch import DOWNLOADS
from texts import ask, llama_cpp, rebuild

DATE = datetime.datetime(2026, 7, 26, 12, 0, 0)

# Templates of families whose vocabulary is there, and the ids of what they write are compared.
VOCABULARIES = {
    "meta-llama-Llama-3": "llama-bpe", "Qwen-Qwen2.5": "qwen2", "Qwen-Qwen3-": "qwen2", "Qwen-QwQ": "qwen2",
    "Qwen3-Coder": "qwen2", "Qwen3.5": "qwen35", "google-gemma-4": "gemma-4", "microsoft-Phi-3.5": "phi-3",
    "CohereForAI-c4ai-command-r-plus": "command-r", "NousResearch-Hermes-3": "llama-bpe",
}

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Wetter für einen Ort <heute> & morgen — 天気",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "Ort, z. B. \"Köln\""},
                "days": {"type": "integer", "minimum": 1, "default": 3},
                "unit": {"type": "string", "enum": ["°C", "°F"]},
                "options": {
                    "type": "object",
                    "description": "nested",
                    "properties": {
                        "winds": {"type": "array", "items": {"type": "string"}},
                        "detail": {"type": "object", "properties": {"level": {"type": "number", "description": "0.5"}}},
                    },
                    "required": ["winds"],
                },
            },
            "required": ["location"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time", "description": "The time.", "parameters": {
    "type": "object", "properties": {}, "required": []}}}

USER = {"role": "user", "content": "  What's the weather in Köln? <b>&</b>\n"}
SYSTEM = {"role": "system", "content": "You are brief. \U0001f642"}
ARGUMENTS = {"location": "Köln", "days": 2, "options": {"winds": ["N", "S"], "detail": {"level": 0.5}}, "exact": True}


def call(arguments, thoughts=None):
    said = {"role": "assistant", "content": "", "tool_calls": [
        {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}]}
    return said | ({"reasoning_content": thoughts} if thoughts else {})


ANSWER = {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": "{\"celsius\": 21.5, \"sky\": \"☀\"}"}

# Name: messages, and the variables of the call.
CONVERSATIONS = {
    "one turn": ([USER], {}),
    "system, several turns": ([SYSTEM, USER, {"role": "assistant", "content": "Sunny.\n"},
                               {"role": "user", "content": "And tomorrow?"}], {}),
    "tools": ([SYSTEM, USER], {"tools": [WEATHER, CLOCK]}),
    "call with an object, answer": ([USER, call(ARGUMENTS), ANSWER], {"tools": [WEATHER, CLOCK]}),
    "call with a text, answer": ([USER, call("{\"location\": \"Köln\", \"days\": 2}"), ANSWER,
                                  {"role": "assistant", "content": "21.5 °C."}, {"role": "user", "content": "Thanks"}],
                                 {"tools": [WEATHER]}),
    "reasoning": ([SYSTEM, USER, {"role": "assistant", "content": "Sunny.", "reasoning_content": "Let me see.\nIt is July."},
                   {"role": "user", "content": "Sure?"}, call(ARGUMENTS, "I must look."), ANSWER], {"tools": [WEATHER]}),
    "thinking on": ([USER], {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}),
    "thinking off": ([SYSTEM, USER], {"enable_thinking": False, "thinking": False, "reasoning_effort": "low"}),
    "empty content": ([{"role": "system", "content": ""}, {"role": "user", "content": ""}], {}),
    "content as parts": ([{"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "text", "text": "Köln"}]}],
                         {}),
    "documents, no prompt": ([USER, {"role": "assistant", "content": "Sunny."}],
                             {"documents": [{"title": "Köln", "text": "It is sunny."}, {"title": "B", "text": "—"}],
                              "add_generation_prompt": False}),
    "roles that do not alternate": ([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"},
                                     {"role": "wizard", "content": "c"}], {}),
}


class Clock(datetime.datetime):
    """`strftime_now` asks for the time: here it stands still."""

    @classmethod
    def now(cls, tz=None):
        return cls(*DATE.timetuple()[:6])


def expected(template, messages, variables):
    """(text, None), or (None, why not)."""
    named = dict(TOKENS, add_generation_prompt=True) | variables
    tools, documents = named.pop("tools", None), named.pop("documents", None)
    try:
        messages = hugging_face._normalize_chat_messages(messages)
        (text,), _ = hugging_face.render_jinja_template([messages], tools, documents, template, **named)
        return text, None
    except Exception as error:  # noqa: BLE001 - whatever a template does
        return None, f"{type(error).__name__}: {error}"


def compare(path, vocabularies):
    """Per conversation: whether it is equal, raised in both, or differs, and how."""
    template = path.read_text(encoding="utf-8")
    requests, wanted = [], []
    for messages, variables in CONVERSATIONS.values():
        requests.append({"template": template, "tokens": TOKENS, "messages": messages, "variables": variables,
                         "date": [DATE.year, DATE.month, DATE.day]})
        wanted.append(expected(template, messages, variables))
    family = next((name for start, name in VOCABULARIES.items() if path.stem.startswith(start)), None)
    vocabulary = vocabularies(family) if family else None
    found = ask(["chat", *([vocabulary] if family else [])], requests)
    tokenizer = tokenizers.Tokenizer.from_file(str(vocabulary / "tokenizer.json")) if family else None
    rows = []
    for name, (text, why), got in zip(CONVERSATIONS, wanted, found, strict=True):
        if text is None:
            rows.append((name, "raises" if "error" in got else "differs", f"Jinja: {why}\ngemc: {got}"))
        elif got.get("text") != text:
            rows.append((name, "differs", f"Jinja: {text!r}\ngemc:  {got}"))
        elif tokenizer and got["ids"] != tokenizer.encode(text, add_special_tokens=False).ids:
            rows.append((name, "differs", "ids"))
        else:
            rows.append((name, "equal", family))
    return rows


def main():
    hugging_face.datetime = Clock
    models = llama_cpp()
    made = {}

    def vocabularies(name):
        if name not in made:
            made[name] = rebuild(models / f"ggml-vocab-{name}.gguf", DOWNLOADS / "rebuilt" / name)
        return made[name]

    table, wrong = [], 0
    for path in sorted((models / "templates").glob("*.jinja")):
        rows = compare(path, vocabularies)
        count = {kind: sum(row[1] == kind for row in rows) for kind in ("equal", "raises", "differs")}
        table.append([path.stem, count["equal"], count["raises"], count["differs"], rows[0][2] if count["equal"] and rows[0][1] == "equal" and rows[0][2] else ""])
        wrong += count["differs"]
        for name, kind, how in rows:
            if kind == "differs":
                print(f"{path.stem}: {name}\n{how}\n", file=sys.stderr)
    equal, raises = sum(row[1] for row in table), sum(row[2] for row in table)
    page.write("templates", f"""
{len(table)} templates × {len(CONVERSATIONS)} conversations: {equal} texts are equal to those of transformers' `apply_chat_template`,
{raises} conversations are refused by both, {wrong} differ. The conversations: {"; ".join(CONVERSATIONS)}. Where a
vocabulary is named, ids are equal, too. The date is given; special tokens are named `<s>`, `</s>`, `<pad>` and `<unk>`.

{page.table(["template", "equal", "refused by both", "differ", "ids of"], table)}
""")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
