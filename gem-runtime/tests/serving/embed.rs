//! Vectors of texts: prompts, and where pooling begins.

use gem_runtime::{Conventions, Error, Model as _, Task};
use serde_json::{Value, json};

use crate::script;

fn prompts() -> Value {
    json!({"prompts": {"query": "ab", "document": "", "none": null}, "default_prompt_name": "query"})
}

fn encoder(pools_prompt: bool, prompts: &Value) -> gem_runtime::Engine {
    let conventions = Conventions {
        pools_prompt,
        ..Conventions::PLAIN
    };
    script::of_texts(Task::Embedding, conventions, prompts)
}

#[test]
fn a_prompt_stands_before_the_text_and_is_pooled_or_not() {
    // One token is put before a text, and each letter is one.
    let both = encoder(true, &prompts());
    assert_eq!(both.embed("xyz").expect("sound"), [0.0, 6.0]);
    let behind = encoder(false, &prompts());
    assert_eq!(behind.embed("xyz").expect("sound"), [3.0, 6.0]);
    let as_named = |name: &str| behind.embed_as(Some(name), "xyz").expect("sound");
    assert_eq!(as_named("query"), [3.0, 6.0]);
    assert_eq!(as_named("document"), [0.0, 4.0]);
    assert_eq!(as_named("none"), [0.0, 4.0]);
    // Of a text of which nothing is left, the last row counts.
    assert_eq!(behind.embed("").expect("a prompt"), [2.0, 3.0]);
    let without = encoder(false, &json!({}));
    assert_eq!(without.embed("xyz").expect("sound"), [0.0, 4.0]);
}

#[test]
fn unknown_prompts_and_rows_are_told() {
    let encoder = encoder(false, &prompts());
    let told = encoder.embed_as(Some("quary"), "x").expect_err("unknown");
    assert!(told.to_string().contains("query"), "{told}");
    let mut session = encoder.session(Default::default()).expect("room");
    let wrong = session.embed_ids_from(&[1, 2], 2);
    assert!(matches!(wrong, Err(Error::Options(_))), "{wrong:?}");
}
