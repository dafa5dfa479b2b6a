//! What each part of the planner is worth: one after the other, and what single parts do.

use std::time::Instant;

use gemc::assign::{Formats, budget_of_bits};
use gemc::plan::file::Override;
use gemc::planner::{Ablation, Budget, Effort};
use gemc_format::Codec;

use crate::Result;
use crate::bench::{Bench, Ladders};
use crate::sizes;

/// Prints the tables.
pub fn tables(bench: &Bench, ladders: &Ladders<'_>) -> Result<()> {
    steps(bench, ladders)?;
    routing_weights(bench)?;
    body_only(bench, ladders)
}

/// From plain rounding to the whole planner, at 3.25 bits.
fn steps(bench: &Bench, ladders: &Ladders<'_>) -> Result<()> {
    println!("## Parts of the planner, one after the other, at 3.25 bits\n");
    println!("| parts | bytes | KL | free | seconds |\n|---|---|---|---|---|");
    let uniform = Formats::all(&bench.units, Codec::N3);
    for (name, ladder) in [
        ("plain", &ladders.plain),
        ("search", &ladders.search),
        ("feedback", &ladders.feedback),
    ] {
        let begin = Instant::now();
        let model = bench.model(ladder, &uniform)?;
        let seconds = begin.elapsed().as_secs_f64();
        let row = bench.row(name, &uniform, &model)?;
        println!(
            "| {name} | {} | {:.6} | {:.6} | {seconds:.1} |",
            row.bytes,
            row.forced.mean(),
            row.free.mean()
        );
    }
    for (name, routing_weights, refinement) in [
        ("+ sensitivity", true, true),
        ("+ routing weights", false, true),
        ("+ refinement", false, false),
    ] {
        let without = Ablation {
            routing_weights,
            refinement,
        };
        let plan = bench.plan(Budget::Bits(3.25), Effort::Default, &[], without)?;
        let row = bench.row(name, &plan.formats, &plan.model)?;
        let (kl, seconds) = (row.forced.mean(), plan.seconds);
        println!(
            "| {name} | {} | {kl:.6} | {:.6} | {seconds:.1} |",
            row.bytes,
            row.free.mean()
        );
    }
    println!("\nFeedback's seconds are of planes that the tables above had made already.\n");
    Ok(())
}

/// Plans that count every module as visited by every token.
fn routing_weights(bench: &Bench) -> Result<()> {
    println!("## Plans without routing weights\n");
    let mut rows = Vec::new();
    for (name, routing_weights) in [("with", false), ("without", true)] {
        let without = Ablation {
            routing_weights,
            ..Ablation::default()
        };
        let plan = bench.plan(Budget::Bits(2.75), Effort::Default, &[], without)?;
        rows.push(bench.row(&format!("2.75 {name}"), &plan.formats, &plan.model)?);
    }
    sizes::print(bench, &rows);
    Ok(())
}

/// Embedding and head B8 on both sides, bodies of equal size.
fn body_only(bench: &Bench, ladders: &Ladders<'_>) -> Result<()> {
    println!("## The body only: embedding and head B8 on both sides\n");
    let embedding = bench.embedding()?;
    let pinned = [Override {
        units: format!("^{}$", embedding.name),
        format: Codec::B8.name().to_owned(),
    }];
    let mut rows = Vec::new();
    for codec in [Codec::N4, Codec::N3] {
        let mut formats = Formats::all(&bench.units, codec);
        formats[embedding.id] = Codec::B8;
        let model = bench.model(&ladders.feedback, &formats)?;
        let name = format!("body {}, feedback", codec.name());
        let uniform = bench.row(&name, &formats, &model)?;
        let budget = Budget::Units(uniform.bytes);
        let plan = bench.plan(budget, Effort::Default, &pinned, Ablation::default())?;
        let planned = bench.row("plan", &plan.formats, &plan.model)?;
        let ratio = planned.free.mean() / uniform.free.mean();
        println!("Plan over body {}: KL {ratio:.3}.", codec.name());
        rows.extend([uniform, planned]);
    }
    let whole = budget_of_bits(&bench.units, 3.25);
    println!("(For comparison, everything N3 has {whole} bytes.)\n");
    sizes::print(bench, &rows);
    Ok(())
}
