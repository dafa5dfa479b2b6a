//! Arguments that several verbs share: target, formats, rounding.

use std::path::PathBuf;

use gemc_format::Rounding;

use super::Failure;
use crate::patch;
use crate::pipeline::LoadedCheckpoint;
use crate::plan::{BitPlan, DEFAULT_BITS, KvFormat};
use crate::prepared;
use crate::target::Target;

/// Formats of the weights.
#[derive(clap::Args, Clone, Debug)]
pub struct Formats {
    #[arg(long, value_name = "B", help = bits_help(), conflicts_with = "plan", value_parser = crate::plan::uniform_name)]
    pub bits: Option<String>,
    /// A plan made by `gemc plan`; its codes stand beside it
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Module that was trained further since the plan was made: it alone may differ, and is rounded by the moments that `gemc plan
    /// --keep-moments` kept; all else keeps its codes
    #[arg(long, value_name = "MODULE", requires = "plan")]
    pub patched: Option<String>,
    /// How weights are rounded
    #[arg(long, value_enum, default_value_t = RoundingName::Search)]
    pub rounding: RoundingName,
    /// How attention keeps keys and values
    #[arg(long, value_enum, default_value_t = KvName::F32)]
    pub kv: KvName,
}

fn bits_help() -> String {
    format!(
        "Uniform format of every quantised tensor: {}; {DEFAULT_BITS} unless given, but `run` takes the plan made last for the \
         checkpoint, if there is one",
        crate::plan::uniform_names()
    )
}

/// A format of keys and values by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KvName {
    /// As computed
    F32,
    /// Half precision: half the memory
    F16,
    /// Codes with a scale for each head of a position: a quarter of the memory
    Int8,
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
    /// The plan for a checkpoint, and the checkpoint without what the plan leaves out.
    ///
    /// # Errors
    /// Naming the known formats; for a plan that is damaged or of another checkpoint.
    pub fn apply(&self, loaded: LoadedCheckpoint) -> Result<(LoadedCheckpoint, BitPlan), Failure> {
        let (loaded, plan) = match (&self.plan, &self.patched) {
            (Some(path), Some(module)) => patch::planned(loaded, path, module)?,
            (Some(path), None) => prepared::Formats::File(path.clone()).apply(loaded)?,
            (None, _) => prepared::Formats::Bits(self.bits().to_owned()).apply(loaded)?,
        };
        Ok((loaded, plan.with_kv(self.kv())))
    }

    /// How keys and values are kept.
    #[must_use]
    pub fn kv(&self) -> KvFormat {
        match self.kv {
            KvName::F32 => KvFormat::F32,
            KvName::F16 => KvFormat::F16,
            KvName::Int8 => KvFormat::Int8,
        }
    }

    /// The uniform format.
    fn bits(&self) -> &str {
        self.bits.as_deref().unwrap_or(DEFAULT_BITS)
    }

    /// Whether nothing is said of formats.
    #[must_use]
    pub fn open(&self) -> bool {
        self.bits.is_none() && self.plan.is_none()
    }

    /// For people.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.plan {
            None => format!("uniform {} bits", self.bits()),
            Some(path) => format!("plan {}", path.display()),
        }
    }

    /// How the build rounds units whose codes no plan has.
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
