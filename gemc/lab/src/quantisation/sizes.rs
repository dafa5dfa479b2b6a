//! Builds of one size: uniform formats, recipes made by hand, and the plan.

use std::rc::Rc;

use gemc::assign::{FixedFormats, Formats, budget_of_bits};
use gemc::graph::{Role, Unit, Units};
use gemc::planner::{Ablation, Budget, Effort, body};
use gemc::sensitivity::JudgedOutputs;
use gemc_format::Codec;

use crate::Result;
use crate::bench::{Bench, Ladders, Plan, Row};

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2_000;

/// Prints all builds of one size and how they compare; the plan.
pub fn table(bench: &Bench, ladders: &Ladders<'_>, bits: f64) -> Result<Rc<Plan>> {
    let budget = budget_of_bits(&bench.units, bits);
    let mut rows = uniform(bench, ladders, bits, budget)?;
    let mut recipes = Vec::new();
    for head in [Codec::L6, Codec::B8] {
        for (letter, above) in [("E", 0), ("R", 1)] {
            let pinned = embedding(&bench.units, head);
            if let Some(formats) = body(&bench.units, &pinned, budget, above) {
                let model = bench.model(&ladders.feedback, &formats)?;
                let name = format!("{letter}, {}", head.name());
                recipes.push(bench.row(&name, &formats, &model)?);
            }
        }
    }
    let plan = bench.plan(
        Budget::Bits(bits),
        Effort::Default,
        &[],
        Ablation::default(),
    )?;
    let planned = bench.row("plan", &plan.formats, &plan.model)?;
    let recipe = recipes.iter().map(|row| bench.excess(row));
    let recipe = recipe.fold(f64::INFINITY, f64::min);
    let excess = bench.excess(&planned);
    println!("## {bits} bits: {budget} bytes\n");
    println!("Plan over min(E, R), excess: {:.3}.", excess / recipe);
    if let Some(plain) = rows.first() {
        println!(
            "Plan over the first U, excess: {:.3}; worst domain over its worst: {:.3}.",
            excess / bench.excess(plain),
            bench.worst(&planned).0 / bench.worst(plain).0
        );
    }
    println!(
        "Plan's worst domain over its mean: {:.2}. Planned in {:.0} s.\n",
        bench.worst(&planned).0 / planned.forced.mean(),
        plan.seconds
    );
    rows.extend(recipes);
    rows.push(planned);
    if std::env::args().any(|a| a == "--high") {
        let high = bench.plan(Budget::Bits(bits), Effort::High, &[], Ablation::default())?;
        let name = format!("plan, highest effort ({:.0} s)", high.seconds);
        rows.push(bench.row(&name, &high.formats, &high.model)?);
    }
    print(bench, &rows);
    Ok(plan)
}

/// One format, or two adjacent ones by layer.
fn uniform(bench: &Bench, ladders: &Ladders<'_>, bits: f64, budget: u64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if let Some(codec) = Codec::LADDER.iter().find(|c| c.bits_per_weight() == bits) {
        let formats = Formats::all(&bench.units, *codec);
        for (name, ladder) in [
            ("U, plain", &ladders.plain),
            ("U, search", &ladders.search),
            ("U, feedback", &ladders.feedback),
        ] {
            rows.push(bench.row(name, &formats, &bench.model(ladder, &formats)?)?);
        }
    } else if let Some(formats) = body(
        &bench.units,
        &FixedFormats::all(&bench.units, None),
        budget,
        0,
    ) {
        for (name, ladder) in [
            ("U, two formats, plain", &ladders.plain),
            ("U, two formats, feedback", &ladders.feedback),
        ] {
            rows.push(bench.row(name, &formats, &bench.model(ladder, &formats)?)?);
        }
    }
    Ok(rows)
}

/// Prints rows as a table.
pub fn print(bench: &Bench, rows: &[Row]) {
    println!(
        "| build | bytes | KL | excess | 95 % | free | worst domain |\n|---|---|---|---|---|---|---|"
    );
    for row in rows {
        let (low, high) = bootstrap(&row.forced, &bench.floor);
        let (kl, name) = bench.worst(row);
        println!(
            "| {} | {} | {:.6} | {:.6} | {low:.6} to {high:.6} | {:.6} | {kl:.6} ({name}) |",
            row.name,
            row.bytes,
            row.forced.mean(),
            bench.excess(row),
            row.free
        );
    }
    println!();
}

/// Exceptions that give the embedding a format.
pub fn embedding(units: &Units, format: Codec) -> FixedFormats {
    let fixed = |unit: &Unit| (unit.role == Role::Embedding).then_some(format);
    FixedFormats::of(units, fixed)
}

/// 95 % interval of the mean difference, tokens resampled in pairs.
fn bootstrap(found: &JudgedOutputs, floor: &JudgedOutputs) -> (f64, f64) {
    let differences: Vec<f64> = found.kl.iter().zip(&floor.kl).map(|(a, b)| a - b).collect();
    let n = differences.len().max(1) as u64;
    let mut state = 1u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        differences
            .get(((state >> 33) % n) as usize)
            .copied()
            .unwrap_or(0.0)
    };
    let mean = |draw: &mut dyn FnMut() -> f64| (0..n).map(|_| draw()).sum::<f64>() / n as f64;
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| mean(&mut draw)).collect();
    means.sort_unstable_by(f64::total_cmp);
    (means[RESAMPLES / 40], means[RESAMPLES - RESAMPLES / 40 - 1])
}
