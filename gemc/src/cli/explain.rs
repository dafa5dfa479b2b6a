//! `gemc explain`: a plan -> what each unit got, and why.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, Outcome, Run, Ui};
use crate::plan::dead::DeadWeight;
use crate::plan::file::{PlanFile, PlanUnit};
use crate::target::Costs;

/// Tell why a plan gives its formats
#[derive(clap::Args, Debug)]
pub struct Explain {
    /// The plan
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Only units whose name contains this
    #[arg(value_name = "UNIT")]
    unit: Option<String>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// What a plan's time is of.
pub const PREDICTED: &str =
    "for a token at position 512, or for a text of 128 tokens that is classified";

/// Units with their reasons, the costliest first.
#[derive(Debug, Serialize)]
struct Explanation {
    bits_per_weight: f64,
    unit_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_kl: Option<f64>,
    measured_kl: Option<f64>,
    measured_kl_rounded: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_ms: Option<f64>,
    projected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration_text: Option<String>,
    units: Vec<PlanUnit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<DeadWeight>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.4} bits per weight, {} bytes, predicted KL ",
            self.bits_per_weight, self.unit_bytes
        )?;
        match self.predicted_kl {
            Some(kl) => write!(f, "{kl:.6}")?,
            None => write!(f, "none: nothing was measured")?,
        }
        if let Some(kl) = self.measured_kl {
            write!(f, ", measured {kl:.6}")?;
        }
        match self.measured_kl_rounded {
            Some(kl) => writeln!(f, ", with rounded activations {kl:.6}")?,
            None => writeln!(f)?,
        }
        if let Some(ms) = self.predicted_ms {
            let word = Costs::word(self.projected);
            writeln!(f, "{ms:.4} ms {word} {PREDICTED}")?;
        }
        if let Some(text) = &self.calibration_text {
            writeln!(f, "calibrated with {text}")?;
        }
        let width = self.units.iter().map(|u| u.name.len()).max().unwrap_or(0);
        for unit in &self.units {
            let PlanUnit {
                name,
                format,
                activations,
                bytes,
                predicted_kl,
                reason,
                ..
            } = unit;
            let inputs = match activations {
                None => String::new(),
                Some(format) => format!("; activations in {format}"),
            };
            let nats = predicted_kl.map_or(String::new(), |kl| format!("{kl:.1e} nats  "));
            writeln!(
                f,
                "{name:width$}  {format:3} {bytes:>10} bytes  {nats}{reason}{inputs}"
            )?;
        }
        match &self.dead {
            Some(dead) => write!(f, "{dead}"),
            None => Ok(()),
        }
    }
}

impl Run for Explain {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let plan = PlanFile::read(&self.plan)?;
        let mut units = plan.units;
        if let Some(part) = &self.unit {
            let names: Vec<String> = units.iter().map(|unit| unit.name.clone()).collect();
            units.retain(|unit| unit.name.contains(part.as_str()));
            if units.is_empty() {
                let words = format!(
                    "{}: no unit with {part:?} in its name; units: {}",
                    self.plan.display(),
                    names.join(", ")
                );
                return Err(Failure::Input(words.into()));
            }
        }
        let cost = |unit: &PlanUnit| unit.predicted_kl.unwrap_or_default();
        units.sort_by(|a, b| cost(b).total_cmp(&cost(a)));
        let explained = Explanation {
            bits_per_weight: plan.bits_per_weight,
            unit_bytes: plan.unit_bytes,
            predicted_kl: plan.predicted_kl,
            measured_kl: plan.measured_kl,
            measured_kl_rounded: plan.measured_kl_rounded,
            predicted_ms: plan.predicted_ms,
            projected: plan.projected,
            calibration_text: plan.calibration_text,
            units,
            dead: plan.dead,
        };
        ui.result(self.json, &explained)?;
        Ok(Outcome::Done)
    }
}
