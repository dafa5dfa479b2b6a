//! Two models by every way into one program, which has one runtime, and as machine code of this process: the same bits
//! everywhere.

use gem_runtime::file::Checksum;
use gem_runtime::{Engine, Model as _, SessionOptions, Task};
use gem_tests::place;
use gemc::backend;
use gemc::package::Runtime;
use gemc::pipeline;
use gemc::plan::BitPlan;
use gemc::prepared::PreparedModel;
use gemc::target::Target;
use gemc_format::{Codec, Rounding};

use crate::workspace::{Workspace, ours};

const LM: &str = "lm-all-2lora-top2-none-flagscar";
const CLS: &str = "cls-final-2domains-top2-fallback";
const IDS: &[u32] = &[3, 1, 4, 1, 5, 9, 2, 6];

/// In an app that forbids what kernels need, of an edition before theirs, under another name of the runtime.
const STRICT: &str = r#"//! An app.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub)]

gem_macros::include_model!("../models/lm-all-2lora-top2-none-flagscar", bits = 4.25, name = "lm", crate = ::rt);
gem_macros::include_model!("../models/cls-final-2domains-top2-fallback", bits = 4.25, name = "cls", crate = ::rt, text = false);
"#;

const SCRIPT: &str = r#"use gemc::{Build, WeightsIn};

fn main() {
    let models = [("lm-all-2lora-top2-none-flagscar", "lm"), ("cls-final-2domains-top2-fallback", "cls")];
    for (folder, name) in models {
        let build = Build::new(format!("../models/{folder}")).bits("4.25").name(name);
        let build = if name == "lm" { build } else { build.weights(WeightsIn::File) };
        build.compile().unwrap_or_else(|error| gemc::build::fail(&error));
    }
}
"#;

const SCRIPTED: &str =
    "//! A library.\ngem_runtime::include_built!(\"lm\");\ngem_runtime::include_built!(\"cls\");\n";

const APP: &str = r#"//! Prints a checksum of each model's logits.
use gem_runtime::file::Checksum;
use gem_runtime::{Engine, Model as _, SessionOptions, Task};

gem_macros::include_model!("../models/lm-all-2lora-top2-none-flagscar", bits = 4.25, name = "own", weights = "file");

fn main() {
    let folder = std::env::args().nth(1).unwrap();
    let crates = |name: &str| format!("{folder}/{name}");
    let engines = [
        strict::lm::Model::embedded().unwrap().into_engine(),
        scripted::lm::Model::embedded().unwrap().into_engine(),
        crate_lm::Model::open(crates("crate-lm")).unwrap().into_engine(),
        own::Model::open(own::WEIGHT_FILE).unwrap().into_engine(),
        strict::cls::Model::embedded().unwrap().into_engine(),
        scripted::cls::Model::open(scripted::cls::WEIGHT_FILE).unwrap().into_engine(),
        crate_cls::Model::open(crates("crate-cls")).unwrap().into_engine(),
    ];
    for engine in engines {
        println!("{}", checksum(&engine));
    }
}

fn checksum(engine: &Engine) -> String {
    let ids = [3, 1, 4, 1, 5, 9, 2, 6];
    let mut session = engine.session(SessionOptions::default()).unwrap();
    let mut sum = Checksum::default();
    let mut add = |logits: &[f32]| logits.iter().for_each(|x| sum.update(&x.to_le_bytes()));
    match engine.info().task {
        Task::CausalLm => session.forward_all(&ids, |_, logits| add(logits)).unwrap(),
        _ => add(session.classify_ids(&ids).unwrap()),
    }
    format!("{:016x}", sum.finish())
}
"#;

