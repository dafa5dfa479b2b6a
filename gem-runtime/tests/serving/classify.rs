//! Classification: order, scores, and texts that are too long.

use gem_runtime::{
    Conventions, Error, Label, LabelScore, Model as _, SessionOptions, Task, softmax,
};
use serde_json::json;

use crate::script::{self, MAX_ROWS};

#[test]
fn labels_come_best_first_with_probabilities() {
    let engine = script::classifier();
    let labels = engine.classify("a").expect("sound");
    let names: Vec<&str> = labels.iter().map(|label| &*label.label).collect();
    // Equal ones stay in the model's order.
    assert_eq!(names, ["short", "other", "long"]);
    let expected = softmax(&[2.0 - 4.5, 0.0, 0.0]).expect("numbers");
    assert_eq!(labels[0].score, expected[1]);
    assert_eq!(labels[2].score, expected[0]);
    assert_eq!(engine.classify("abcdefg").expect("sound")[0].label, "long");
}

#[test]
fn long_texts_are_cut_and_empty_ones_are_what_is_around_them() {
    let engine = script::classifier();
    let mut session = engine.session(SessionOptions::default()).expect("room");
    let score = |labels: Vec<gem_runtime::Label>| labels[0].score;
    let longest = "x".repeat(MAX_ROWS as usize - 1);
    let at_the_limit = score(session.classify(&longest).expect("sound"));
    let beyond = score(session.classify(&"x".repeat(5000)).expect("cut"));
    assert_eq!(at_the_limit, beyond);
    assert_ne!(
        at_the_limit,
        score(session.classify(&longest[1..]).expect("sound"))
    );
    assert_eq!(session.classify("").expect("<s> is left")[0].label, "short");
}

#[test]
fn a_decoder_does_not_classify() {
    let engine = script::writes(2, "x");
    assert!(matches!(engine.classify("a"), Err(Error::Task { .. })));
}

#[test]
fn a_pair_is_cut_where_it_is_longer_and_types_are_told_by_ids() {
    let conventions = Conventions {
        token_types: 2,
        ..Conventions::PLAIN
    };
    let engine = script::of_texts(Task::SequenceClassification, conventions, &json!({}));
    let logit = |labels: Vec<Label>, name: &str| {
        let of = |name: &str| {
            labels
                .iter()
                .find(|l| l.label == name)
                .expect("a label")
                .score
        };
        (of(name) / of("short")).ln().round()
    };
    let pair = |a: &str, b: &str| engine.classify_pair(a, b).expect("sound");
    assert_eq!(logit(pair("abc", "defgh"), "other"), 5.0);
    // 16 tokens are the most.
    assert_eq!(logit(pair(&"x".repeat(5000), "abc"), "other"), 3.0);
    assert_eq!(logit(pair("abc", &"x".repeat(5000)), "other"), 13.0);
    assert_eq!(logit(pair(&"x".repeat(90), &"x".repeat(80)), "other"), 8.0);
    let plain = Conventions::PLAIN;
    let engine = script::of_texts(Task::SequenceClassification, plain, &json!({}));
    let labels = engine.classify_pair("abc", "defgh").expect("sound");
    assert_eq!(logit(labels, "other"), 0.0);
}

#[test]
fn scores_are_what_the_model_says() {
    let of = |score| {
        let conventions = Conventions {
            score,
            ..Conventions::PLAIN
        };
        let engine = script::of_texts(Task::SequenceClassification, conventions, &json!({}));
        let labels = engine.classify("a").expect("sound");
        labels.iter().map(|l| l.score).collect::<Vec<f32>>()
    };
    assert_eq!(of(LabelScore::Identity), [0.0, 0.0, -2.5]);
    let odds = 1.0 / (1.0 + 2.5_f32.exp());
    let found = of(LabelScore::Sigmoid);
    assert_eq!(found[..2], [0.5, 0.5]);
    assert!((found[2] - odds).abs() < 1e-6, "{found:?}");
}

#[test]
fn every_token_of_a_text_has_a_label_and_a_place() {
    let engine = script::of_texts(Task::TokenClassification, Conventions::PLAIN, &json!({}));
    let labels = engine.label_tokens("ab\u{e9}d").expect("sound");
    let spans: Vec<_> = labels.iter().map(|label| label.span.clone()).collect();
    assert_eq!(spans, [0..1, 1..2, 2..4, 2..4, 4..5]);
    let names: Vec<&str> = labels.iter().map(|label| &*label.label).collect();
    let name = |byte: u8| ["long", "short", "other"][usize::from(byte) % 3];
    assert_eq!(names, [b'a', b'b', 0xc3, 0xa9, b'd'].map(name));
    assert!(labels.iter().all(|label| label.score > 0.99));
    // Cut to 16 tokens, one of which is put around the text.
    let long = engine.label_tokens(&"x".repeat(5000)).expect("cut");
    assert_eq!(long.len(), MAX_ROWS as usize - 1);
    assert_eq!(engine.label_tokens("").expect("nothing"), []);
}
