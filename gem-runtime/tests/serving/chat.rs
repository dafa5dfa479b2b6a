//! Chat templates as they are written for Python's Jinja.

use gem_runtime::text::{
    ChatOptions, ChatTemplate, Date, Message, Text, TextFiles, TokenizerConfig,
};

fn messages() -> Vec<Message> {
    vec![
        Message::system("be <kind>"),
        Message::user(" hi "),
        Message::assistant("hello"),
        Message::user("bye \u{e9}"),
    ]
}

fn tokens() -> TokenizerConfig {
    let token = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    TokenizerConfig {
        special_tokens: vec![token("bos_token", "<s>"), token("eos_token", "</s>")],
        additional_special_tokens: vec!["<a>".to_owned()],
    }
}

fn date() -> Date {
    let day = Date::new(2024, 7, 6).expect("a day");
    day.at(15, 4, 5).expect("a time")
}

fn render_at(template: &str, date: Option<Date>) -> Result<String, String> {
    let template = ChatTemplate::new(template);
    let options = ChatOptions {
        date,
        ..ChatOptions::default()
    };
    let rendered = template.render(&messages(), &tokens(), &options);
    rendered.map_err(|e| e.to_string())
}

fn render(template: &str) -> Result<String, String> {
    render_at(template, Some(date()))
}

/// `templates.py` beside this file wrote down what Jinja2 makes of these templates.
#[test]
fn templates_say_what_they_say_in_python() {
    let cases: Vec<(String, Option<String>)> =
        serde_json::from_str(include_str!("templates.json")).expect("JSON");
    assert!(cases.len() > 150);
    let differ: Vec<_> = cases
        .iter()
        .filter(|(template, expected)| render(template).ok() != *expected)
        .map(|(template, expected)| (template, expected, render(template)))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn settings_are_those_of_hugging_face() {
    let template = "{{ bos_token }}{% for message in messages %}\n  {% if message['role'] == 'user' %}\n\
                    [{{ message['content'].strip() }}]{{ eos_token }}\n  {% endif %}\n{% endfor %}\n\
                    {% if add_generation_prompt %}>{% endif %}";
    assert_eq!(
        render(template).expect("sound"),
        "<s>[hi]</s>\n[bye \u{e9}]</s>\n>"
    );
}

#[test]
fn refusals_are_the_templates_own_words() {
    let refused = |template: &str, named: &str| {
        let message = render(template).expect_err("refused");
        assert!(
            message.starts_with("chat_template: line ") && message.contains(named),
            "{message}"
        );
    };
    refused(
        "{{ raise_exception('roles must alternate') }}",
        "roles must alternate",
    );
    refused("\n\n{{ messages.x.y }}", "line 3");
    refused("\n{{ messages.foo() }}", "line 2: a list has no `foo`");
    refused("{% if %}", "line 1: expected a value, found %}");
    refused("{% frobnicate %}", "unknown tag `frobnicate`");
    refused("{{ 1 | frobnicate }}", "no filter `frobnicate`");
    refused("\n{% for m in messages %}\nx", "has no endfor");
    refused("a {{ 'b", "a text has no end");
    refused("{{ missing + 1 }}", "`missing` is undefined");
    // Words of a template have no power over a terminal, and a readable length.
    refused("{{ 1 | string(2) }}", "string takes at most 0 arguments");
    for hostile in [
        "{{ raise_exception('\u{1b}[2J' * 9999) }}",
        "{{ {}['\u{1b}' * 9999] + 1 }}",
        "{{ [1] | map('\u{1b}') | list }}",
        "{{ '%(\u{1b})s' % {} }}",
        "{{ 1 \u{1b} }}",
    ] {
        let message = render(hostile).expect_err("refused");
        assert!(
            !message.contains('\u{1b}') && message.len() < 2000,
            "{message}"
        );
    }
}

#[test]
fn the_date_is_the_callers() {
    let template = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}";
    assert_eq!(render(template).expect("a date"), "06 Jul 2024");
    let message = render_at(template, None).expect_err("no date");
    assert!(
        message.contains("strftime_now") && message.contains("date"),
        "{message}"
    );
    // A template that does not ask needs none.
    assert_eq!(render_at("{{ 1 }}", None).expect("sound"), "1");
    assert!(Date::new(2023, 2, 29).is_err() && Date::new(2024, 2, 29).is_ok());
    assert!(Date::new(0, 1, 1).is_err() && date().at(24, 0, 0).is_err());
    assert_eq!(
        Date::from_unix(0).format("%F %T %a %j"),
        "1970-01-01 00:00:00 Thu 001"
    );
    assert_eq!(
        Date::from_unix(951_782_399).format("%F %T"),
        "2000-02-28 23:59:59"
    );
    assert_eq!(Date::from_unix(-1).format("%F %T"), "1969-12-31 23:59:59");
    assert_eq!(Date::from_unix(i64::MAX).format("%Y"), "9999");
    assert_eq!(date().format("%Q %"), "%Q %");
}

