//! A compiled model and the time of each of its phases -> what its step is spent on, by kind of work.

use gemc_kernels::ir::Phase;
use gemc_kernels::kernels::spec::Spec;
use serde::Serialize;

use crate::pipeline::CompiledModel;

/// Kinds of work, in the order in which they are shown.
pub const PARTS: &[&str] = &[
    PRODUCTS,
    MODULES,
    ATTENTION,
    HEADS,
    NORMS,
    ROUNDING,
    EMBEDDING,
    ROUTER,
    DISPATCH,
    COMBINE,
    CLUSTERS,
    TAGS,
    SCAR_PRODUCTS,
    SCAR_ATTENTION,
    OTHER,
];

/// What a model without routing and SCAR does not have.
pub const OF_ROUTING: &[&str] = &[
    ROUTER,
    DISPATCH,
    COMBINE,
    CLUSTERS,
    TAGS,
    SCAR_PRODUCTS,
    SCAR_ATTENTION,
];

const PRODUCTS: &str = "products";
const MODULES: &str = "products of modules";
const ATTENTION: &str = "attention";
const HEADS: &str = "heads and rotation";
const NORMS: &str = "norms";
const ROUNDING: &str = "rounding";
const EMBEDDING: &str = "embedding";
const ROUTER: &str = "router and top-k";
const DISPATCH: &str = "dispatch";
const COMBINE: &str = "sums of modules";
const CLUSTERS: &str = "clusters";
const TAGS: &str = "tags";
const SCAR_PRODUCTS: &str = "products of SCAR";
const SCAR_ATTENTION: &str = "attention of SCAR";
const OTHER: &str = "other";

/// What a kind of work took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PartTime {
    /// Its name, one of [`PARTS`].
    pub part: &'static str,
    /// Milliseconds of a prompt.
    pub prefill_ms: f64,
    /// Milliseconds of a token after it.
    pub decode_ms: f64,
}

/// The kinds of work that a model has. Times are nanoseconds of each phase, those of the head last; they are divided by
/// `prompts` and `tokens`.
#[must_use]
pub fn parts(
    model: &CompiledModel,
    (prefill_ns, prompts): (&[u64], u32),
    (decode_ns, tokens): (&[u64], u32),
) -> Vec<PartTime> {
    let program = model.program.program();
    let phases = program.body.iter().chain(&program.head);
    let kinds: Vec<&'static str> = phases.map(|phase| part(model, phase)).collect();
    let milliseconds = |part: &str, ns: &[u64], times: u32| {
        let of_part = kinds.iter().zip(ns).filter(|(kind, _)| **kind == part);
        let sum: f64 = of_part.map(|(_, ns)| *ns as f64).sum();
        sum / 1e6 / f64::from(times.max(1))
    };
    let had = PARTS.iter().filter(|part| kinds.contains(part));
    had.map(|part| PartTime {
        part,
        prefill_ms: milliseconds(part, prefill_ns, prompts),
        decode_ms: milliseconds(part, decode_ns, tokens),
    })
    .collect()
}

fn part(model: &CompiledModel, phase: &Phase) -> &'static str {
    // Products and heads of SCAR are kernels like others; what they are for stands in the phase's words alone.
    let of_scar = phase.doc.contains(".scar");
    match &model.specs[phase.entry.kernel.index()] {
        Spec::Matmul(_) if of_scar => SCAR_PRODUCTS,
        Spec::Matmul(_) => PRODUCTS,
        Spec::CallModules(_) => MODULES,
        Spec::Attention(spec) if spec.mask.is_some() => SCAR_ATTENTION,
        Spec::Attention(_) => ATTENTION,
        Spec::Heads(_) | Spec::RopeTable(_) => HEADS,
        Spec::Norm(_) | Spec::Normalize(_) => NORMS,
        Spec::QuantiseRows(_) | Spec::SelectRows(_) => ROUNDING,
        Spec::Embed(_) => EMBEDDING,
        Spec::Router(_) => ROUTER,
        Spec::Dispatch(_) | Spec::CountItems(_) => DISPATCH,
        Spec::Combine(_) => COMBINE,
        Spec::Clusters(_) => CLUSTERS,
        Spec::Tags(_) => TAGS,
        Spec::Pool(_) | Spec::ConvInputs(_) | Spec::ConvSums(_) | Spec::Elementwise(_) => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline;
    use crate::plan::BitPlan;
    use crate::target::Target;

    #[test]
    fn every_phase_counts_once_and_routing_is_apart() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/gem-lm");
        let loaded = pipeline::load(&dir).expect("a good checkpoint");
        let plan = BitPlan::uniform(&loaded.graph, gemc_format::Codec::B8);
        let target = Target::find("portable").expect("built in");
        let model = pipeline::compile(&loaded.graph, &plan, &target).expect("it compiles");
        let program = model.program.program();
        let phases = program.body.len() + program.head.len();
        let found = parts(
            &model,
            (&vec![3_000_000; phases], 3),
            (&vec![1_000_000; phases], 1),
        );
        let sum = |of: fn(&PartTime) -> f64| found.iter().map(of).sum::<f64>();
        assert_eq!(sum(|p| p.prefill_ms), phases as f64);
        assert_eq!(sum(|p| p.decode_ms), phases as f64);
        let has = |part: &str| found.iter().find(|p| p.part == part).map(|p| p.decode_ms);
        // Six routed layers, two with SCAR; a router, its lists, two counts of items, two calls.
        assert_eq!(has(ROUTER), Some(6.0));
        assert_eq!(has(DISPATCH), Some(18.0));
        assert_eq!(has(MODULES), Some(12.0));
        assert_eq!(has(SCAR_ATTENTION), Some(2.0));
        assert_eq!(has(SCAR_PRODUCTS), Some(4.0));
        assert_eq!((has(CLUSTERS), has(TAGS)), (Some(2.0), Some(2.0)));
        assert_eq!(has(ATTENTION), Some(6.0));
        assert_eq!(has(OTHER), None);
        assert!(OF_ROUTING.iter().all(|part| PARTS.contains(part)));
    }
}
