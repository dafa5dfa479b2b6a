//! Plans against uniform formats and recipes made by hand, on texts that neither calibration nor search saw -> Markdown.
//!
//! `cargo run --release -p gemc-lab --bin quantisation -- examples/models/gem-lm [--high] [PART]`; `--high` adds plans of the highest
//! effort, PART is one of sizes, ablation, feedback and predicted. What it prints is the body of docs/results/quantisation.md.

mod ablation;
mod bench;
mod feedback;
mod predicted;
mod routing;
mod sizes;

use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let checkpoint = std::env::args().nth(1);
    let checkpoint = checkpoint.ok_or("needs the folder of a checkpoint")?;
    let bench = bench::Bench::new(checkpoint.as_ref())?;
    let ladders = bench.ladders();
    println!(
        "{} evaluation tokens; activations rounded as plans usually have them; KL in nats per token against the f32 model, routing forced to the f32\n\
         model's unless it says free. *Excess* is KL above the all-B8 build ({:.6}). Calibration, search and evaluation\n\
         use different documents.\n",
        bench.judge.tokens(),
        bench.floor.mean()
    );
    let part = std::env::args().skip(2).find(|a| a != "--high");
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
    if wanted("feedback") {
        feedback::table(&bench, &ladders)?;
    }
    if wanted("predicted") {
        predicted::table(&bench, &ladders)?;
    }
    Ok(())
}
