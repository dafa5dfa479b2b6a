//! What plans are made of: errors of units under what calibration saw, of models in memory and of those that are not.

use super::*;

/// Only a tied embedding is both read and multiplied; what is read well is nearer to the original, and costs the head.
#[test]
fn both_uses_of_a_tied_embedding_count() {
    let loaded = load("lm-dense-post-rope-layernorm");
    let texts = documents(&loaded, 32, 40);
    let reference = loaded.reference();
    let units = loaded.graph.units();
    let stats = calibrate::run(&reference, &texts, Gather::Moments, &mut |_, _| {}, &Silent);
    let stats = stats.expect("ids of the model");
    let judge = Judge::new(&reference, &texts, Activations::F32, 1 << 30, &Silent).unwrap();
    let reading = Reading::measure(&reference, units, &stats, &judge).unwrap();
    let reading = reading.expect("a tied embedding");
    assert!(reading.cost > 0.0, "{reading:?}");
    let unit = units.iter().find(|unit| unit.tied);
    let unit = unit.expect("tied");
    // Squared error of the rows, and error of the head's products.
    let errors = |reading: Option<&Reading>| {
        let evidence = Evidence {
            stats: &stats,
            reading,
            routing_weights: true,
        };
        let ladder = Ladder::new(&reference, units, &evidence, Method::Feedback);
        let original = reference.unit(unit.nodes[0]).expect("its weights");
        let rounded = ladder.planes(unit, Codec::N3).weights();
        let pairs = rounded
            .iter()
            .zip(original.all().iter().copied().collect::<Vec<_>>());
        let delta: Vec<f32> = pairs.map(|(a, b)| a - b).collect();
        let squares: f64 = delta.iter().map(|d| f64::from(*d).powi(2)).sum();
        let head = stats.unit(unit.id).expect("seen").error(&delta);
        (squares, head)
    };
    let often = Reading {
        cost: 1e3 * reading.cost,
    };
    let (both, head, read) = (errors(Some(&reading)), errors(None), errors(Some(&often)));
    assert!(both.0 < head.0 && head.1 < both.1, "{both:?} {head:?}");
    assert!(read.0 < both.0 && both.1 < read.1, "{read:?} {both:?}");

    let untied = load(DENSE);
    let reference = untied.reference();
    let units = untied.graph.units();
    let texts = documents(&untied, 4, 20);
    let stats =
        calibrate::run(&reference, &texts, Gather::Moments, &mut |_, _| {}, &Silent).unwrap();
    let judge = Judge::new(&reference, &texts, Activations::F32, 1 << 30, &Silent).unwrap();
    assert_eq!(
        Reading::measure(&reference, units, &stats, &judge).unwrap(),
        None
    );
}

/// A model whose weights are read when they are used is the same model, and so is what is made of it.
#[test]
fn a_streamed_model_is_the_same_model() {
    for name in [ROUTED, "lm-dense-post-rope-layernorm"] {
        let loaded = load(name);
        let held = loaded.reference();
        let weights = Arc::new(loaded.checkpoint.weights().clone());
        let streamed = Reference::streamed(&loaded.graph, weights);
        let texts = documents(&loaded, 8, 20);
        let units = loaded.graph.units();
        let made = |reference: &Reference| {
            let mut routed = 0;
            let mut seen = |texts: &[Sequence], _: &RoutingRecords| routed += texts.len();
            let stats = calibrate::run(reference, &texts, Gather::Moments, &mut seen, &Silent);
            let stats = stats.expect("ids of the model");
            assert_eq!(routed, texts.len());
            let evidence = Evidence {
                stats: &stats,
                reading: None,
                routing_weights: true,
            };
            let ladder = Ladder::new(reference, units, &evidence, Method::Feedback);
            let judge = Judge::new(reference, &texts, Activations::F32, 1 << 30, &Silent).unwrap();
            let mut candidate = reference.clone();
            let mut errors = Vec::new();
            for unit in units.iter() {
                ladder.apply(&mut candidate, unit, Codec::N4).unwrap();
                errors.push(ladder.error(unit, Codec::N4));
            }
            let kl = judge.judge(&candidate, NodeId(0), true).unwrap();
            (errors, kl)
        };
        let of_held = made(&held);
        assert!(of_held.1.mean() > 0.0, "{name}");
        assert_eq!(made(&streamed), of_held, "{name}");
    }
}

