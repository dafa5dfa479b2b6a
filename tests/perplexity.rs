//! The reference executor against PyTorch on running text: the perplexity of gem-lm's and its dense twin's evaluation
//! texts, by the protocol that `reference_ppl.json` states.

use gem_runtime::text::Text;
use gem_tests::needs;
use gemc::import::Split;
use gemc::metrics;
use gemc::pipeline;
use gemc::reference::{Batch, OutputRows, Reference, RunOptions};
use serde_json::Value;

/// Tokens of a window.
const WINDOW: usize = 256;
/// Windows that are run together.
const TOGETHER: usize = 16;
/// Four digits: half a unit of the fifth.
const RELATIVE: f64 = 5e-5;

#[test]
fn perplexity_equals_pytorchs_to_four_digits() {
    equals_pytorchs("gem-lm");
}

#[test]
fn perplexity_of_the_dense_twin_equals_pytorchs_to_four_digits() {
    equals_pytorchs("gem-lm-dense");
}

fn equals_pytorchs(model: &str) {
    let dir = needs::repository(&format!("examples/models/{model}"));
    let expected = std::fs::read(dir.join("reference_ppl.json")).expect("it is in the repository");
    let expected: Value = serde_json::from_slice(&expected).expect("JSON");
    let loaded = pipeline::load(&dir).expect("a good checkpoint");
    let reference = loaded.reference();
    let vocabulary = loaded.graph.facts().vocab_size as u32;
    let text = Text::open(&dir, vocabulary).expect("sound").expect("there");
    let texts = loaded.checkpoint.texts(Split::Evaluation).expect("sound");
    let domains = expected["domains"].as_object().expect("one by name");
    assert_eq!(texts.len(), domains.len());
    for (domain, records) in texts {
        let documents = records.iter().map(|record| {
            let ids = text.tokenizer().encode_plain(&record.text);
            ids.expect("text")
        });
        let windows: Vec<Vec<u32>> = documents
            .flat_map(|ids| ids.chunks(WINDOW).map(<[u32]>::to_vec).collect::<Vec<_>>())
            .filter(|window| window.len() > 1)
            .collect();
        let (nll, tokens) = windows
            .chunks(TOGETHER)
            .map(|windows| negative_log_likelihood(&reference, windows))
            .fold((0.0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let theirs = &domains[&domain];
        assert_eq!(theirs["predicted_tokens"], tokens, "{domain}");
        let found = metrics::perplexity(nll / tokens as f64);
        let wanted = theirs["perplexity"].as_f64().expect("a number");
        println!("{model}, {domain}: {found:.4}, PyTorch {wanted:.4}");
        assert!(
            (found / wanted - 1.0).abs() <= RELATIVE,
            "{model}, {domain}: {found}, PyTorch has {wanted}"
        );
    }
}

/// Nats, and the tokens they are of: all but the first of each window.
fn negative_log_likelihood(reference: &Reference, windows: &[Vec<u32>]) -> (f64, usize) {
    let batch = Batch::of(windows);
    let options = RunOptions {
        outputs: OutputRows::All,
        ..RunOptions::default()
    };
    let run = reference.run(&batch, &options).expect("ids of the model");
    let (mut nats, mut tokens) = (0.0, 0);
    for (ids, rows) in windows.iter().zip(batch.sequences()) {
        for (target, row) in ids[1..].iter().zip(rows) {
            nats += metrics::negative_log_likelihood(run.logits.row(row), *target as usize);
            tokens += 1;
        }
    }
    (nats, tokens)
}
