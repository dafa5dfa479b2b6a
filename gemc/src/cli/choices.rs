//! Arguments that several verbs share: target, formats, rounding.

use gem_runtime::format::Rounding;

use super::Failure;
use crate::graph::{Graph, Typed};
use crate::plan::BitPlan;
use crate::target::Target;

/// Formats of the weights.
#[derive(clap::Args, Clone, Debug)]
pub struct Formats {
    /// Uniform format of every quantised tensor: 8.25, 6.25, 5.25, 4.25 (non-linear), 4.25l (linear), 3.25 or 2.25
    #[arg(long, value_name = "B", default_value = "4.25")]
    pub bits: String,
    /// How weights are rounded
    #[arg(long, value_enum, default_value_t = RoundingName::Search)]
    pub rounding: RoundingName,
}

/// A rounding by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RoundingName {
    /// From the largest magnitude of each block
    Plain,
    /// A search over scales for the smallest weighted error
    Search,
}

impl Formats {
    /// The plan for a graph.
    ///
    /// # Errors
    /// Naming the known formats.
    pub fn plan(&self, graph: &Graph<Typed>) -> Result<BitPlan, Failure> {
        Ok(BitPlan::parse_bits(graph, &self.bits)?)
    }

    /// The rounding.
    #[must_use]
    pub fn rounding(&self) -> Rounding {
        match self.rounding {
            RoundingName::Plain => Rounding::Plain,
            RoundingName::Search => Rounding::Search,
        }
    }
}

/// The device.
#[derive(clap::Args, Clone, Debug)]
pub struct Device {
    /// Name of a target (see `gemc targets`), `host`, or the path of a target file
    #[arg(long, value_name = "T", default_value = "host")]
    pub target: String,
}

impl Device {
    /// The target.
    ///
    /// # Errors
    /// Naming the known ones.
    pub fn find(&self) -> Result<Target, Failure> {
        Ok(Target::find(&self.target)?)
    }
}
