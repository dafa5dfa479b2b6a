//! A compiled model -> texts of what stages made of it, for `gemc build --emit`.

use std::fmt::Write as _;

use gemc_kernels::rust;

use super::model::Model;
use super::{Failure, Ui};
use crate::emit::cranelift::{Effort, Isa, KernelCode, Listing, MachineCode, compile};
use crate::import::Split;
use crate::progress::Progress as _;
use crate::reference::{OutputRows, RunOptions};
use crate::routing::Collector;
use crate::texts::{self, Extent, TextSource};
use crate::{calibrate, graph, sequences};

/// A stage whose result can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Stage {
    /// The typed graph, for Graphviz: graph.dot
    Graph,
    /// Where the calibration text goes, layer by layer: routes.json
    Routes,
    /// Format of every unit's weights and inputs: plan.txt
    Plan,
    /// The kernels and the phase table: program.gemk
    Kernel,
    /// The kernels as Rust, also where an object is built: kernels.rs, program.rs
    Rust,
    /// The kernels as Cranelift translates them: program.clif
    Clif,
    /// The kernels as machine instructions of the target: program.asm
    Disasm,
}

impl Stage {
    const fn is_machine_code(self) -> bool {
        matches!(self, Self::Clif | Self::Disasm)
    }
}

/// Tokens of calibration text whose routes are followed.
const ROUTED_TOKENS: usize = 16_384;

/// Path in the package, and text, of each of these stages.
///
/// # Errors
/// When machine code is asked for and there is none for the target, or routes and there is no text.
pub fn texts(
    mut stages: Vec<Stage>,
    model: &Model,
    ui: &Ui,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    stages.sort_unstable();
    stages.dedup();
    let wanted = stages.iter().any(|stage| stage.is_machine_code());
    let code = wanted.then(|| machine_code(model)).transpose()?;
    let mut texts = Vec::new();
    for stage in stages {
        let mut add = |file: &str, text: String| {
            texts.push((format!("emit/{file}"), text.into_bytes()));
        };
        match stage {
            Stage::Graph => add("graph.dot", graph::dot(&model.loaded.graph)),
            Stage::Routes => add("routes.json", routes(model, ui)?),
            Stage::Plan => add("plan.txt", plan(model)),
            Stage::Kernel => add(
                "program.gemk",
                gemc_kernels::ir::text::print(model.compiled.program.program()),
            ),
            Stage::Rust => {
                for (path, text) in rust::program(&model.compiled.program, model.target.level) {
                    add(path.trim_start_matches("src/"), text);
                }
            }
            Stage::Clif => add("program.clif", listing(code.as_ref(), |l| &l.clif)),
            Stage::Disasm => add("program.asm", listing(code.as_ref(), |l| &l.disassembly)),
        }
    }
    Ok(texts)
}

/// Where the f32 model sends the checkpoint's calibration text.
fn routes(model: &Model, ui: &Ui) -> Result<String, Failure> {
    let loaded = &model.loaded;
    let extent = Extent::Tokens(ROUTED_TOKENS);
    let source = TextSource::find(loaded.checkpoint.dir(), Split::Calibration, None)?;
    if let Some(name) = source.name() {
        ui.note(&format!("routes are of the {name}"));
    }
    let documents = texts::read(loaded, &source, "to follow routes of", extent)?;
    let sequences = sequences::windows(&documents, texts::window(loaded), ROUTED_TOKENS);
    let reference = loaded.reference();
    let mut collector = Collector::new(&loaded.graph);
    ui.start("following the calibration text", sequences.len() as u64);
    for group in calibrate::batches(&sequences) {
        let options = RunOptions {
            outputs: OutputRows::None,
            ..RunOptions::default()
        };
        let run = reference.run(&calibrate::batch_of(group), &options);
        let run = run.map_err(|e| Failure::Input(Box::new(e)))?;
        let pushed = collector.push_batch(group, &run.routing);
        pushed.map_err(|e| Failure::Input(Box::new(e)))?;
        ui.advance(group.len() as u64);
    }
    let mut text = serde_json::to_string_pretty(&collector.finish())
        .map_err(|e| Failure::Input(Box::new(e)))?;
    text.push('\n');
    Ok(text)
}

/// A line a unit: its name, the format of its weights, that of its inputs, and where its codes are from.
fn plan(model: &Model) -> String {
    let plan = &model.plan;
    let line = |unit: &graph::Unit| {
        let planned = plan.planes(unit.id).is_ok_and(|p| p.is_some());
        let codes = if planned { "planned" } else { "rounded now" };
        let (weights, inputs) = (plan.codec(unit.id), plan.activations(unit.id));
        format!(
            "{} {} {} {codes}\n",
            unit.name,
            weights.name(),
            inputs.name()
        )
    };
    model.loaded.graph.units().iter().map(line).collect()
}

fn machine_code(model: &Model) -> Result<MachineCode, Failure> {
    let isa = Isa::of_target(&model.target, Effort::default())?;
    Ok(compile(&model.compiled.program, &isa, true)?)
}

/// One text of every kernel, in their order.
fn listing(code: Option<&MachineCode>, pick: impl Fn(&Listing) -> &String) -> String {
    let mut text = String::new();
    for (id, kernel) in code.iter().flat_map(|code| &code.kernels) {
        let KernelCode { name, bytes, .. } = kernel;
        let body = kernel.listing.as_ref().map_or("", |listing| pick(listing));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "; {id} {name}: {} bytes\n{}\n",
            bytes.len(),
            body.trim_end()
        );
    }
    text
}
