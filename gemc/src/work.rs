//! A compiled model -> the work of its phases beside products with quantised matrices, and what a device takes for it.
//!
//! Every kind of work is counted in values: of a row its elements, of attention the elements of a head at every position that a
//! row sees. A device's costs say what a thousand values of a kind take; a phase that threads share takes a little more.

use gemc_kernels::choices::Activation;
use gemc_kernels::ir::{Items, Phase};
use gemc_kernels::kernels::elementwise::Function;
use gemc_kernels::kernels::matmul::{Epilogue, Matmul};
use gemc_kernels::kernels::spec::Spec;

use crate::graph::Task;
use crate::pipeline::CompiledModel;
use crate::target::{Costs, WorkKind};

/// What a phase does beside products.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseWork {
    /// The kind, and values of a row and of a row and position; nothing for what costs next to nothing.
    pub work: Option<(WorkKind, f64, f64)>,
    /// A row sees so many positions at most.
    window: usize,
    /// Items of one row, and whether there are as many for every row.
    items: (u32, bool),
    /// Whether it is for outputs alone.
    of_outputs: bool,
    /// Whether the phase does nothing else: an activation ends a product.
    apart: bool,
}

/// The rows of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRows {
    /// How many.
    pub rows: u32,
    /// Positions before the first; all rows of a text see all of it.
    pub before: u32,
    /// Whether rows see no later ones.
    pub causal: bool,
    /// Rows whose outputs are wanted.
    pub outputs: u32,
}

impl StepRows {
    /// A text or prompt from its start.
    #[must_use]
    pub fn text(rows: u32, task: Task) -> Self {
        Self {
            rows,
            before: 0,
            causal: task == Task::CausalLm,
            outputs: match task {
                Task::TokenClassification => rows,
                Task::CausalLm | Task::SequenceClassification | Task::Embedding => 1,
            },
        }
    }

    /// A token at a position.
    #[must_use]
    pub const fn token(position: u32) -> Self {
        Self {
            rows: 1,
            before: position,
            causal: true,
            outputs: 1,
        }
    }

    /// Positions that all rows see together, each at most so many.
    fn pairs(self, window: usize) -> f64 {
        let seen = |row: u32| {
            let all = if self.causal {
                self.before + row + 1
            } else {
                self.before + self.rows
            };
            (all as usize).min(window) as f64
        };
        (0..self.rows).map(seen).sum()
    }
}

impl PhaseWork {
    /// The kind and how many values of it a step has.
    #[must_use]
    pub fn values(&self, step: StepRows) -> Option<(WorkKind, f64)> {
        let (kind, of_row, of_pair) = self.work?;
        let rows = if self.of_outputs {
            step.outputs
        } else {
            step.rows
        };
        Some((
            kind,
            f64::from(rows) * of_row + of_pair * step.pairs(self.window),
        ))
    }

    /// The same where the phase does nothing else.
    #[must_use]
    pub fn alone(&self, step: StepRows) -> Option<(&'static str, f64)> {
        let (kind, values) = self.values(step).filter(|_| self.apart)?;
        Some((kind.name(), values))
    }

    /// Items in a step.
    fn items(&self, step: StepRows) -> u32 {
        let rows = if self.of_outputs {
            step.outputs
        } else {
            step.rows
        };
        match self.items {
            (items, true) => items.saturating_mul(rows),
            (items, false) => items,
        }
    }
}

/// What each phase does, those of the head last.
#[must_use]
pub fn of(model: &CompiledModel) -> Vec<PhaseWork> {
    let program = model.program.program();
    let mut top_k = 1;
    let phases = program.body.iter().chain(&program.head);
    phases
        .map(|phase| {
            let spec = &model.specs[phase.entry.kernel.index()];
            if let Spec::Router(router) = spec {
                top_k = router.top_k;
            }
            let (items, of_outputs) = match phase.items {
                Items::Fixed(items) => ((items, false), false),
                Items::PerRow(items) => ((items, true), false),
                Items::PerOutput(items) => ((items, true), true),
                // Modules that fire: those of one row.
                Items::Loaded { max, .. } => ((max, false), false),
            };
            PhaseWork {
                work: work(model, phase, spec, top_k),
                window: match spec {
                    Spec::Attention(spec) => spec.window.unwrap_or(usize::MAX),
                    _ => usize::MAX,
                },
                items,
                of_outputs,
                apart: !matches!(
                    spec,
                    Spec::Matmul(_) | Spec::CallModules(_) | Spec::Elementwise(_)
                ),
            }
        })
        .collect()
}

