//! Error feedback against the search, judged by moments of text that neither was fitted on.

use gem_runtime::format::Codec;
use gemc::calibrate::Stats;
use gemc::plan::EMBEDDING;
use gemc::sensitivity::{Ladder, UnitInfo};

use crate::Result;
use crate::bench::{Bench, Ladders};

/// A unit's tokens over its width from which on the moments are known well.
const KNOWN: f64 = 8.0;

/// Prints medians and extremes by format, and the units that feedback made worse. Beside them the median under the moments
/// of the text that was fitted: the difference is what one text does not say about another.
pub fn table(bench: &Bench, ladders: &Ladders<'_>) -> Result<()> {
    println!("## Error feedback against search: tr(ΔW H ΔWᵀ), H of the evaluation text\n");
    println!(
        "| format | units | median | largest | largest with 8 d tokens | of these above 0.7 | median on the text fitted |\n|---|---|---|---|---|---|---|"
    );
    let mut worse = Vec::new();
    for codec in [Codec::N5, Codec::N4, Codec::N3, Codec::N2] {
        let (mut ratios, mut fitted) = (Vec::new(), Vec::new());
        for unit in &bench.units {
            let Some(inputs) = bench.held.unit(unit.name()) else {
                continue;
            };
            let ratio = |stats| {
                error(bench, stats, &ladders.feedback, unit, codec)
                    / error(bench, stats, &ladders.search, unit, codec)
            };
            let own = ratio(&bench.fit);
            let ratio = ratio(&bench.held);
            let known = bench.fit.unit(unit.name());
            let known = known.is_some_and(|i| i.weight() >= KNOWN * inputs.width() as f64);
            if ratio.is_finite() && own.is_finite() {
                fitted.push(own);
                ratios.push((ratio, known, unit.name()));
            }
        }
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        fitted.sort_by(f64::total_cmp);
        let largest = ratios.last().map_or(0.0, |r| r.0);
        let known: Vec<f64> = ratios.iter().filter(|r| r.1).map(|r| r.0).collect();
        println!(
            "| {} | {} | {:.3} | {largest:.3} | {:.3} | {} of {} | {:.3} |",
            codec.name(),
            ratios.len(),
            ratios.get(ratios.len() / 2).map_or(0.0, |r| r.0),
            known.iter().copied().fold(0.0, f64::max),
            known.iter().filter(|ratio| **ratio > 0.7).count(),
            known.len(),
            fitted.get(fitted.len() / 2).copied().unwrap_or(0.0)
        );
        let above = ratios.iter().filter(|r| r.0 > 0.9);
        worse.extend(above.map(|r| format!("{} {} {:.2}", codec.name(), r.2, r.0)));
    }
    println!(
        "\nAbove 0.9: {}.\n",
        if worse.is_empty() {
            "none".to_owned()
        } else {
            worse.join(", ")
        }
    );
    uniform(bench, ladders)
}

/// The whole model in one format, and its parts: all else B8.
fn uniform(bench: &Bench, ladders: &Ladders<'_>) -> Result<()> {
    println!("| format | of | search: excess KL | feedback | ratio |\n|---|---|---|---|---|");
    for codec in [Codec::N4, Codec::N3] {
        for (part, embedding, body) in [
            ("everything", true, true),
            ("the embedding", true, false),
            ("the body", false, true),
        ] {
            let of = |unit: &UnitInfo| {
                let within = if unit.name() == EMBEDDING {
                    embedding
                } else {
                    body
                };
                if within { codec } else { Codec::B8 }
            };
            let formats: Vec<Codec> = bench.units.iter().map(of).collect();
            let excess = |ladder: &Ladder<'_>| -> Result<f64> {
                let model = bench.model(ladder, &formats)?;
                Ok(bench.excess(&bench.row("", &formats, &model)?))
            };
            let (search, feedback) = (excess(&ladders.search)?, excess(&ladders.feedback)?);
            let ratio = feedback / search;
            println!(
                "| {} | {part} | {search:.6} | {feedback:.6} | {ratio:.3} |",
                codec.name()
            );
        }
    }
    println!();
    Ok(())
}

/// A unit's error under moments of the evaluation text; of a tied embedding, that of reading its rows, too.
fn error(bench: &Bench, stats: &Stats, ladder: &Ladder<'_>, unit: &UnitInfo, codec: Codec) -> f64 {
    let (Some(inputs), Some(original)) = (
        stats.unit(unit.name()),
        bench.reference.unit(unit.unit.nodes[0]),
    ) else {
        return f64::NAN;
    };
    let mut delta = ladder.planes(unit, codec).weights();
    delta
        .iter_mut()
        .zip(original.all().iter())
        .for_each(|(a, b)| *a -= b);
    let read = bench.reading.as_ref().filter(|_| unit.unit.nodes.len() > 1);
    inputs.error(&delta) / inputs.weight() + read.map_or(0.0, |reading| reading.error(&delta))
}
