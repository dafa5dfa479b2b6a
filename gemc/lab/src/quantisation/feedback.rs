//! Error feedback against the search, judged by moments of text that neither was fitted on.

use gemc::assign::Formats;
use gemc::calibrate::{Inputs, Stats};
use gemc::graph::{Role, Unit};
use gemc::quantise::factor::Moments;
use gemc::sensitivity::Ladder;
use gemc_format::Codec;

use crate::Result;
use crate::bench::{Bench, Ladders};

/// A unit's tokens over its width from which on the moments are known well.
const KNOWN: f64 = 8.0;

/// What no such unit should be above.
const BAR: f64 = 0.7;

/// Prints medians and extremes by format, and the units that feedback did little for. Beside them the median under the moments
/// of the text that was fitted: the difference is what one text does not say about another.
pub fn table(bench: &Bench, ladders: &Ladders<'_>) -> Result<()> {
    println!("## Error feedback against search: tr(ΔW H ΔWᵀ), H of the evaluation text\n");
    println!(
        "| format | units | median | largest | largest with 8 d tokens | of these above 0.7 | median on the text fitted |\n|---|---|---|---|---|---|---|"
    );
    let mut above = String::new();
    for codec in [Codec::N5, Codec::N4, Codec::N3, Codec::N2] {
        let (mut ratios, mut fitted) = (Vec::new(), Vec::new());
        for unit in bench.units.iter() {
            let Some(inputs) = bench.held.unit(unit.id) else {
                continue;
            };
            let ratio = |stats| {
                error(bench, stats, &ladders.feedback, unit, codec)
                    / error(bench, stats, &ladders.search, unit, codec)
            };
            let own = ratio(&bench.fit);
            let ratio = ratio(&bench.held);
            let known = bench.fit.unit(unit.id);
            let known = known.is_some_and(|i| i.weight() >= KNOWN * inputs.width() as f64);
            if ratio.is_finite() && own.is_finite() {
                fitted.push(own);
                ratios.push((ratio, known, unit));
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
            known.iter().filter(|ratio| **ratio > BAR).count(),
            known.len(),
            fitted.get(fitted.len() / 2).copied().unwrap_or(0.0)
        );
        if codec == Codec::N4 {
            let rows = ratios.iter().filter(|r| r.0 > BAR).rev();
            above = rows.map(|r| row(bench, r.2, r.0)).collect();
        }
    }
    println!(
        "\nUnits above {BAR} in N4. Beside them how many rows of equal length would show as much as those of the text fitted, and Σ d over\n\
         the trace of its moments: what columns rounded one after the other keep of the error of columns rounded each by itself, about;\n\
         the median of all units is {:.2}.\n\n\
         | unit | ratio | tokens | effective | Σ d |\n|---|---|---|---|---|\n{above}",
        median_left(bench)
    );
    uniform(bench, ladders)
}

fn row(bench: &Bench, unit: &Unit, ratio: f64) -> String {
    let inputs = bench.fit.unit(unit.id);
    let of = |value: fn(&Inputs) -> f64| inputs.map_or(0.0, value);
    format!(
        "| {} | {ratio:.2} | {:.0} | {:.0} | {:.2} |\n",
        unit.name,
        of(Inputs::weight),
        of(Inputs::effective),
        of(left)
    )
}

/// See [`Moments::left`]; of the text's own moments.
fn left(inputs: &Inputs) -> f64 {
    let moments = inputs
        .moments()
        .map(|h| Moments::new(h, inputs.width(), 0.0));
    moments.map_or(1.0, |moments| moments.left())
}

fn median_left(bench: &Bench) -> f64 {
    let seen = bench
        .units
        .iter()
        .filter_map(|unit| bench.fit.unit(unit.id));
    let mut all: Vec<f64> = seen.map(left).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
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
            let of = |unit: &Unit| {
                let within = if unit.role == Role::Embedding {
                    embedding
                } else {
                    body
                };
                if within { codec } else { Codec::B8 }
            };
            let formats = Formats::of(&bench.units, of);
            let excess = |ladder: &Ladder<'_>| -> Result<f64> {
                let model = bench.model(ladder, &formats)?;
                Ok(bench.excess(&bench.row("", &formats, &model)?, true))
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
fn error(bench: &Bench, stats: &Stats, ladder: &Ladder<'_>, unit: &Unit, codec: Codec) -> f64 {
    let (Some(inputs), Some(original)) = (stats.unit(unit.id), bench.reference.unit(unit.nodes[0]))
    else {
        return f64::NAN;
    };
    let mut delta = ladder.planes(unit, codec).weights();
    delta
        .iter_mut()
        .zip(original.all().iter())
        .for_each(|(a, b)| *a -= b);
    let read = bench.reading.as_ref().filter(|_| unit.tied);
    inputs.error(&delta) / inputs.weight() + read.map_or(0.0, |reading| reading.error(&delta))
}