fn work(
    model: &CompiledModel,
    phase: &Phase,
    spec: &Spec,
    top_k: usize,
) -> Option<(WorkKind, f64, f64)> {
    let of_row = |kind: WorkKind, values: usize| Some((kind, values as f64, 0.0));
    match spec {
        Spec::Matmul(matmul) => activation(matmul).and_then(|(kind, n)| of_row(kind, n)),
        Spec::CallModules(_) => {
            // All modules of a site have one kernel.
            let tables = &model.program.program().tables;
            // The table is the last argument.
            let table = tables.get(*phase.entry.args.last()? as usize)?;
            let called = table.entries.first()?;
            let Spec::Matmul(matmul) = &model.specs[called.kernel.index()] else {
                return None;
            };
            activation(matmul).and_then(|(kind, n)| of_row(kind, top_k * n))
        }
        Spec::Attention(spec) => {
            let values = spec.heads * spec.head_dim;
            Some((WorkKind::Attention, 0.0, values as f64))
        }
        Spec::Heads(spec) => of_row(
            WorkKind::Heads,
            (spec.heads + 2 * spec.kv_heads) * spec.head_dim,
        ),
        Spec::Norm(spec) => of_row(WorkKind::Norm, spec.cols),
        Spec::Normalize(spec) => of_row(WorkKind::Norm, spec.stride),
        Spec::QuantiseRows(spec) => of_row(WorkKind::Rounding, spec.stride),
        Spec::SelectRows(spec) => of_row(WorkKind::Rounding, spec.stride),
        Spec::Router(spec) => of_row(WorkKind::Router, spec.modules * spec.stride),
        Spec::Clusters(spec) => of_row(WorkKind::Clusters, spec.count * spec.stride),
        Spec::Combine(spec) => of_row(WorkKind::Combine, spec.stride * (1 + spec.top_k)),
        Spec::Embed(spec) => of_row(WorkKind::Embedding, spec.cols),
        Spec::ConvInputs(conv) => of_row(WorkKind::Combine, conv.0.width),
        Spec::ConvSums(conv) => of_row(WorkKind::Combine, conv.0.width * conv.0.taps),
        Spec::Elementwise(spec) => {
            let kind = match spec.function {
                Function::Softcap(_) => WorkKind::Gelu,
                Function::Activation(act) => kind_of(act),
            };
            of_row(kind, spec.stride)
        }
        Spec::RopeTable(_)
        | Spec::Dispatch(_)
        | Spec::CountItems(_)
        | Spec::Tags(_)
        | Spec::Pool(_) => None,
    }
}

/// The activation that a product ends with: its kind and the values of a row.
fn activation(matmul: &Matmul) -> Option<(WorkKind, usize)> {
    let Epilogue::Quantise { act, .. } = matmul.epilogue else {
        return None;
    };
    let kind = act.map_or(WorkKind::Rounding, kind_of);
    Some((kind, matmul.output_width()))
}

const fn kind_of(act: Activation) -> WorkKind {
    match act {
        Activation::Silu | Activation::ClampedSilu | Activation::Relu => WorkKind::Silu,
        Activation::Gelu | Activation::GeluTanh | Activation::Tanh => WorkKind::Gelu,
    }
}

