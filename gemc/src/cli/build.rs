//! `gemc build`: a checkpoint -> a crate folder for one target, and its program where asked.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::model::{Model, ModelArgs};
use super::{Failure, Outcome, Run, Ui};
use crate::cache::Cache;
use crate::graph;
use crate::kernel;
use crate::package::{Builder, Runtime};
use crate::progress::Progress as _;

/// Compile a checkpoint into a crate for one target
#[derive(clap::Args, Debug)]
pub struct Build {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder of the crate; an earlier one is replaced once the new one is complete
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Name of the crate and its program; the checkpoint folder's name unless given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Also compile the program, to DIR/bin/NAME
    #[arg(long)]
    bin: bool,
    /// Also write what stages made, to DIR/emit
    #[arg(long, value_enum, value_name = "STAGE", value_delimiter = ',')]
    emit: Vec<Stage>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// A stage whose result can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Stage {
    /// The typed graph, for Graphviz: graph.dot
    Graph,
    /// The kernels and the phase table: program.gemk
    Kernel,
}

impl Stage {
    /// Path in the package, and text.
    fn dump(self, model: &Model) -> (String, Vec<u8>) {
        let (file, text) = match self {
            Self::Graph => ("graph.dot", graph::dot(&model.loaded.graph)),
            Self::Kernel => {
                let program = model.compiled.program.program();
                ("program.gemk", kernel::text::print(program))
            }
        };
        (format!("emit/{file}"), text.into_bytes())
    }
}

/// What was built.
#[derive(Debug, Serialize)]
struct Built {
    name: String,
    target: String,
    output: String,
    bits_per_weight: f64,
    weight_bytes: u64,
    arena_bytes: u32,
    kv_bytes_per_position: u32,
    kernels: usize,
    phases: usize,
    program: Option<String>,
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} for {} in {}", self.name, self.target, self.output)?;
        writeln!(
            f,
            "  {:.3} bits per weight, {:.1} MB of weights",
            self.bits_per_weight,
            self.weight_bytes as f64 / 1e6
        )?;
        writeln!(f, "  {} kernels in {} phases", self.kernels, self.phases)?;
        let (arena, kv) = (
            f64::from(self.arena_bytes) / 1e6,
            f64::from(self.kv_bytes_per_position) / 1e3,
        );
        write!(
            f,
            "  memory while running: {arena:.1} MB + {kv:.1} KB per position of context"
        )?;
        if let Some(program) = &self.program {
            write!(f, "\n  program: {program}")?;
        }
        Ok(())
    }
}

impl Run for Build {
    fn run(mut self, ui: &Ui) -> Result<Outcome, Failure> {
        let mut model = self.model.compile()?;
        if let Some(name) = self.name {
            model.name = name;
        }
        let parts = model.parts();
        let compiled = &model.compiled;
        let mut package = parts.package(Runtime::Embedded)?;
        self.emit.sort_unstable();
        self.emit.dedup();
        package
            .texts
            .extend(self.emit.iter().map(|stage| stage.dump(&model)));
        ui.start(
            "quantising and packing weights",
            compiled.layout.body_bytes(),
        );
        let mut before = 0;
        parts.write(&self.output, &package, &mut |done| {
            ui.advance(done - before);
            before = done;
        })?;
        let program = if self.bin {
            ui.start("compiling the program", 0);
            let triple = model.target.rust_triple();
            let builder = Builder::new(&Cache::open()?, triple);
            Some(builder.build_into(&package, &self.output)?)
        } else {
            None
        };
        let program_ir = compiled.program.program();
        let built = Built {
            name: package.crate_name(),
            target: model.target.name.clone(),
            output: self.output.display().to_string(),
            bits_per_weight: compiled.layout.bits_per_weight(),
            weight_bytes: compiled.layout.weight_bytes(),
            arena_bytes: program_ir.shape.arena_bytes,
            kv_bytes_per_position: program_ir.shape.kv_bytes_per_position,
            kernels: program_ir.kernels.len(),
            phases: program_ir.body.len() + program_ir.head.len(),
            program: program.map(|p| p.display().to_string()),
        };
        ui.result(self.json, &built)?;
        Ok(Outcome::Done)
    }
}
