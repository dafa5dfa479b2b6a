//! A weight file belongs to a layout and a plan: programs of every target read the same one.

use std::io::Cursor;
use std::path::Path;

use gem_runtime::simd::Level;
use gem_runtime::storage::Weights;
use gem_runtime::{Engine, Error, Model as _, ModelInfo, SessionOptions, Task};
use gemc::pipeline;
use gemc::plan::BitPlan;
use gemc::prepared::PreparedModel;
use gemc::target::Target;
use gemc_format::{Codec, Rounding};
use gemc_kernels::ir::interp::InterpProgram;

/// A dense model, routed ones, and a classifier.
const CHECKPOINTS: [&str; 4] = [
    "lm-dense-post-rope-layernorm",
    "lm-some-8lora-top1-always-domainscar",
    "lm-all-8mlp-top3-always-domainscar",
    "cls-some-5mlp-top2-always-domainscar",
];

fn prepared(checkpoint: &str, codec: Codec, target: Target) -> PreparedModel {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    let loaded = pipeline::load(&examples.join(checkpoint)).expect("a good checkpoint");
    let plan = BitPlan::uniform(&loaded.graph, codec);
    PreparedModel::new(loaded, plan, target, Rounding::Plain, None).expect("it compiles")
}

fn written(model: &PreparedModel) -> Vec<u8> {
    let file = model.write_weights(Cursor::new(Vec::new()), &mut |_| {});
    file.expect("memory takes all").into_inner()
}

/// An engine of the target's kernels, interpreted.
fn engine(model: &PreparedModel, file: &[u8]) -> Result<Engine, Error> {
    let info = ModelInfo {
        level: Level::Portable,
        ..model.info()
    };
    let program = InterpProgram::new(&model.compiled.program);
    Engine::new(info, Box::new(program), Weights::copied(file)?)
}

fn logits(engine: &Engine) -> Vec<u32> {
    let mut session = engine.session(SessionOptions::default()).expect("small");
    let ids = [3, 1, 4, 1, 5];
    let logits = match engine.info().task {
        Task::CausalLm => session.forward(&ids),
        Task::SequenceClassification | Task::TokenClassification => session.classify_ids(&ids),
        Task::Embedding => session.embed_ids(&ids),
    };
    let logits = logits.expect("it fits");
    logits.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn one_file_serves_every_target() {
    for checkpoint in CHECKPOINTS {
        for codec in [Codec::N4, Codec::B8] {
            let targets = Target::all();
            assert!(targets.len() >= 5, "all targets are read");
            let models: Vec<PreparedModel> = targets
                .into_iter()
                .map(|target| prepared(checkpoint, codec, target))
                .collect();
            let file = written(&models[0]);
            let expected = logits(&engine(&models[0], &file).expect("its own weights"));
            let key = models[0].weights_key().expect("a readable checkpoint");
            for model in &models[1..] {
                let name = &model.target.name;
                assert!(written(model) == file, "{checkpoint} {codec:?} {name}");
                assert_eq!(model.weights_key().expect("readable"), key, "{name}");
                let engine = engine(model, &file).expect("the same weights");
                assert_eq!(logits(&engine), expected, "{checkpoint} {codec:?} {name}");
            }
        }
    }
}

#[test]
fn a_file_of_another_layout_is_refused() {
    let target = || Target::find("portable").expect("it is embedded");
    let model = prepared(CHECKPOINTS[0], Codec::N4, target());
    let file = written(&model);
    let info = ModelInfo {
        layout: !model.info().layout,
        ..model.info()
    };
    let program = InterpProgram::new(&model.compiled.program);
    let weights = Weights::copied(&file).expect("a good file");
    let refused = Engine::new(info, Box::new(program), weights).expect_err("another layout");
    let told = refused.to_string();
    assert!(
        told.contains("layout is ") && told.contains("build both again"),
        "{told}"
    );
    let other = prepared(CHECKPOINTS[0], Codec::L4, target());
    let refused = engine(&other, &file).expect_err("another plan");
    assert!(refused.to_string().contains("plan is "), "{refused}");
    assert_ne!(
        other.info().layout,
        model.info().layout,
        "codecs are part of it"
    );
}