/// Seconds that a device takes for all of it. Keys and values that attention reads come from memory, `kv` bytes.
#[must_use]
pub fn seconds(phases: &[PhaseWork], costs: &Costs, step: StepRows, kv: u64) -> f64 {
    let mut attention = 0.0;
    let mut others = 0.0;
    for phase in phases {
        let items = phase.items(step);
        let threads = costs.threads.min(items.max(1));
        if let Some((kind, values)) = phase.values(step) {
            let cost = costs.others.get(kind.name()).copied().unwrap_or(0.0);
            let taken = 1e-12 * values * cost / f64::from(threads);
            match kind {
                WorkKind::Attention => attention += taken,
                _ => others += taken,
            }
        }
        if threads > 1 {
            others += 1e-6 * costs.barrier;
        }
    }
    Costs::together(attention, costs.reading(kv)) + others
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::pipeline;
    use crate::plan::BitPlan;
    use crate::target::Target;

    fn compiled(name: &str) -> CompiledModel {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models");
        let loaded = pipeline::load(&dir.join(name)).expect("a good checkpoint");
        let plan = BitPlan::uniform(&loaded.graph, gemc_format::Codec::N4);
        let target = Target::find("portable").expect("built in");
        pipeline::compile(&loaded.graph, &plan, &target).expect("it compiles")
    }

    fn values(model: &CompiledModel, step: StepRows) -> BTreeMap<&'static str, f64> {
        let mut sums = BTreeMap::new();
        for (kind, values) in of(model).iter().filter_map(|phase| phase.values(step)) {
            *sums.entry(kind.name()).or_insert(0.0) += values;
        }
        sums
    }

    #[test]
    fn values_are_those_of_the_shape() {
        let model = compiled("gem-lm");
        let token = values(&model, StepRows::token(99));
        // Six layers and two of SCAR, four heads of 64, a hundred positions.
        assert_eq!(token["attention"], 8.0 * 256.0 * 100.0);
        // Gate and up of the general path, 512, and of the module that fires, 256.
        assert_eq!(token["silu"], 6.0 * (512.0 + 256.0));
        // Two norms a layer and the last.
        assert_eq!(token["norm"], 13.0 * 256.0);
        assert_eq!(token["router"], 6.0 * 8.0 * 256.0);
        assert_eq!(token["clusters"], 2.0 * 64.0 * 256.0);
        assert_eq!(token["embedding"], 256.0);
        let prompt = values(&model, StepRows::text(10, Task::CausalLm));
        assert_eq!(prompt["attention"], 8.0 * 256.0 * 55.0);
        assert_eq!(prompt["silu"], 10.0 * token["silu"]);
        // Where the head's input is chosen, an output counts alone.
        let every = |kind: &str| prompt[kind] / token[kind];
        assert!((9.0..=10.0).contains(&every("norm")), "{prompt:?}");
        let text = values(
            &compiled("gem-cls"),
            StepRows::text(10, Task::SequenceClassification),
        );
        assert_eq!(text["attention"] % (100.0 * 256.0), 0.0);
        assert!(text.contains_key("gelu") && !text.contains_key("silu"));
        assert_eq!(StepRows::text(9, Task::TokenClassification).outputs, 9);
    }

    #[test]
    fn costs_are_shared_by_threads_where_items_are() {
        let model = compiled("gem-lm");
        let work = of(&model);
        let mut costs = Target::find("pi4")
            .expect("built in")
            .costs
            .expect("projected");
        costs.others = BTreeMap::from([("norm".to_owned(), 1000.0)]);
        costs.barrier = 0.0;
        costs.threads = 4;
        let token = seconds(&work, &costs, StepRows::token(0), 0);
        // One row is one item: nobody helps.
        assert!((token / (13.0 * 256.0 * 1e-9) - 1.0).abs() < 1e-9);
        let many = seconds(&work, &costs, StepRows::text(128, Task::CausalLm), 0);
        assert!(many < 128.0 * token / 3.9, "{many} {token}");
        costs.others.clear();
        costs.barrier = 2.0;
        let phases = seconds(&work, &costs, StepRows::token(0), 0) / 2e-6;
        // Products, heads and attention; not norms, routers and lists of one row.
        assert!((40.0..110.0).contains(&phases), "{phases}");
        assert!(
            seconds(&work, &costs, StepRows::text(9, Task::CausalLm), 0) / 2e-6 > phases + 20.0
        );
        costs.threads = 1;
        assert_eq!(seconds(&work, &costs, StepRows::token(0), 0), 0.0);
        // Reading counts where it takes longer.
        let read = seconds(&work, &costs, StepRows::token(0), 4_000_000);
        assert_eq!(read, costs.reading(4_000_000));
    }
}
