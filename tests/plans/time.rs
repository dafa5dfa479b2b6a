//! Plans under `--latency`.

use super::*;

/// A target on which some formats are quick and others slow, whatever their size.
fn slow_target() -> Target {
    let speeds = [
        ("N2", 50.0),
        ("N3", 9.0),
        ("N4", 1.0),
        ("L4", 1.0),
        ("N5", 30.0),
        ("L6", 2.0),
        ("B8", 4.0),
    ];
    Target {
        costs: Some(Costs {
            projected: false,
            threads: 1,
            bandwidth: 1e9,
            barrier: 0.0,
            others: std::collections::BTreeMap::new(),
            weights: speeds.map(|(name, ns)| (name.to_owned(), ns)).into(),
            batch: speeds.map(|(name, ns)| (name.to_owned(), 0.5 * ns)).into(),
        }),
        ..Target::host()
    }
}

#[test]
fn plans_keep_to_a_time() {
    let loaded = load(ROUTED);
    let timed = |bits, latency| Settings {
        target: slow_target(),
        latency,
        effort: Effort::Low,
        ..settings(bits)
    };
    let ms = |made: &FinishedPlan| {
        made.file
            .predicted_ms
            .expect("the target's costs are known")
    };
    let free = make(&loaded, &timed(8.25, None));
    let names = |made: &FinishedPlan| -> Vec<String> {
        made.file.units.iter().map(|u| u.format.clone()).collect()
    };
    assert!(names(&free).iter().all(|f| f == "B8"));
    // Modules count by how often they are visited, so that all of the model would take longer.
    let weights: usize = free.units.iter().map(|u| u.shape.weights()).sum();
    let whole = weights as f64 * 4.0 * 1e-9;
    assert!(
        0.2 * whole < ms(&free) && ms(&free) < 0.99 * whole,
        "{} {whole}",
        ms(&free)
    );
    // N4 is the quickest format: nothing is quicker than a quarter.
    let mut before = free.file.predicted_kl.unwrap();
    for share in [0.8, 0.5, 0.3] {
        let limit = share * ms(&free);
        let made = make(&loaded, &timed(8.25, Some(1e-3 * limit)));
        assert!(ms(&made) <= limit, "{} {limit}", ms(&made));
        assert!(
            ms(&made) > 0.85 * limit,
            "{} {limit}: time is left",
            ms(&made)
        );
        assert!(
            names(&made)
                .iter()
                .all(|f| ["N4", "L6", "B8"].contains(&f.as_str()))
        );
        let kl = made.file.predicted_kl.unwrap();
        assert!(kl > before);
        before = kl;
    }
    // Both limits: few bits want N3 and N2, which are slow.
    let small = make(&loaded, &timed(3.25, None));
    let both = make(&loaded, &timed(3.25, Some(0.8e-3 * ms(&small))));
    assert!(both.file.unit_bytes <= budget_of_bits(&both.units, 3.25));
    assert!(ms(&both) <= 0.8 * ms(&small));

    let texts = Texts::divide(&documents(&loaded, 64, 48), 48);
    let refused = |settings: &Settings| {
        let made = planner::make(&loaded, settings, &texts, &mut |_, _| {}, &Silent);
        made.expect_err("no plan").to_string()
    };
    let quickest = 0.25 * ms(&free);
    let words = refused(&timed(8.25, Some(1e-4 * quickest)));
    assert!(
        words.contains(&format!("the fastest takes {quickest:.4} ms")),
        "{words}"
    );
    let words = refused(&timed(8.25, Some(-1.0)));
    assert!(words.contains("allowed are numbers above 0"), "{words}");
    // A classifier's time is that of a text.
    let classifier = load("cls-some-5mlp-top3-none-flagscar");
    let made = make(&classifier, &timed(8.25, None));
    let all: usize = made.units.iter().map(|u| u.shape.weights()).sum();
    let most = 128.0 * all as f64 * 2.0 * 1e-9;
    assert!(
        0.05 * most < ms(&made) && ms(&made) < most,
        "{} {most}",
        ms(&made)
    );

    // A format of which nothing is known is never chosen for its speed, and is still there for its size.
    let mut half_known = slow_target();
    for costs in half_known.costs.iter_mut() {
        for table in [&mut costs.weights, &mut costs.batch] {
            table.retain(|name, _| ["L6", "B8"].contains(&name.as_str()));
        }
    }
    let half_known = |bits, latency| Settings {
        target: half_known.clone(),
        ..timed(bits, latency)
    };
    let made = make(&loaded, &half_known(8.25, Some(0.7e-3 * ms(&free))));
    assert!(ms(&made) <= 0.7 * ms(&free) && names(&made).iter().any(|f| f == "L6"));
    assert!(names(&made).iter().all(|f| f == "L6" || f == "B8"));
    let small = make(&loaded, &half_known(3.25, None));
    assert!(names(&small).iter().any(|f| f == "N3"));
    assert_eq!(small.file.predicted_ms, None);

    // What nobody measured is told from what somebody did.
    let board = Settings {
        target: Target::find("pi4").expect("it is embedded"),
        ..timed(8.25, Some(1.0))
    };
    let made = make(&loaded, &board);
    assert!(made.file.projected && ms(&made) < 1e3 && !free.file.projected);

    let unknown = Settings {
        target: Target::find("aarch64").expect("it is embedded"),
        ..timed(8.25, Some(1.0))
    };
    assert!(refused(&unknown).contains("gemc targets host --measure"));
}
