//! The reference executor against PyTorch: one test per checkpoint folder that has goldens.

use std::path::Path;
use std::process::ExitCode;

use gem_tests::goldens::{self, Golden};
use gem_tests::needs;
use gemc::graph::Site;
use gemc::reference::{Batch, OutputRows, Reference, RoutingSource, Run, RunOptions};
use libtest_mimic::{Arguments, Trial};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Largest difference of logits, and of p, between two correct f32 executions.
const LOGITS: f32 = 2e-4;
const P: f32 = 1e-4;
/// Fewer tiny checkpoints cannot cover the format.
const CHECKPOINTS: usize = 24;
const TRAINED: [&str; 3] = ["gem-lm", "gem-lm-dense", "gem-cls"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tiny = gem_tests::checkpoints();
    let count = tiny.len();
    let mut trials: Vec<Trial> = tiny
        .into_iter()
        .map(|dir| Trial::test(format!("tiny::{}", name(&dir)), move || Ok(check(&dir)?)))
        .collect();
    trials.push(Trial::test("tiny::enough_checkpoints", move || {
        let enough = count >= CHECKPOINTS;
        if enough {
            Ok(())
        } else {
            Err(format!("{count} checkpoints, expected {CHECKPOINTS}").into())
        }
    }));
    for model in TRAINED {
        trials.push(Trial::test(format!("trained::{model}"), move || {
            Ok(trained(model)?)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn name(dir: &Path) -> String {
    dir.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn trained(model: &str) -> Outcome {
    let dir = needs::repository(&format!("examples/models/{model}"));
    if dir.join("golden.safetensors").exists() {
        check(&dir)
    } else {
        Ok(needs::skipped(&format!(
            "examples/models/{model} with its goldens"
        ))?)
    }
}

fn check(dir: &Path) -> Outcome {
    let (graph, weights) = gemc::import::checkpoint(dir)?.into_parts();
    let reference = Reference::new(&gemc::typing::infer(graph)?, &weights);
    let goldens = goldens::read(dir, reference.graph())?;
    if goldens.is_empty() {
        return Err("no goldens".into());
    }
    for (i, golden) in goldens.iter().enumerate() {
        one(&reference, golden).map_err(|what| format!("golden {i}: {what}"))?;
    }
    together(&reference, &goldens)
}

/// Runs one golden alone; after a flip inside the near-tie margin, under the golden's routing.
fn one(reference: &Reference, golden: &Golden) -> Outcome {
    let batch = Batch::one(&golden.ids);
    let options = RunOptions {
        outputs: OutputRows::Last(golden.logits.len()),
        ..RunOptions::default()
    };
    let own = reference.run(&batch, &options)?;
    let flips = flips(&own, golden)?;
    if flips > 0 {
        println!("{flips} decisions differ within the near-tie margin");
    }
    let forced = RunOptions {
        routing: RoutingSource::Forced(&golden.routing),
        ..options
    };
    let run = if flips == 0 {
        own
    } else {
        reference.run(&batch, &forced)?
    };
    Ok(same_logits(&run, 0, golden)?)
}

/// Runs all goldens as one batch.
fn together(reference: &Reference, goldens: &[Golden]) -> Outcome {
    let sequences: Vec<&[u32]> = goldens.iter().map(|golden| &golden.ids[..]).collect();
    let batch = Batch::of(&sequences);
    let rows: Vec<usize> = batch
        .sequences()
        .zip(goldens)
        .flat_map(|(rows, golden)| {
            rows.end.saturating_sub(golden.logits.len()).max(rows.start)..rows.end
        })
        .collect();
    let options = RunOptions {
        outputs: OutputRows::Rows(&rows),
        ..RunOptions::default()
    };
    let run = reference.run(&batch, &options)?;
    let mut first = 0;
    for (i, (rows, golden)) in batch.sequences().zip(goldens).enumerate() {
        let agrees = |(site, theirs): (Site, &gemc::reference::SiteRouting)| {
            let ours = run.routing.get(site).expect("every site was run");
            let decided = &theirs.decisions;
            rows.clone()
                .zip(0..decided.rows())
                .all(|(row, theirs)| ours.decisions.fired_row(row) == decided.fired_row(theirs))
        };
        if golden.routing.iter().all(agrees) {
            same_logits(&run, first, golden)
                .map_err(|what| format!("golden {i} in a batch: {what}"))?;
        }
        first += golden.logits.len();
    }
    Ok(())
}

fn same_logits(run: &Run, first: usize, golden: &Golden) -> Result<(), String> {
    for (i, want) in golden.logits.iter().enumerate() {
        let found = run.logits.row(first + i);
        if found.len() != want.len() {
            return Err(format!("{} logits, expected {}", found.len(), want.len()));
        }
        let difference = largest(found, want);
        if difference > LOGITS || difference.is_nan() {
            return Err(format!(
                "logits of row {i} differ by {difference:.1e}, allowed {LOGITS:.0e}"
            ));
        }
    }
    Ok(())
}

fn largest(a: &[f32], b: &[f32]) -> f32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |most, x| if x <= most { most } else { x })
}

/// Number of decisions that differ; an error when one does for which a near-tie is no excuse.
///
/// Everything after the first flip of a sequence may differ honestly, so only the first site with flips is judged.
fn flips(run: &Run, golden: &Golden) -> Result<usize, String> {
    for (site, theirs) in golden.routing.iter() {
        let ours = run
            .routing
            .get(site)
            .ok_or_else(|| format!("{site} was not routed"))?;
        let rows = theirs.decisions.rows();
        let differ: Vec<usize> = (0..rows).filter(|row| !ours.agrees(theirs, *row)).collect();
        for &row in &differ {
            if !ours.near_tie(row) {
                let margin = ours.decisions.margin(row);
                return Err(format!(
                    "{site}, row {row}: another decision at margin {margin:.1e}"
                ));
            }
        }
        let difference = largest(&ours.decisions.p, &theirs.decisions.p);
        if difference > P || difference.is_nan() {
            return Err(format!(
                "{site}: p differs by {difference:.1e}, allowed {P:.0e}"
            ));
        }
        if !differ.is_empty() {
            return Ok(differ.len());
        }
    }
    Ok(0)
}
