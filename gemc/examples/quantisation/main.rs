//! Plans against uniform formats and recipes made by hand, on texts that neither calibration nor search saw -> Markdown.
//!
//! `cargo run --release -p gemc --example quantisation -- examples/models/gem-lm [--high] > docs/results/quantisation.md`; `--high`
//! adds plans of the highest effort.

mod predicted;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use gem_runtime::format::Codec;
use gemc::assign::{LADDER, Options, budget_of_bits, bytes};
use gemc::calibrate::{self, Gather};
use gemc::graph::NodeId;
use gemc::import::Split;
use gemc::pipeline;
use gemc::plan::EMBEDDING;
use gemc::plan::file::Override;
use gemc::planner::{self, Budget, Effort, Settings, Texts, body};
use gemc::progress::{Progress, Silent};
use gemc::reference::{Activations, Reference};
use gemc::sensitivity::{self, Judge, Judged, Ladder, Method, UnitInfo};
use gemc::target::Target;
use gemc::texts;
use gemc::verify;

/// Tokens of evaluation text.
const TOKENS: usize = 16_384;

/// Bytes of probabilities kept, enough for all tokens.
const MEMORY: usize = 2 << 30;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Log;

impl Progress for Log {
    fn start(&self, what: &str, _: u64) {
        eprintln!("  {what}");
    }
    fn advance(&self, _: u64) {}
}

/// What everything is measured with.
struct Bench {
    reference: Reference,
    units: Vec<UnitInfo>,
    judge: Judge,
    /// KL of the build in which everything is B8.
    floor: Judged,
    /// Names of domains.
    domains: Vec<String>,
}

/// A build that was measured.
struct Row {
    name: String,
    bytes: u64,
    forced: Judged,
    free: f64,
}

fn main() -> Result<()> {
    let checkpoint = std::env::args().nth(1).map(PathBuf::from);
    let checkpoint = checkpoint.ok_or("needs the folder of a checkpoint")?;
    let loaded = pipeline::load(&checkpoint)?;
    let window = texts::window(&loaded);
    let evaluation = texts::documents(&loaded, Split::Evaluation, None, "to measure on")?;
    let evaluation = verify::windows(&evaluation, window, TOKENS);
    let calibration = texts::documents(&loaded, Split::Calibration, None, "to calibrate with")?;
    let divided = Texts::divide(&calibration, window);
    let reference = Reference::new(&loaded.graph, loaded.checkpoint.weights());
    let units = sensitivity::infos(&loaded.graph);
    let judge = Judge::new(&reference, &evaluation, Activations::Int8, MEMORY, &Silent)?;
    let stats = calibrate::run(
        &reference,
        &divided.fit,
        Gather::Moments,
        &mut |_, _| {},
        &Log,
    )?;
    let held = calibrate::run(
        &reference,
        &divided.search,
        Gather::Moments,
        &mut |_, _| {},
        &Log,
    )?;
    let ladder = |method| Ladder::new(&reference, &units, &stats, method);
    let (plain, search, feedback) = (
        ladder(Method::Plain),
        ladder(Method::Search),
        ladder(Method::Feedback),
    );
    let mut names: Vec<String> = evaluation.iter().map(|s| s.domain.clone()).collect();
    names.sort();
    names.dedup();
    let mut bench = Bench {
        reference: reference.clone(),
        units: units.clone(),
        judge,
        floor: Judged::default(),
        domains: names,
    };
    let all_b8 = vec![Codec::B8; units.len()];
    bench.floor = bench.row("all B8", &feedback, &all_b8)?.forced;
    let mut out = String::new();
    writeln!(out, "# Quantisation of gem-lm\n")?;
    writeln!(
        out,
        "Made by `cargo run --release -p gemc --example quantisation -- examples/models/gem-lm`. {} evaluation tokens; int8\n\
         activations; KL in nats per token against the f32 model, routing forced to the f32 model's unless it says free.\n\
         *Excess* is KL above the all-B8 build ({:.6}). Plans, search and evaluation use different documents.\n",
        bench.judge.tokens(),
        bench.floor.mean()
    )?;
    for bits in [4.25, 3.25, 2.75] {
        let rows = bench.budget(&loaded, &divided, &plain, &search, &feedback, bits)?;
        bench.table(&mut out, bits, &rows)?;
        eprint!("{out}");
    }
    held_out(&mut out, &units, &reference, &held, &search, &feedback)?;
    let windows = verify::windows(&divided.search, window, 6_144);
    let judge = Judge::new(&reference, &windows, Activations::F32, MEMORY, &Log)?;
    let slopes = sensitivity::measure(&reference, &units, &feedback, &judge, &Log)?;
    let other = Judge::new(
        &reference,
        &evaluation[..evaluation.len() / 3],
        Activations::F32,
        MEMORY,
        &Log,
    )?;
    let prediction = predicted::Prediction {
        reference: &reference,
        units: &units,
        ladder: &feedback,
        slopes: &slopes,
        search: &judge,
        evaluation: &other,
    };
    prediction.table(&mut out)?;
    print!("{out}");
    Ok(())
}

