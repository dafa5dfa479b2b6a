//! Plans against uniform formats and recipes made by hand, on texts that neither calibration nor search saw -> Markdown.
//!
//! `cargo run --release -p gemc-lab --bin quantisation -- examples/models/gem-lm [--high] [--text FOLDER] [PART]`; `--high` adds plans
//! of the highest effort, `--text` judges on the text of a folder instead of the checkpoint's own, PART is one of sizes, ablation, mix, feedback
//! and predicted. What it prints is the body of docs/results/quantisation.md.

mod ablation;
mod bench;
mod feedback;
mod mix;
mod predicted;
mod routing;
mod sizes;

use std::error::Error;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let checkpoint = std::env::args().nth(1);
    let checkpoint = checkpoint.ok_or("needs the folder of a checkpoint")?;
    let mut rest = std::env::args().skip(2);
    let (mut text, mut part) = (None, None);
    while let Some(argument) = rest.next() {
        match &*argument {
            "--high" => {}
            "--text" => text = Some(rest.next().ok_or("--text needs a folder")?),
            _ => part = Some(argument),
        }
    }
    let bench = bench::Bench::new(checkpoint.as_ref(), text.as_deref().map(Path::new))?;
    let ladders = bench.ladders();
    let counts = bench.judged.counts();
    let counts = counts
        .iter()
        .map(|(domain, (documents, windows))| format!("{domain} {windows} of {documents}"));
    println!(
        "{} tokens, windows spread over all documents (windows of documents: {}); activations rounded as plans usually have them. KL in nats a\n\
         token against the f32 model: *free*, each model routing by itself, and *forced* to the f32 model's routing. *Excess* is KL above the\n\
         all-B8 build (free {:.6}, forced {:.6}). Intervals are 95 %, documents drawn anew within each domain. Calibration, search and\n\
         judged text are different documents.\n",
        bench.judge.tokens(),
        counts.collect::<Vec<_>>().join(", "),
        bench.floor.free.mean(),
        bench.floor.forced.mean()
    );
    let wanted = |name: &str| part.as_ref().is_none_or(|part| part == name);
    if wanted("sizes") {
        let mut plans = Vec::new();
        for bits in [4.25, 3.25, 2.75] {
            plans.push((bits, sizes::table(&bench, &ladders, bits)?));
        }
        routing::tables(&bench, &plans)?;
    }
    if wanted("ablation") {
        ablation::tables(&bench, &ladders)?;
    }
    if wanted("mix") && bench.domains.len() > 1 {
        mix::table(&bench)?;
    }
    if wanted("feedback") {
        feedback::table(&bench, &ladders)?;
    }
    if wanted("predicted") {
        predicted::table(&bench, &ladders)?;
    }
    Ok(())
}
