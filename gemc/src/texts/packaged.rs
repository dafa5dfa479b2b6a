//! The texts that gemc has itself -> records by domain, for checkpoints that have none.
//!
//! `examples/train/packaged_text.py` takes them from the committed corpus; `packaged/SOURCES.tsv` says where that is from.

use std::collections::BTreeMap;

use gem_runtime::hex;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::import::Split;

/// What plans and reports call them.
pub const NAME: &str = "packaged default text";

#[derive(Deserialize)]
struct Line {
    domain: String,
    text: String,
}

const fn file(split: Split) -> &'static str {
    match split {
        Split::Calibration => include_str!("packaged/calibration.jsonl"),
        Split::Evaluation => include_str!("packaged/evaluation.jsonl"),
    }
}

/// Documents by domain, in the order of the file.
pub fn documents(split: Split) -> BTreeMap<String, Vec<String>> {
    let mut domains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Every line parses, which a test makes sure of.
    for line in file(split).lines().flat_map(serde_json::from_str::<Line>) {
        domains.entry(line.domain).or_default().push(line.text);
    }
    domains
}

/// SHA-256 of a file of them, in hexadecimal.
pub fn digest(split: Split) -> String {
    hex(&Sha256::digest(file(split)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_domain_has_text_of_both_splits_and_both_parts() {
        for split in [Split::Calibration, Split::Evaluation] {
            let found = documents(split);
            let lines = file(split).lines().count();
            assert_eq!(found.values().map(Vec::len).sum::<usize>(), lines);
            assert_eq!(found.len(), 8);
            for (domain, texts) in found {
                assert!(texts.len() >= 4, "{domain}: {}", texts.len());
                assert!(texts.iter().all(|text| !text.trim().is_empty()));
            }
        }
        assert!(file(Split::Calibration).len() < 200_000);
    }
}
