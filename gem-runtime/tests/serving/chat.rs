//! Chat templates as they are written for Python's Jinja.

use gem_runtime::text::{ChatTemplate, Message};

fn render(template: &str) -> Result<String, String> {
    let messages = [
        Message::system("be <kind>"),
        Message::user(" hi "),
        Message::assistant("hello"),
        Message::user("bye \u{e9}"),
    ];
    ChatTemplate::new(template.to_owned())
        .and_then(|template| template.render(&messages, "<s>", "</s>"))
        .map_err(|e| e.to_string())
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
fn methods_and_loop_controls_work() {
    let template = "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}\
                    {{ m.content.strip().upper() if m.content.startswith(' ') else m.get('content') }};\
                    {% if loop.index0 == 2 %}{% break %}{% endif %}{% endfor %}\
                    {{ messages[1:] | length }}{{ messages[-1].role }}";
    assert_eq!(render(template).expect("sound"), "HI;hello;3user");
    let kept = "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}";
    assert_eq!(render(kept).expect("sound"), "4");
    assert_eq!(
        render("{{ missing is defined }}{{ missing }}").expect("sound"),
        "False"
    );
}

#[test]
fn json_is_pythons() {
    let json = r#"{"role": "system", "content": "be <kind>"}"#;
    assert_eq!(render("{{ messages[0] | tojson }}").expect("sound"), json);
    let indented = "[\n  \"\u{e9}'\",\n  [],\n  {\n    \"a\": 1.5\n  }\n]";
    assert_eq!(
        render("{{ ['\u{e9}\\'', [], {'a': 1.5}] | tojson(indent=2) }}").expect("sound"),
        indented
    );
}

#[test]
fn refusals_are_the_templates_own_words() {
    let refused = |template: &str, named: &str| {
        let message = render(template).expect_err("refused");
        assert!(
            message.contains("chat_template") && message.contains(named),
            "{message}"
        );
    };
    refused(
        "{{ raise_exception('roles must alternate') }}",
        "roles must alternate",
    );
    refused("{{ strftime_now('%d') }}", "strftime_now");
    refused("\n\n{{ messages.x.y }}", "line 3");
    refused("{{ messages.foo() }}", "foo");
    refused("{% if %}", "line 1");
    refused("{% generation %}", "generation");
}

#[test]
fn work_is_bounded() {
    let endless =
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}";
    assert!(render(endless).expect_err("too much").contains("fuel"));
}
