//! Classification: order, scores, and texts that are too long.

use gem_runtime::{Error, Model as _, SessionOptions, softmax};

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
