//! What `gemc plan` says of the plan that it made.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::graph::Task;
use crate::plan::dead::DeadWeight;
use crate::plan::file::PlanFile;
use crate::planner;
use crate::routing::Routes;
use crate::target::Costs;

/// What models with distributions are measured by.
const KL: &str = "KL";

/// What `--json` says of a plan.
#[derive(Debug, Serialize)]
pub struct PlanReport {
    plan: String,
    bits_per_weight: f64,
    unit_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_kl: Option<f64>,
    measured_kl: Option<f64>,
    measured_kl_rounded: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_ms: Option<f64>,
    projected: bool,
    formats: Vec<(&'static str, u64)>,
    pub domains: Vec<(String, f64)>,
    pub starved: Vec<String>,
    /// What that text was, where it is not the checkpoint's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration_text: Option<String>,
    /// What leaving out branches costs, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<DeadWeight>,
    /// `KL`, or what takes its place.
    #[serde(skip)]
    measure: &'static str,
    /// What the calibration text visited; too long for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Routes>,
}

impl PlanReport {
    /// Of what a plan's file says.
    pub fn new(output: &Path, file: PlanFile, task: Task) -> Self {
        Self {
            plan: output.display().to_string(),
            bits_per_weight: file.bits_per_weight,
            unit_bytes: file.unit_bytes,
            predicted_kl: file.predicted_kl,
            measured_kl: file.measured_kl,
            measured_kl_rounded: file.measured_kl_rounded,
            predicted_ms: file.predicted_ms,
            projected: file.projected,
            formats: planner::shares(&file),
            domains: Vec::new(),
            starved: Vec::new(),
            calibration_text: file.calibration_text,
            dead: file.dead,
            measure: match task {
                Task::CausalLm | Task::SequenceClassification | Task::TokenClassification => KL,
                Task::Embedding => "cosine error",
            },
            routes: None,
        }
    }
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {:.4} bits per weight, {} bytes",
            self.plan, self.bits_per_weight, self.unit_bytes
        )?;
        for (format, bytes) in &self.formats {
            let share = 100.0 * *bytes as f64 / self.unit_bytes.max(1) as f64;
            writeln!(f, "  {format}: {share:.1} % of the bytes")?;
        }
        if let Some(kl) = self.measured_kl {
            let forced = match self.measure {
                KL => ", routing forced",
                _ => "",
            };
            write!(f, "  {} {kl:.6} on texts set aside{forced}", self.measure)?;
            match self.measured_kl_rounded {
                Some(kl) => writeln!(f, "; {kl:.6} with rounded activations")?,
                None => writeln!(f)?,
            }
        }
        if let Some(ms) = self.predicted_ms {
            let word = Costs::word(self.projected);
            writeln!(f, "  {ms:.4} ms {word} {}", super::explain::PREDICTED)?;
        }
        let worst = self.domains.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((domain, kl)) = worst {
            writeln!(f, "  worst domain: {domain}, {} {kl:.6}", self.measure)?;
        }
        if let Some(dead) = &self.dead {
            write!(f, "{dead}")?;
        }
        Ok(())
    }
}
