//! A plan and what a device takes for products -> milliseconds of each unit and of all of them, without any text: of a
//! routed block's modules a token visits as many as it may.

use gemc_format::Codec;

use super::{Settings, rows};
use crate::graph::{Graph, Guard, Op, Site, Task, Typed, Unit, UnitMap};
use crate::pack::layout::routed_share;
use crate::plan::{BitPlan, kv, step};
use crate::target::Costs;
use crate::work::{self, PhaseWork, StepRows};

/// How long a token takes that is decoded at position 512, or a text of 128 tokens that is classified.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicted {
    /// All of it, keys and values included.
    pub ms: f64,
    /// Of each unit.
    pub units: UnitMap<f64>,
}

impl Predicted {
    /// Of a graph with formats; `work` is what its phases do beside products.
    ///
    /// # Errors
    /// The first format of which the device's costs say nothing.
    pub fn new(
        graph: &Graph<Typed>,
        work: &[PhaseWork],
        plan: &BitPlan,
        costs: &Costs,
    ) -> Result<Self, Codec> {
        let rows = rows(graph);
        let of = |unit: &Unit| Ok(1e3 * product(graph, plan, costs, unit, rows)?);
        let units: Result<UnitMap<f64>, Codec> = graph.units().iter().map(of).collect();
        let units = units?;
        let fixed = 1e3 * Settings::fixed(graph, work, costs, plan.kv());
        Ok(Self {
            ms: fixed + units.values().sum::<f64>(),
            units,
        })
    }
}

impl Predicted {
    /// Milliseconds of a text's or prompt's tokens, all at once.
    ///
    /// # Errors
    /// As of [`Predicted::new`].
    pub fn prompt(
        graph: &Graph<Typed>,
        work: &[PhaseWork],
        plan: &BitPlan,
        costs: &Costs,
        tokens: u32,
    ) -> Result<f64, Codec> {
        let task = graph.facts().task;
        // A prompt is read in steps; the last one alone has an output.
        let most = u32::try_from(step::most(graph.facts()).0).unwrap_or(u32::MAX);
        let mut seconds = 0.0;
        let mut before = 0;
        while before < tokens {
            let rows = (tokens - before).min(most);
            let outputs = u32::from(before + rows == tokens);
            let of_step = StepRows {
                before,
                ..StepRows::text(rows, task)
            };
            let of_step = StepRows {
                outputs: outputs * of_step.outputs,
                ..of_step
            };
            let of_unit = |unit: &Unit| match is_of_one_row(graph, unit) {
                true => outputs,
                false => rows,
            };
            seconds += products(graph, plan, costs, &of_unit)?;
            seconds += work::seconds(work, costs, of_step, 0);
            before += rows;
        }
        Ok(1e3 * seconds)
    }

    /// Milliseconds of a token at a position.
    ///
    /// # Errors
    /// As of [`Predicted::new`].
    pub fn token(
        graph: &Graph<Typed>,
        work: &[PhaseWork],
        plan: &BitPlan,
        costs: &Costs,
        position: u32,
    ) -> Result<f64, Codec> {
        let read = kv::read_behind(graph, plan.kv(), u64::from(position) + 1);
        let products = products(graph, plan, costs, &|_| 1)?;
        let step = StepRows::token(position);
        Ok(1e3 * (products + work::seconds(work, costs, step, read)))
    }
}

/// Seconds of a unit's product with so many rows.
fn product(
    graph: &Graph<Typed>,
    plan: &BitPlan,
    costs: &Costs,
    unit: &Unit,
    rows: u32,
) -> Result<f64, Codec> {
    let codec = plan.codec(unit.id);
    let size = (unit.shape.weights(), unit.shape.bytes(codec));
    let seconds = costs.seconds(size, codec, rows, visits(graph, unit));
    seconds.ok_or(codec)
}

/// Seconds of all products of a step in which units see so many rows.
fn products(
    graph: &Graph<Typed>,
    plan: &BitPlan,
    costs: &Costs,
    rows: &dyn Fn(&Unit) -> u32,
) -> Result<f64, Codec> {
    let of = |unit: &Unit| match rows(unit) {
        0 => Ok(0.0),
        rows => product(graph, plan, costs, unit, rows),
    };
    graph.units().iter().map(of).sum()
}

/// Whether it is a head that sees one row of a text, the last or the one that stands for all.
fn is_of_one_row(graph: &Graph<Typed>, unit: &Unit) -> bool {
    let mut nodes = unit.nodes.iter().map(|id| graph.node(*id));
    graph.facts().task != Task::TokenClassification && nodes.any(|node| node.site == Site::Head)
}

/// How often a token visits a unit, at most; of an embedding that is only read, it reads a row.
fn visits(graph: &Graph<Typed>, unit: &Unit) -> f64 {
    let mut nodes = unit.nodes.iter().map(|id| graph.node(*id));
    let product = nodes.find(|node| matches!(node.op, Op::Linear { .. }));
    match product.map(|node| node.guard) {
        Some(Guard::Module { routing, .. }) => routed_share(graph, routing),
        Some(_) => 1.0,
        None => 1.0 / unit.shape.rows().max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline;
    use crate::target::Target;

    #[test]
    fn a_routed_module_counts_by_its_share() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/gem-lm");
        let graph = pipeline::load(&dir).expect("a good checkpoint").graph;
        let costs = Target::find("x86-64-v3").expect("embedded").costs;
        let mut costs = costs.expect("it has some");
        // Nothing but computing.
        costs.bandwidth = 1e12;
        let plan = BitPlan::uniform(&graph, Codec::N4);
        let predicted = Predicted::new(&graph, &[], &plan, &costs);
        let predicted = predicted.expect("all formats are known");
        let per_weight = |of: &dyn Fn(&Unit) -> bool| {
            let unit = graph.units().iter().find(|unit| of(unit));
            let unit = unit.expect("gem-lm has such a unit");
            predicted.units[unit.id] / unit.shape.weights() as f64
        };
        let inside = per_weight(&|unit| unit.module.is_some());
        let outside = per_weight(&|unit| unit.name.contains("self_attn"));
        let share = inside / outside;
        assert!(share > 0.0 && share < 0.99, "{share}");
        let sum: f64 = predicted.units.values().sum();
        assert!(predicted.ms >= sum);
        costs.weights.remove("N4");
        assert_eq!(Predicted::new(&graph, &[], &plan, &costs), Err(Codec::N4));
    }
}
