//! A synthesised checkpoint is one that the importer accepts, whole or in shards, and the same for the same seed.

use super::*;
use crate::import::{self, tests::base};
use crate::progress::Silent;

fn written(root: &Path, name: &str, seed: u64) -> SyntheticCheckpoint {
    let config = root.join("config.json");
    std::fs::write(&config, base().to_string()).expect("written");
    synth(&config, &root.join(name), seed, &Silent).expect("a good config")
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let made = written(root.path(), "a", 1);
    written(root.path(), "b", 1);
    written(root.path(), "c", 2);
    let bytes =
        |name: &str| std::fs::read(root.path().join(name).join("model.safetensors")).expect("read");
    assert_eq!(bytes("a"), bytes("b"));
    assert_ne!(bytes("a"), bytes("c"));
    assert_eq!(made.files, ["model.safetensors"]);
    let c = import::checkpoint(&root.path().join("a")).expect("accepted");
    assert_eq!(c.graph().tensors().count(), made.tensors);
}

#[test]
fn shards_hold_the_same_model() {
    let root = tempfile::tempdir().expect("a temporary folder");
    written(root.path(), "whole", 1);
    let config = base();
    let map = config.as_object().expect("an object");
    let folder = OutputFolder::create(&root.path().join("sharded")).expect("new");
    let (graph, tensors) = plan(map).expect("few tensors");
    let plan = shards(tensors, 8_000);
    assert!(plan.len() > 2);
    let files = write_shards(&folder, &Draw::of(&graph, 1), &plan, &Silent).expect("written");
    assert_eq!(files.len(), plan.len());
    std::fs::write(folder.path().join("config.json"), base().to_string()).expect("written");
    folder.commit().expect("renamed");
    let open = |name: &str| import::checkpoint(&root.path().join(name));
    let sharded = open("sharded").expect("accepted");
    assert_eq!(
        sharded.content_hash(),
        open("whole").expect("accepted").content_hash()
    );

    let index = root.path().join("sharded/model.safetensors.index.json");
    let good = std::fs::read_to_string(&index).expect("read");
    for (from, to, words) in [
        (
            files[1].as_str(),
            files[0].as_str(),
            "but model.safetensors.index.json says",
        ),
        (
            "embed_tokens",
            "embed_toads",
            "embed_toads.weight`: is missing",
        ),
        ("embed_tokens", "embed_toads", "does not name it"),
        (
            files[0].as_str(),
            "model-00009-of-00009.safetensors",
            "cannot be read",
        ),
        (files[0].as_str(), "../model.safetensors", "same folder"),
    ] {
        std::fs::write(&index, good.replacen(from, to, 1)).expect("written");
        let text = open("sharded").expect_err(words).to_string();
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_bad_config_or_a_taken_folder_leaves_nothing() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let config = root.path().join("config.json");
    std::fs::write(&config, "{\"model_type\": \"gem\"}").expect("written");
    let out = root.path().join("out");
    let error = synth(&config, &out, 0, &Silent).expect_err("keys are missing");
    assert!(
        error.to_string().contains("`hidden_size`: is missing"),
        "{error}"
    );
    written(root.path(), "out", 0);
    assert!(matches!(
        synth(&config, &out, 0, &Silent),
        Err(SynthError::Output(OutputError::Occupied(_)))
    ));
    assert_eq!(std::fs::read_dir(root.path()).expect("listed").count(), 2);
}
