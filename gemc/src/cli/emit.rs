//! A compiled model -> texts of what stages made of it, for `gemc build --emit`.

use std::fmt::Write as _;

use super::Failure;
use super::model::Model;
use crate::emit::cranelift::{Compiled, Effort, Isa, KernelCode, Listing, compile};
use crate::graph;
use crate::kernel;

/// A stage whose result can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Stage {
    /// The typed graph, for Graphviz: graph.dot
    Graph,
    /// The kernels and the phase table: program.gemk
    Kernel,
    /// The kernels as Cranelift translates them: program.clif
    Clif,
    /// The kernels as machine instructions of the target: program.asm
    Disasm,
}

impl Stage {
    /// Name of its file.
    const fn file(self) -> &'static str {
        match self {
            Self::Graph => "graph.dot",
            Self::Kernel => "program.gemk",
            Self::Clif => "program.clif",
            Self::Disasm => "program.asm",
        }
    }

    const fn is_machine_code(self) -> bool {
        matches!(self, Self::Clif | Self::Disasm)
    }
}

/// Path in the package, and text, of each of these stages.
///
/// # Errors
/// When machine code is asked for and there is none for the target.
pub fn texts(mut stages: Vec<Stage>, model: &Model) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    stages.sort_unstable();
    stages.dedup();
    let wanted = stages.iter().any(|stage| stage.is_machine_code());
    let code = wanted.then(|| machine_code(model)).transpose()?;
    let text = |stage| match stage {
        Stage::Graph => graph::dot(&model.loaded.graph),
        Stage::Kernel => kernel::text::print(model.compiled.program.program()),
        Stage::Clif => listing(code.as_ref(), |listing| &listing.clif),
        Stage::Disasm => listing(code.as_ref(), |listing| &listing.disassembly),
    };
    let named = |stage: Stage| (format!("emit/{}", stage.file()), text(stage).into_bytes());
    Ok(stages.into_iter().map(named).collect())
}

fn machine_code(model: &Model) -> Result<Compiled, Failure> {
    let isa = Isa::of_target(&model.target, Effort::default())?;
    Ok(compile(&model.compiled.program, &isa, true)?)
}

/// One text of every kernel, in their order.
fn listing(code: Option<&Compiled>, pick: impl Fn(&Listing) -> &String) -> String {
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