/// What templates see that Hugging Face does not name is undefined, as there.
#[test]
fn tokens_that_a_model_does_not_have_are_undefined() {
    let shown = "{{ pad_token is defined }}{{ bos_token is defined }}";
    assert_eq!(render(shown).expect("sound"), "FalseTrue");
    let template =
        ChatTemplate::new("{{ bos_token is defined }}{{ additional_special_tokens is defined }}");
    let none = template.render(
        &messages(),
        &TokenizerConfig::default(),
        &ChatOptions::default(),
    );
    assert_eq!(none.expect("sound"), "FalseFalse");
}

/// A small thread is enough for the deepest template.
#[test]
fn little_stack_is_needed() {
    let template =
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}".to_owned();
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(60), ")".repeat(60));
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let work = move || [template, deep].map(|template| render(&template).is_ok());
    let rendered = thread
        .spawn(work)
        .expect("a thread")
        .join()
        .expect("no overflow");
    assert_eq!(
        rendered,
        [false, true],
        "a hundred macros in each other are too many"
    );
}

fn render_json(template: &str, messages: &str, variables: &str) -> Result<String, String> {
    let mut options = ChatOptions::default();
    let set = options.variables.set_all(variables);
    set.map_err(|e| e.to_string())?;
    let messages = Message::parse_all(messages).map_err(|e| e.to_string())?;
    let rendered = ChatTemplate::new(template).render(&messages, &tokens(), &options);
    rendered.map_err(|e| e.to_string())
}

#[test]
fn messages_are_what_chat_interfaces_have() {
    let messages = r#"[
        {"role": "user", "content": [{"type": "text", "text": "Köln?"}, {"type": "text", "text": "!"}]},
        {"content": null, "role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"z": 1.0, "a": 2}}}]},
        {"role": "tool", "tool_call_id": "x", "content": "21"}
    ]"#;
    let template = "{{ messages[0].content | map(attribute='text') | join }} {{ messages[1] | tojson }} \
                    {{ messages[2].tool_call_id }} {{ messages[1].content is defined }}";
    // Keys stay in the order in which they came.
    assert_eq!(
        render_json(template, messages, "{}").expect("sound"),
        "K\u{f6}ln?! {\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \
         \"arguments\": {\"z\": 1.0, \"a\": 2}}}]} x False"
    );
    let parsed = Message::parse_all(messages).expect("sound");
    let told = |message: &Message| (message.role().to_owned(), message.content().to_owned());
    let told: Vec<_> = parsed.iter().map(told).collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        told,
        [pair("user", ""), pair("assistant", ""), pair("tool", "21")]
    );
    for (wrong, why) in [
        ("{}", "found an object; allowed: a list"),
        ("[1]", "number 0: found 1; allowed: an object"),
        (
            "[{\"role\": \"user\"}, {\"role\": 1}]",
            "number 1: has no `role`",
        ),
        ("[", "is not valid JSON"),
    ] {
        let message = Message::parse_all(wrong).expect_err("wrong").to_string();
        assert!(message.contains(why), "{message}");
    }
    assert!(Message::parse("{\"role\": \"user\"}").is_ok() && Message::parse("[]").is_err());
    let deep = format!(
        "[{{\"role\": \"user\", \"content\": {}1{}}}]",
        "[".repeat(100),
        "]".repeat(100)
    );
    assert!(
        render_json("x", &deep, "{}")
            .expect_err("deep")
            .contains("deep")
    );
}

