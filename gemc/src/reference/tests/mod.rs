//! Whole runs of a small routed model: every way of running it must agree with the plain one.

mod fixture;

use super::*;
use crate::graph::{Guard, Op};
use fixture::{classifier, decoder, model};

fn reference() -> Reference {
    of(&decoder())
}

fn of(config: &serde_json::Value) -> Reference {
    let (graph, source) = model(config);
    Reference::new(&graph, &source)
}

fn tokens(n: usize, seed: usize) -> Vec<u32> {
    (0..n)
        .map(|i| ((i * 31 + seed * 17 + i * i) % 50) as u32)
        .collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

fn run(reference: &Reference, ids: &[u32]) -> Run {
    reference
        .run(&Batch::one(ids), &RunOptions::default())
        .unwrap()
}

#[test]
fn the_fixture_routes_in_every_way() {
    let run = run(&reference(), &tokens(120, 1));
    for (site, routing) in run.routing.iter() {
        let fired = |row: usize| {
            routing
                .decisions
                .fired_row(row)
                .iter()
                .filter(|f| **f)
                .count()
        };
        for count in 0..=2 {
            assert!(
                (0..120).any(|row| fired(row) == count),
                "{site}: nowhere {count} modules"
            );
        }
        let mut ids = routing.clusters.as_ref().unwrap().ids.clone();
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() > 3, "{site}: clusters {ids:?}");
    }
}

#[test]
fn a_batch_gives_each_sequence_what_it_gets_alone() {
    let reference = reference();
    let sequences = [tokens(70, 1), tokens(1, 2), tokens(33, 3)];
    let together = reference
        .run(&Batch::of(&sequences), &RunOptions::default())
        .unwrap();
    let mut row = 0;
    for sequence in &sequences {
        let alone = run(&reference, sequence);
        for i in 0..sequence.len() {
            let difference = largest_difference(together.logits.row(row), alone.logits.row(i));
            assert!(difference < 1e-4, "row {row}: {difference}");
            row += 1;
        }
    }
}

#[test]
fn a_causal_prefix_does_not_see_what_follows() {
    let reference = reference();
    let ids = tokens(80, 4);
    let (long, short) = (run(&reference, &ids), run(&reference, &ids[..65]));
    assert!(largest_difference(long.logits.row(64), short.logits.row(64)) < 1e-4);
    let encoder = of(&classifier());
    let (long, short) = (run(&encoder, &ids), run(&encoder, &ids[..65]));
    assert_eq!((long.logits.rows(), &long.output_rows[..]), (1, &[0][..]));
    assert!(largest_difference(long.logits.row(0), short.logits.row(0)) > 1e-3);
}

#[test]
fn a_run_resumed_anywhere_gives_the_same_bits() {
    let reference = reference();
    let batch = Batch::of(&[tokens(40, 1), tokens(9, 2)]);
    let all: Vec<NodeId> = reference.graph().topo().map(|(id, _)| id).collect();
    let options = RunOptions {
        capture: &all,
        ..RunOptions::default()
    };
    let whole = reference.run(&batch, &options).unwrap();
    for from in all {
        let mut start = Wires::default();
        for wire in reference.cut(from) {
            start.insert(wire, whole.captured.get(wire).unwrap().clone());
        }
        let resumed = reference
            .run_from(&batch, from, &start, &RunOptions::default())
            .unwrap();
        assert!(resumed.logits == whole.logits, "from {from}");
    }
    let (_, layer) = reference.graph().starts().nth(2).unwrap();
    let residual = reference.cut(layer);
    assert_eq!(
        residual.len(),
        1,
        "a layer starts from the residual stream alone"
    );
    let missing = reference.run_from(&batch, layer, &Wires::default(), &RunOptions::default());
    let want = ReferenceError::MissingWire {
        from: layer,
        missing: residual[0],
    };
    assert_eq!(missing.unwrap_err(), want);
    let other = reference.run_from(
        &Batch::one(&[1]),
        layer,
        &whole.captured,
        &RunOptions::default(),
    );
    assert!(matches!(
        other,
        Err(ReferenceError::WireRows { found: 49, .. })
    ));
}

#[test]
fn forcing_a_run_s_own_routing_changes_nothing_and_another_s_does() {
    let reference = reference();
    let batch = Batch::one(&tokens(60, 1));
    let own = reference.run(&batch, &RunOptions::default()).unwrap();
    let other = run(&reference, &tokens(60, 2));
    let forced = |records| {
        let routing = RoutingSource::Forced(records);
        reference.run(
            &batch,
            &RunOptions {
                routing,
                ..RunOptions::default()
            },
        )
    };
    assert!(forced(&own.routing).unwrap().logits == own.logits);
    let flipped = forced(&other.routing).unwrap();
    assert!(flipped.routing == other.routing);
    assert!(largest_difference(flipped.logits.values(), own.logits.values()) > 1e-2);
    let short = run(&reference, &tokens(59, 1));
    let refused = forced(&short.routing).unwrap_err().to_string();
    assert!(
        refused.contains("layers.0") && refused.contains("60 rows"),
        "{refused}"
    );
}

