//! Modules' parts of weight files, of every small checkpoint that has modules.

use std::path::Path;

use super::*;
use crate::graph::Op;
use crate::pipeline;
use crate::target::Target;

#[test]
fn parts_of_modules_are_apart_and_as_long_as_their_weights() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    let mut routed = 0;
    for entry in folder.read_dir().expect("a folder").flatten() {
        let Ok(loaded) = pipeline::load(&entry.path()) else {
            continue;
        };
        let graph = &loaded.graph;
        let plan = BitPlan::parse_bits(graph, "8.25").expect("a format");
        let target = Target::find("portable").expect("embedded");
        let compiled = pipeline::compile(graph, &plan, &target).expect("a program");
        let modules = 0..graph.facts().domains.len() as u32;
        let of = |module| owned::pieces(graph, &compiled.layout, module).expect("records apart");
        let each: Vec<_> = modules.clone().map(of).collect();
        let mut all = each.concat();
        all.sort_by_key(|part| part.start);
        for pair in all.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{:?}: {pair:?}", entry.path());
        }
        for (module, pieces) in modules.zip(&each) {
            let units = graph
                .units()
                .iter()
                .filter(|unit| unit.module == Some(module));
            let codes: u64 = units
                .map(|unit| unit.shape.size(plan.codec(unit.id)).bytes as u64)
                .sum();
            let routers = graph.routers().len();
            let rows =
                graph
                    .routers()
                    .into_iter()
                    .map(|(router, _)| match &graph.node(router).op {
                        Op::Router { weight, .. } => 4 * graph.tensor(*weight).shape()[1] as u64,
                        _ => 0,
                    });
            let rows: u64 = rows.sum();
            let found: u64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
            assert!(
                found >= codes + rows,
                "{:?}: {found} of {codes} and {rows}",
                entry.path()
            );
            assert!(!pieces.is_empty() || routers == 0);
            routed += 1;
        }
    }
    assert!(routed > 50, "{routed} modules");
}
