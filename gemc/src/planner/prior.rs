//! A checkpoint and a budget -> a plan without text: nothing is run, nothing is rounded, and every unit gets its bits by what
//! its product is for and by how often a token visits it.

use gemc_format::{Codec, mean_bits};

use super::{PlannerError, Settings, fixed};
use crate::assign::solve::{Choice, solve};
use crate::assign::{self, Formats};
use crate::graph::{Graph, Guard, Op, Role, Typed, Unit};
use crate::pipeline::LoadedCheckpoint;
use crate::plan::activations;
use crate::plan::file::{PlanFile, PlanUnit, VERSION};

/// What a squared error of a weight costs beside one of an MLP that every token passes. Means over the plans that were
/// measured for the models of this repository, rounded; docs/plan.md says so.
const fn weight_of(role: Role) -> f64 {
    match role {
        Role::Attention | Role::Scar => 2.0,
        Role::Head => 2.0,
        // Read row by row: a token reads one row of it.
        Role::Embedding => 0.5,
        Role::Norm | Role::Router | Role::General | Role::Module => 1.0,
    }
}

/// Makes the plan.
///
/// # Errors
/// When the budget cannot be met, and for wrong overrides and activations.
pub fn by_prior(loaded: &LoadedCheckpoint, settings: &Settings) -> Result<PlanFile, PlannerError> {
    let graph = &loaded.graph;
    let units = graph.units();
    let budget = settings.budget.bytes(graph)?;
    let fixed = fixed(units, &settings.overrides)?;
    settings.check(units, &fixed, budget)?;
    let options = |unit: &Unit| -> Vec<(Codec, Choice)> {
        let allowed = fixed[unit.id].as_ref();
        let allowed = allowed.map_or(&Codec::LADDER[..], std::slice::from_ref);
        let cost = weight_of(unit.role) * visits(graph, unit) * unit.shape.weights() as f64;
        let choice = |codec: &Codec| Choice {
            bytes: unit.shape.bytes(*codec),
            // Each bit halves the distance of codes.
            cost: cost * 4f64.powf(-codec.bits_per_weight()),
            seconds: 0.0,
        };
        allowed
            .iter()
            .map(|codec| (*codec, choice(codec)))
            .collect()
    };
    let options: Vec<Vec<(Codec, Choice)>> = units.iter().map(options).collect();
    let choices: Vec<Vec<Choice>> = options
        .iter()
        .map(|unit| unit.iter().map(|(_, choice)| *choice).collect())
        .collect();
    let chosen = solve(&choices, budget).ok_or(PlannerError::Budget {
        budget,
        smallest: choices
            .iter()
            .filter_map(|unit| unit.iter().map(|choice| choice.bytes).min())
            .sum(),
    })?;
    let formats: Formats = options
        .iter()
        .zip(chosen)
        .map(|(unit, at)| unit[at].0)
        .collect();
    let usual = activations::usual(graph, &formats);
    let own = activations::chosen(graph, &formats, &settings.activations)
        .map_err(PlannerError::Activations)?;
    let line = |unit: &Unit| {
        let codec = formats[unit.id];
        PlanUnit {
            name: unit.name.clone(),
            format: codec.name().to_owned(),
            activations: own[unit.id]
                .filter(|own| usual[unit.id] != Some(*own))
                .map(|format| format.name().to_owned()),
            bytes: unit.shape.bytes(codec),
            predicted_kl: None,
            reason: reason(graph, unit),
            codes: String::new(),
        }
    };
    let weights = units.iter().map(|unit| unit.shape.weights());
    Ok(PlanFile {
        version: VERSION,
        checkpoint: loaded.checkpoint.content_hash(),
        calibration: String::new(),
        calibration_text: None,
        target: settings.target.name.clone(),
        rounding: "when the model is built".to_owned(),
        bits_per_weight: mean_bits(weights.zip(formats.values().copied())),
        unit_bytes: assign::bytes(units, &formats),
        predicted_ms: None,
        projected: false,
        predicted_kl: None,
        measured_kl: None,
        measured_kl_rounded: None,
        dead: None,
        overrides: Vec::new(),
        units: units.iter().map(line).collect(),
    })
}

/// How often a token visits a unit, if its router loads all modules alike.
fn visits(graph: &Graph<Typed>, unit: &Unit) -> f64 {
    let Guard::Module { routing, .. } = graph.node(unit.nodes[0]).guard else {
        return 1.0;
    };
    let modules = graph.units().group(unit.group).units.len();
    match graph.node(routing).op {
        Op::Router { top_k, .. } => (f64::from(top_k) / modules.max(1) as f64).min(1.0),
        _ => 1.0,
    }
}

fn reason(graph: &Graph<Typed>, unit: &Unit) -> String {
    let weight = weight_of(unit.role);
    match unit.module {
        Some(_) => format!(
            "by the prior, nothing was measured: {}, visited by {:.3} of the tokens",
            unit.role.name(),
            visits(graph, unit)
        ),
        None => format!(
            "by the prior, nothing was measured: {}, weight {weight}",
            unit.role.name()
        ),
    }
}