#[test]
fn weights_are_replaced_per_unit_and_undone_by_the_old_ones() {
    let mut reference = reference();
    let ids = tokens(20, 1);
    let before = run(&reference, &ids);
    let units: Vec<NodeId> = reference.units().collect();
    assert_eq!(
        units.len(),
        2 + 2 * (4 + 2 + 6),
        "embedding, head, per layer 4 attention, general, modules"
    );
    for unit in units {
        let zeros = vec![0.0; reference.unit(unit).unwrap().len()];
        let other = reference.clone();
        let old = reference.replace(unit, zeros).unwrap();
        let changed = run(&reference, &ids);
        assert!(changed.logits != before.logits, "{unit}");
        assert!(
            run(&other, &ids).logits == before.logits,
            "a clone keeps its own"
        );
        reference.replace(unit, old).unwrap();
        assert!(
            run(&reference, &ids).logits == before.logits,
            "{unit} undone"
        );
    }
    let head = reference.units().last().unwrap();
    let short = reference.replace(head, vec![0.0; 3]).unwrap_err();
    assert!(matches!(
        short,
        ReferenceError::WeightCount {
            found: 3,
            expected: 2400,
            ..
        }
    ));
    let none = reference.replace(NodeId(0), vec![0.0]).unwrap_err();
    assert!(matches!(none, ReferenceError::NotAUnit { .. }));
}

#[test]
fn rounding_is_of_the_inputs_of_linear_maps_and_nothing_else() {
    let mut reference = reference();
    let steps = |x: f32| 64.0 * x;
    let rule = RoundRow::new(move |row, out| {
        let pairs = out.iter_mut().zip(row);
        pairs.for_each(|(y, x)| *y = steps(*x).round() / 64.0);
    });
    for unit in reference.units().collect::<Vec<_>>() {
        reference.set_rounding(unit, rule.clone()).unwrap();
    }
    let batch = Batch::one(&tokens(50, 1));
    let exact = reference.run(&batch, &RunOptions::default()).unwrap();
    let options = RunOptions {
        activations: Activations::Rounded,
        routing: RoutingSource::Forced(&exact.routing),
        ..RunOptions::default()
    };
    let mut seen = Vec::new();
    let observed = &mut |id: NodeId, x: &Matrix, _: &RoutingRecords| {
        seen.push(id);
        for row in 0..x.rows() {
            let whole = |x: &f32| steps(*x).fract() == 0.0;
            assert!(
                x.row(row).iter().all(whole),
                "{id} row {row} was not rounded"
            );
        }
    };
    let rounded = reference.run_observed(&batch, &options, observed).unwrap();
    let linear = |id: &NodeId| matches!(reference.graph().node(*id).op, Op::Linear { .. });
    let all: Vec<NodeId> = reference.units().filter(linear).collect();
    assert_eq!(seen, all);
    let difference = largest_difference(rounded.logits.values(), exact.logits.values());
    assert!((1e-4..0.5).contains(&difference), "{difference}");
}

#[test]
fn modules_see_only_the_rows_they_serve() {
    let reference = reference();
    let batch = Batch::one(&tokens(64, 5));
    let mut rows = std::collections::BTreeMap::new();
    let observed = &mut |id: NodeId, x: &Matrix, _: &RoutingRecords| {
        rows.insert(id, x.rows());
    };
    let run = reference
        .run_observed(&batch, &RunOptions::default(), observed)
        .unwrap();
    for (id, found) in rows {
        let node = reference.graph().node(id);
        let Some(routing) = run.routing.get(node.site) else {
            continue;
        };
        let served = |row: &usize| match node.guard {
            Guard::Always => true,
            Guard::Module { module, .. } => routing.decisions.fired_row(*row)[module as usize],
            Guard::Fallback { .. } => !routing.decisions.flag(*row),
        };
        assert_eq!(
            found,
            (0..64).filter(served).count(),
            "{id} {}",
            node.origin
        );
    }
}

#[test]
fn output_rows_select_logits() {
    let reference = reference();
    let batch = Batch::of(&[tokens(5, 1), tokens(2, 2)]);
    let whole = reference.run(&batch, &RunOptions::default()).unwrap();
    for (outputs, want) in [
        (OutputRows::Last(3), vec![2, 3, 4, 5, 6]),
        (OutputRows::Rows(&[6, 0]), vec![6, 0]),
        (OutputRows::None, vec![]),
    ] {
        let some = reference
            .run(
                &batch,
                &RunOptions {
                    outputs,
                    ..RunOptions::default()
                },
            )
            .unwrap();
        assert_eq!(some.output_rows, want);
        for (i, row) in want.iter().enumerate() {
            assert!(largest_difference(some.logits.row(i), whole.logits.row(*row)) < 1e-5);
        }
    }
    let last = logits(&reference, &tokens(5, 1), Some(1)).unwrap();
    assert_eq!(last.logits.len(), 1);
    assert!(largest_difference(&last.logits[0], whole.logits.row(4)) < 1e-4);
}

#[test]
fn bad_batches_are_refused_with_what_is_allowed() {
    let reference = reference();
    let refuse = |sequences: &[Vec<u32>]| {
        let run = reference.run(&Batch::of(sequences), &RunOptions::default());
        run.unwrap_err().to_string()
    };
    assert!(refuse(&[]).contains("at least one sequence"));
    assert!(refuse(&[vec![1], vec![]]).contains("sequence 1 is empty"));
    assert!(refuse(&[vec![1, 50]]).contains("token id 50 at row 1"));
    assert!(refuse(&[vec![0; 301]]).contains("limit is 300"));
    let options = RunOptions {
        outputs: OutputRows::Rows(&[2]),
        ..RunOptions::default()
    };
    let outside = reference.run(&Batch::one(&[1, 2]), &options).unwrap_err();
    assert_eq!(outside, ReferenceError::OutputRow { row: 2, rows: 2 });
}