impl Bench {
    fn row(&self, name: &str, ladder: &Ladder<'_>, formats: &[Codec]) -> Result<Row> {
        let mut candidate = self.reference.clone();
        for (unit, codec) in self.units.iter().zip(formats) {
            ladder.apply(&mut candidate, unit, *codec)?;
        }
        Ok(Row {
            name: name.to_owned(),
            bytes: bytes(&self.units, formats),
            forced: self.judge.judge(&candidate, NodeId(0), true)?,
            free: self.judge.judge(&candidate, NodeId(0), false)?.mean(),
        })
    }

    /// All builds of one size.
    fn budget(
        &self,
        loaded: &pipeline::Loaded,
        texts: &Texts,
        plain: &Ladder<'_>,
        search: &Ladder<'_>,
        feedback: &Ladder<'_>,
        bits: f64,
    ) -> Result<Vec<Row>> {
        let budget = budget_of_bits(&self.units, bits);
        let mut rows = Vec::new();
        if let Some(codec) = LADDER.iter().find(|c| c.bits_per_weight() == bits) {
            let formats = vec![*codec; self.units.len()];
            rows.push(self.row("U, plain", plain, &formats)?);
            rows.push(self.row("U, search", search, &formats)?);
            rows.push(self.row("U, feedback", feedback, &formats)?);
        } else if let Some(formats) = body(&self.units, &embedding(&self.units, None), budget, 0) {
            rows.push(self.row("U, feedback (two formats)", feedback, &formats)?);
        }
        for head in [Codec::L6, Codec::B8] {
            if let Some(formats) = body(&self.units, &embedding(&self.units, Some(head)), budget, 0)
            {
                rows.push(self.row(&format!("E, {}", head.name()), feedback, &formats)?);
            }
            if let Some(formats) = body(&self.units, &embedding(&self.units, Some(head)), budget, 1)
            {
                rows.push(self.row(&format!("R, {}", head.name()), feedback, &formats)?);
            }
        }
        let mut efforts = vec![("plan", Effort::Default)];
        if std::env::args().any(|a| a == "--high") {
            efforts.push(("plan, high effort", Effort::High));
        }
        for (name, effort) in efforts {
            let settings = Settings {
                target: Target::host(),
                budget: Budget::Bits(bits),
                method: Method::Feedback,
                effort,
                overrides: Vec::<Override>::new(),
                uniform_body: false,
            };
            let begin = Instant::now();
            let made = planner::make(loaded, &settings, texts, &mut |_, _| {}, &Log)?;
            eprintln!("{name} {bits}: {:.1} s", begin.elapsed().as_secs_f64());
            let formats: Vec<Codec> = made
                .file
                .units
                .iter()
                .map(|unit| Codec::from_name(&unit.format).ok_or("a format"))
                .collect::<std::result::Result<_, _>>()?;
            rows.push(self.row(name, feedback, &formats)?);
        }
        Ok(rows)
    }

