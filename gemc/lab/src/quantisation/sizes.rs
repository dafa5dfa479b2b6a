//! Builds of one size: uniform formats, recipes made by hand that fill the budget, and the plan.

use std::rc::Rc;

use gemc::assign::{FixedFormats, Formats, budget_of_bits, bytes};
use gemc::graph::{Role, Unit, Units};
use gemc::planner::{Ablation, Budget, Effort, body};
use gemc_format::Codec;

use crate::Result;
use crate::bench::{Bench, Ladders, Plan, Row};

/// Prints all builds of one size and how they compare; the plan.
pub fn table(bench: &Bench, ladders: &Ladders<'_>, bits: f64) -> Result<Rc<Plan>> {
    let budget = budget_of_bits(&bench.units, bits);
    let mut rows = uniform(bench, ladders, bits, budget)?;
    for head in [Codec::L6, Codec::B8] {
        for (letter, above) in [("E", 0), ("R", 1)] {
            let pinned = embedding(&bench.units, head);
            if let Some(formats) = body(&bench.units, &pinned, budget, above) {
                let formats = filled(&bench.units, formats, &pinned, budget);
                let model = bench.model(&ladders.feedback, &formats)?;
                let name = format!("{letter}, {}", head.name());
                rows.push(bench.row(&name, &formats, &model)?);
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
    println!("## {bits} bits: {budget} bytes\n");
    println!(
        "Plan over the best of the others, excess KL: {}; forced {}. Planned in {:.0} s.",
        ratio(bench, &planned, &rows, false),
        ratio(bench, &planned, &rows, true),
        plan.seconds
    );
    let (worst, name) = bench.worst(&planned);
    println!(
        "Plan's worst domain over its mean: {:.2} ({name}).\n",
        worst / planned.free.mean()
    );
    rows.push(planned);
    if std::env::args().any(|a| a == "--high") {
        let high = bench.plan(Budget::Bits(bits), Effort::High, &[], Ablation::default())?;
        let name = format!("plan, highest effort ({:.0} s)", high.seconds);
        rows.push(bench.row(&name, &high.formats, &high.model)?);
    }
    print(bench, &rows);
    Ok(plan)
}

/// Excess of a plan over that of the best other row, with its interval. The best is the one with the lowest mean.
fn ratio(bench: &Bench, plan: &Row, others: &[Row], forced: bool) -> String {
    let outputs = |row: &Row| {
        if forced {
            row.forced.kl.clone()
        } else {
            row.free.kl.clone()
        }
    };
    let mean = |row: &Row| bench.excess(row, forced);
    let Some(best) = others.iter().min_by(|a, b| mean(a).total_cmp(&mean(b))) else {
        return "nothing to compare with".to_owned();
    };
    let floor = if forced {
        &bench.floor.forced.kl
    } else {
        &bench.floor.free.kl
    };
    let lists = [&outputs(plan)[..], &outputs(best), floor];
    let (low, high) = bench
        .judged
        .interval(&lists, |m| (m[0] - m[2]) / (m[1] - m[2]));
    let found = mean(plan) / mean(best);
    format!("{found:.3} ({low:.3} to {high:.3}; {})", best.name)
}

/// Raises one unit after the other by a format, as long as that fits: units outside of modules first, larger ones before
/// smaller ones. What is pinned stays.
fn filled(units: &Units, mut formats: Formats, pinned: &FixedFormats, budget: u64) -> Formats {
    let mut order: Vec<&Unit> = units.iter().filter(|u| pinned[u.id].is_none()).collect();
    order.sort_by_key(|unit| (unit.module.is_some(), usize::MAX - unit.shape.weights()));
    for unit in order {
        let level = Codec::LADDER.iter().position(|c| *c == formats[unit.id]);
        let next = level.and_then(|level| Codec::LADDER.get(level + 1));
        let Some(next) = next else { continue };
        let before = std::mem::replace(&mut formats[unit.id], *next);
        if bytes(units, &formats) > budget {
            formats[unit.id] = before;
        }
    }
    formats
}

/// One format, or two adjacent ones by layer.
fn uniform(bench: &Bench, ladders: &Ladders<'_>, bits: f64, budget: u64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let free = FixedFormats::all(&bench.units, None);
    if let Some(codec) = Codec::LADDER.iter().find(|c| c.bits_per_weight() == bits) {
        let formats = Formats::all(&bench.units, *codec);
        for (name, ladder) in [
            ("U, plain", &ladders.plain),
            ("U, search", &ladders.search),
            ("U, feedback", &ladders.feedback),
        ] {
            rows.push(bench.row(name, &formats, &bench.model(ladder, &formats)?)?);
        }
    } else if let Some(formats) = body(&bench.units, &free, budget, 0) {
        let formats = filled(&bench.units, formats, &free, budget);
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
        "| build | bytes | KL, free | excess | 95 % | KL, forced | excess | worst domain, free |\n|---|---|---|---|---|---|---|---|"
    );
    for row in rows {
        let lists = [&row.free.kl[..], &bench.floor.free.kl];
        let (low, high) = bench.judged.interval(&lists, |m| m[0] - m[1]);
        let (kl, name) = bench.worst(row);
        println!(
            "| {} | {} | {:.6} | {:.6} | {low:.6} to {high:.6} | {:.6} | {:.6} | {kl:.6} ({name}) |",
            row.name,
            row.bytes,
            row.free.mean(),
            bench.excess(row, false),
            row.forced.mean(),
            bench.excess(row, true),
        );
    }
    println!();
}

/// Exceptions that give the embedding a format.
pub fn embedding(units: &Units, format: Codec) -> FixedFormats {
    let fixed = |unit: &Unit| (unit.role == Role::Embedding).then_some(format);
    FixedFormats::of(units, fixed)
}