/// Whole candidates are judged the same without wires, and those of later layers not at all.
#[test]
fn wires_are_for_candidates_of_later_layers() {
    let loaded = load("lm-dense-post-rope-layernorm");
    let reference = loaded.reference();
    let texts = documents(&loaded, 8, 40);
    let mut judge = Judge::new(&reference, &texts, Activations::F32, 1 << 30, &Silent).unwrap();
    let mut candidate = reference.clone();
    fake::disturb(&mut candidate, 0.1).unwrap();
    let (_, last) = loaded.graph.starts().last().expect("a model has layers");
    let before = judge.judge(&candidate, NodeId(0), true).unwrap();
    assert!(before.mean() > 0.0);
    assert!(judge.judge(&candidate, last, true).is_ok());
    judge.forget_wires();
    assert_eq!(judge.judge(&candidate, NodeId(0), true).unwrap(), before);
    assert!(judge.judge(&candidate, last, true).is_err());
}

/// The error of a unit, told from some of its rows.
#[test]
fn a_sample_of_rows_tells_the_error_of_all() {
    let loaded = load("lm-dense-post-rope-layernorm");
    let reference = loaded.reference();
    let texts = documents(&loaded, 32, 40);
    let units = loaded.graph.units();
    let stats = calibrate::run(&reference, &texts, Gather::Moments, &mut |_, _| {}, &Silent);
    let stats = stats.expect("ids of the model");
    let judge = Judge::new(&reference, &texts, Activations::F32, 1 << 30, &Silent).unwrap();
    let reading = Reading::measure(&reference, units, &stats, &judge).unwrap();
    assert!(reading.is_some(), "a tied embedding");
    let evidence = Evidence {
        stats: &stats,
        reading: reading.as_ref(),
        routing_weights: true,
    };
    for method in [Method::Search, Method::Feedback] {
        let ladder = || Ladder::new(&reference, units, &evidence, method);
        let (whole, sampled) = (ladder(), ladder().with_error_rows(units, 48));
        for unit in units.iter() {
            let ratio = sampled.error(unit, Codec::N3) / whole.error(unit, Codec::N3);
            let exact = unit.shape.rows() <= 48;
            assert!(
                if exact {
                    ratio == 1.0
                } else {
                    (0.6..1.6).contains(&ratio)
                },
                "{} of {} rows, {method:?}: {ratio}",
                unit.name,
                unit.shape.rows()
            );
        }
    }
}

/// A module's error counts by the gates of the tokens that visit it, unless visits are left out.
#[test]
fn visits_decide_what_a_module_s_error_is_worth() {
    let loaded = load(ROUTED);
    let reference = loaded.reference();
    let units = loaded.graph.units();
    let texts = documents(&loaded, 32, 48);
    let stats = calibrate::run(&reference, &texts, Gather::Squares, &mut |_, _| {}, &Silent);
    let stats = stats.expect("ids of the model");
    let ladder = |routing_weights| {
        let evidence = Evidence {
            stats: &stats,
            reading: None,
            routing_weights,
        };
        Ladder::new(&reference, units, &evidence, Method::Search)
    };
    let (with, without) = (ladder(true), ladder(false));
    let mut shares = Vec::new();
    for unit in units.iter() {
        let ratio = with.error(unit, Codec::N3) / without.error(unit, Codec::N3);
        let seen = stats.unit(unit.id).map_or(0.0, |inputs| inputs.weight());
        let share = (seen / stats.tokens as f64).max(1e-3);
        if unit.module.is_some() {
            assert!(
                (ratio / share - 1.0).abs() < 1e-6,
                "{}: {ratio} {share}",
                unit.name
            );
            shares.push(share);
        } else {
            assert!((ratio - 1.0).abs() < 1e-6, "{}: {ratio}", unit.name);
        }
    }
    let (least, most) = shares
        .iter()
        .fold((1.0, 0.0), |(l, m), s| (s.min(l), s.max(m)));
    assert!(most < 1.0 && most > 1.2 * least, "{least} {most}");
}