/// As `apply_chat_template` of transformers 5.24 renames them.
#[test]
fn thoughts_have_all_their_names() {
    let template = "{{ messages[0] }}";
    for (given, seen) in [
        (
            "\"reasoning\": \"r\"",
            "{'thinking': 'r', 'role': 'a', 'reasoning': 'r', 'reasoning_content': 'r'}",
        ),
        (
            "\"reasoning_content\": \"r\"",
            "{'thinking': 'r', 'role': 'a', 'reasoning_content': 'r'}",
        ),
        (
            "\"thinking\": \"r\", \"x\": 1",
            "{'thinking': 'r', 'role': 'a', 'x': 1, 'reasoning_content': 'r'}",
        ),
        ("\"thinking\": null", "{'role': 'a'}"),
    ] {
        let messages = format!("[{{\"role\": \"a\", {given}}}]");
        assert_eq!(render_json(template, &messages, "{}").expect("sound"), seen);
    }
}

#[test]
fn variables_are_the_callers() {
    let template = "{{ enable_thinking is defined }} {{ enable_thinking }} {{ add_generation_prompt }} \
                    {{ tools | tojson }} {{ bos_token }}";
    let render = |variables| render_json(template, "[]", variables);
    assert_eq!(render("{}").expect("sound"), "False  True null <s>");
    let given = r#"{"enable_thinking": false, "add_generation_prompt": false, "tools": [{"n": "\u00e9<"}], "bos_token": "B"}"#;
    assert_eq!(
        render(given).expect("sound"),
        "True False False [{\"n\": \"\u{e9}<\"}] B"
    );
    assert!(
        render("[]")
            .expect_err("a list")
            .contains("allowed: an object")
    );
    assert!(
        render("{\"messages\": []}")
            .expect_err("apart")
            .contains("messages")
    );
    assert!(render("{\"n\": 99999999999999999999}").is_ok(), "a float");
    assert!(
        render("{\"n\": 18446744073709551615}")
            .expect_err("large")
            .contains("too large")
    );
    let mut options = ChatOptions::default();
    for (name, typed) in [
        ("a", "true"),
        ("b", "3"),
        ("c", "\"3\""),
        ("d", "high"),
        ("e", "[1"),
        ("f", ""),
    ] {
        options.variables.set_typed(name, typed).expect("a name");
    }
    let shown = ChatTemplate::new("{{ [a, b, c, d, e, f] }}").render(&[], &tokens(), &options);
    assert_eq!(shown.expect("sound"), "[True, 3, '3', 'high', '[1', '']");
}

/// As transformers chooses: with tools the template for them, if the model has one and nobody named another.
#[test]
fn tools_have_a_template_of_their_own() {
    let config = r#"{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}"#;
    let tokenizer = br#"{"version":"1.0","model":{"type":"WordLevel","vocab":{"?":0,"plain":1,"tools":2},"unk_token":"?"}}"#;
    let files = TextFiles {
        tokenizer,
        tokenizer_config: Some(config.as_bytes()),
        ..TextFiles::default()
    };
    let text = Text::new(&files, 3).expect("sound");
    let ids = |tools: Option<&str>, template: Option<&str>| {
        let mut options = ChatOptions {
            template: template.map(str::to_owned),
            ..ChatOptions::default()
        };
        if let Some(tools) = tools {
            options.variables.set("tools", tools).expect("JSON");
        }
        text.encode_chat(&[], &options).expect("sound")
    };
    assert_eq!(ids(None, None), [1]);
    assert_eq!(ids(Some("null"), None), [1]);
    assert_eq!(ids(Some("[{}]"), None), [2]);
    assert_eq!(ids(Some("[{}]"), Some("default")), [1]);
}