#[test]
fn every_way_into_a_program_gives_the_same_bits() {
    let workspace = Workspace::new("apps-ways");
    let expected = [LM, LM, LM, LM, CLS, CLS, CLS].map(|name| {
        workspace.checkpoint(name);
        checksum(&interpreted(&workspace, name))
    });
    for (name, sum) in [(LM, &expected[0]), (CLS, &expected[4])] {
        assert_eq!(checksum(&jitted(&workspace, name)), *sum, "{name}");
    }
    for (name, checkpoint) in [("crate-lm", LM), ("crate-cls", CLS)] {
        generate(&workspace, name, checkpoint);
    }
    let runtime = |name: &str| ours(name, "gem-runtime", "gem-runtime", "\"std\", \"tokenizer\"");
    let macros = ours("gemc-macros", "gemc-macros", "gem-macros", "");
    workspace.package(
        "strict",
        2021,
        &(runtime("rt") + &macros),
        &[("src/lib.rs", STRICT)],
    );
    let script = format!(
        "{}\n[build-dependencies]\n{}",
        runtime("gem-runtime"),
        ours("gemc", "gemc", "gemc", "")
    );
    workspace.package(
        "scripted",
        2024,
        &script,
        &[("build.rs", SCRIPT), ("src/lib.rs", SCRIPTED)],
    );
    let crates = ["crate-lm", "crate-cls"].map(|name| {
        format!(
            "{name} = {{ path = \"../{name}\", default-features = false, features = [\"std\"] }}\n"
        )
    });
    let others = "strict = { path = \"../strict\" }\nscripted = { path = \"../scripted\" }\n";
    let all = runtime("gem-runtime") + &macros + others + &crates.concat();
    workspace.package("ways", 2024, &all, &[("src/main.rs", APP)]);
    let folder = workspace.root.display().to_string();
    let text = workspace.succeed(&["run", "--quiet", "--package", "ways", "--", &folder]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, expected);
    // Macros and build scripts share one weight file a model.
    assert_eq!(workspace.weights_kept(), 2);
    let tree = workspace.succeed(&[
        "tree",
        "--package",
        "ways",
        "--prefix",
        "none",
        "--edges",
        "normal,no-proc-macro",
    ]);
    let runtimes = tree
        .lines()
        .filter(|line| line.starts_with("gem-runtime ") && !line.ends_with("(*)"));
    assert_eq!(runtimes.count(), 1, "{tree}");
}

/// Two crates with sources of the runtime of their own, as `gemc build` writes them unless told otherwise.
#[test]
fn crates_that_bring_a_runtime_each_fit_into_one_program() {
    let workspace = Workspace::new("apps-embedded");
    for (name, checkpoint) in [("crate-lm", LM), ("crate-cls", CLS)] {
        workspace.checkpoint(checkpoint);
        let prepared = prepared(&workspace, name, checkpoint);
        let package = prepared.package(Runtime::Embedded).expect("readable");
        let to = place(&workspace.root.join("parts").join(name));
        prepared
            .write(to, &package, &mut |_| {})
            .expect("a new folder");
    }
    let manifest = workspace.root.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).expect("written before");
    std::fs::write(
        &manifest,
        text.replace("\"models\"", "\"models\", \"parts\""),
    )
    .expect("space");
    let crates = ["crate-lm", "crate-cls"].map(|name| {
        format!("{name} = {{ path = \"../parts/{name}\", default-features = false }}\n")
    });
    let main = "fn main() { println!(\"{} {}\", crate_lm::INFO.name, crate_cls::INFO.name); }";
    workspace.package("both", 2024, &crates.concat(), &[("src/main.rs", main)]);
    let text = workspace.succeed(&["run", "--quiet", "--package", "both"]);
    assert_eq!(text.trim(), "crate-lm crate-cls");
}

fn prepared(workspace: &Workspace, name: &str, checkpoint: &str) -> PreparedModel {
    let loaded = pipeline::load(&workspace.root.join("models").join(checkpoint)).expect("good");
    let plan = BitPlan::uniform(&loaded.graph, Codec::N4);
    let target = Target::find("portable").expect("embedded");
    let mut prepared =
        PreparedModel::new(loaded, plan, target, Rounding::Search, None).expect("it compiles");
    prepared.name = name.to_owned();
    prepared
}

fn generate(workspace: &Workspace, name: &str, checkpoint: &str) {
    let prepared = prepared(workspace, name, checkpoint);
    let runtime = gem_tests::needs::repository("gem-runtime")
        .display()
        .to_string();
    let package = prepared.package(Runtime::Path(runtime)).expect("readable");
    let to = place(&workspace.root.join(name));
    prepared
        .write(to, &package, &mut |_| {})
        .expect("a new folder");
}

fn interpreted(workspace: &Workspace, checkpoint: &str) -> Engine {
    backend::interpreted(&prepared(workspace, "model", checkpoint)).expect("its own weights")
}

/// As a program has it that learns the checkpoint's path at run time: machine code for this machine.
fn jitted(workspace: &Workspace, checkpoint: &str) -> Engine {
    let options = gemc::model::Model::options().bits("4.25").without_cache();
    let model = options.open(workspace.root.join("models").join(checkpoint));
    model.expect("it compiles").into_engine()
}

fn checksum(engine: &Engine) -> String {
    let mut session = engine.session(SessionOptions::default()).expect("small");
    let mut sum = Checksum::default();
    let mut add = |logits: &[f32]| logits.iter().for_each(|x| sum.update(&x.to_le_bytes()));
    match engine.info().task {
        Task::CausalLm => session
            .forward_all(IDS, |_, logits| add(logits))
            .expect("it fits"),
        _ => add(session.classify_ids(IDS).expect("it fits")),
    }
    format!("{:016x}", sum.finish())
}
