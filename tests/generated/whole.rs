//! Whole trained models on their evaluation texts: emitted Rust, machine code and interpreter give the same logits, bit
//! for bit.

use std::fmt::Write as _;

use gem_runtime::text::Text;
use gem_runtime::{Engine, Model as _, SessionOptions};
use gem_tests::needs::repository;
use gemc::emit::cranelift::Effort;
use gemc::import::{Split, TextRecord};
use gemc::progress::Silent;
use gemc::target::Target;
use gemc_format::Codec;

use crate::GEM_LM;
use crate::workspace::{Case, checksums, listed};

/// Tokens that emitted Rust and machine code are compared on, at least.
const TOKENS: usize = 4000;

/// Tokens of a domain; more than a call's 128 rows, and no multiple of them.
const WINDOW: usize = 516;

/// Tokens that the interpreter, which is slow, is compared on.
const INTERPRETED: usize = 64;

/// The first tokens of every domain's evaluation texts.
fn windows(case: &Case) -> Vec<Vec<u32>> {
    let checkpoint = &case.0.loaded.checkpoint;
    let vocabulary = case.0.loaded.graph.facts().vocab_size as u32;
    let text = Text::open(checkpoint.dir(), vocabulary)
        .expect("sound")
        .expect("there");
    let domains = checkpoint.texts(Split::Evaluation).expect("sound");
    let window = |records: &[TextRecord]| -> Vec<u32> {
        let ids = records.iter().flat_map(|record| {
            let ids = text.tokenizer().encode_plain(&record.text);
            ids.expect("text")
        });
        ids.take(WINDOW).collect()
    };
    domains.iter().map(|(_, records)| window(records)).collect()
}

fn machine_code(case: &Case) -> Engine {
    gemc::backend::jitted(&case.0, Effort::default(), &Silent).expect("this machine's")
}

#[test]
fn machine_code_equals_emitted_rust_on_evaluation_text() {
    let (case, workspace) = &*GEM_LM;
    let windows = windows(case);
    let tokens: usize = windows.iter().map(Vec::len).sum();
    assert!(tokens >= TOKENS, "only {tokens} tokens");
    let name = &workspace.names[0];
    let mut input = String::new();
    for ids in &windows {
        let _ = writeln!(input, "{name} 9999 2 {}", listed(ids));
    }
    let found = workspace.run(input);
    assert_eq!(found.len(), windows.len());
    let engine = machine_code(case);
    for (i, (ids, found)) in windows.iter().zip(&found).enumerate() {
        let sums = checksums(&engine, ids);
        assert_eq!(sums.split(' ').count(), ids.len());
        assert!(sums == *found, "domain {i}: {}", first(&sums, found));
    }
}

/// Where two lists of checksums differ first.
fn first(a: &str, b: &str) -> String {
    let same = a.split(' ').zip(b.split(' ')).take_while(|(a, b)| a == b);
    format!("position {}", same.count())
}

#[test]
fn the_interpreter_equals_machine_code_on_trained_models() {
    let (lm, _) = &*GEM_LM;
    let ids = windows(lm).swap_remove(0);
    let ids = &ids[..INTERPRETED];
    assert_eq!(
        checksums(&lm.interpreted(), ids),
        checksums(&machine_code(lm), ids)
    );
    let dir = repository("examples/models/gem-cls");
    let cls = Case::of(&dir, "gem-cls", Codec::N4, Target::host());
    let ids: Vec<u32> = windows(&cls).concat();
    assert!(ids.len() > INTERPRETED);
    let ids = &ids[..INTERPRETED];
    let classes = |engine: &Engine| -> Vec<u32> {
        let mut session = engine.session(SessionOptions::default()).expect("small");
        let logits = session.classify_ids(ids).expect("it fits");
        logits.iter().map(|logit| logit.to_bits()).collect()
    };
    assert_eq!(classes(&cls.interpreted()), classes(&machine_code(&cls)));
}