    fn table(&self, out: &mut String, bits: f64, rows: &[Row]) -> Result<()> {
        let budget = budget_of_bits(&self.units, bits);
        writeln!(out, "## {bits} bits: {budget} bytes\n")?;
        writeln!(
            out,
            "| build | bytes | KL | excess | 95 % | free | worst domain |\n|---|---|---|---|---|---|---|"
        )?;
        for row in rows {
            let excess = row.forced.mean() - self.floor.mean();
            let (low, high) = bootstrap(&row.forced, &self.floor);
            let domains = row.forced.by_domain();
            let worst = domains
                .iter()
                .zip(&self.domains)
                .max_by(|a, b| a.0.total_cmp(b.0));
            let (kl, name) = worst.map_or((0.0, ""), |(kl, name)| (*kl, name));
            writeln!(
                out,
                "| {} | {} | {:.6} | {excess:.6} | {low:.6} to {high:.6} | {:.6} | {kl:.6} ({name}) |",
                row.name,
                row.bytes,
                row.forced.mean(),
                row.free
            )?;
        }
        writeln!(out)?;
        Ok(())
    }
}

/// Exceptions that give the embedding a format, or none.
fn embedding(units: &[UnitInfo], format: Option<Codec>) -> Options {
    let named = units.iter().filter(|unit| unit.name() == EMBEDDING);
    let formats = named.filter_map(|unit| Some((unit.name().to_owned(), vec![format?])));
    formats.collect()
}

/// 95 % interval of the mean difference, tokens resampled in pairs.
fn bootstrap(found: &Judged, floor: &Judged) -> (f64, f64) {
    let differences: Vec<f64> = found.kl.iter().zip(&floor.kl).map(|(a, b)| a - b).collect();
    let n = differences.len().max(1) as u64;
    let mut state = 1u64;
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sum: f64 = (0..n)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    differences
                        .get(((state >> 33) % n) as usize)
                        .copied()
                        .unwrap_or(0.0)
                })
                .sum();
            sum / n as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    (means[RESAMPLES / 40], means[RESAMPLES - RESAMPLES / 40 - 1])
}

/// Error feedback against the search, judged by moments of text that neither was fitted on.
fn held_out(
    out: &mut String,
    units: &[UnitInfo],
    reference: &Reference,
    held: &calibrate::Stats,
    search: &Ladder<'_>,
    feedback: &Ladder<'_>,
) -> Result<()> {
    writeln!(
        out,
        "## Error feedback against search: tr(ΔW H ΔWᵀ), H of other text\n"
    )?;
    writeln!(
        out,
        "| format | units | median | largest | largest with 8 d tokens |\n|---|---|---|---|---|"
    )?;
    for codec in [Codec::N5, Codec::N4, Codec::N3, Codec::N2] {
        let mut ratios = Vec::new();
        for unit in units {
            let (Some(inputs), Some(original)) =
                (held.unit(unit.name()), reference.unit(unit.unit.nodes[0]))
            else {
                continue;
            };
            let error = |ladder: &Ladder<'_>| {
                let mut delta = ladder.planes(unit, codec).weights();
                delta
                    .iter_mut()
                    .zip(original.iter())
                    .for_each(|(a, b)| *a -= b);
                inputs.error(&delta)
            };
            let ratio = error(feedback) / error(search);
            if ratio.is_finite() {
                ratios.push((ratio, inputs.weight() >= 8.0 * inputs.width() as f64));
            }
        }
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        let largest = ratios.last().map_or(0.0, |r| r.0);
        let known = ratios
            .iter()
            .filter(|r| r.1)
            .map(|r| r.0)
            .fold(0.0, f64::max);
        let median = ratios.get(ratios.len() / 2).map_or(0.0, |r| r.0);
        writeln!(
            out,
            "| {} | {} | {median:.3} | {largest:.3} | {known:.3} |",
            codec.name(),
            ratios.len()
        )?;
    }
    Ok(())
}
