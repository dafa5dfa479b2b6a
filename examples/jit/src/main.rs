//! The path of a checkpoint and a prompt -> text, piece by piece, without a Rust toolchain on the machine:
//! `cargo run --release -p gem-example-jit -- examples/models/gem-lm "The license"`

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use gem_runtime::{Model as _, Sampling, SessionOptions};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, prompt] = &arguments[..] else {
        eprintln!("usage: gem-example-jit CHECKPOINT PROMPT");
        return ExitCode::from(2);
    };
    match stream(checkpoint, prompt) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stream(checkpoint: &str, prompt: &str) -> Result<(), Box<dyn Error>> {
    let model = gemc::model::Model::options()
        .bits("4.25")
        .open(checkpoint)?;
    let mut session = model.session(SessionOptions::default())?;
    let sampling = Sampling {
        max_tokens: 40,
        ..Sampling::default()
    };
    for piece in session.generate(prompt, sampling) {
        io::stdout().write_all(piece?.text.as_bytes())?;
        io::stdout().flush()?;
    }
    println!();
    Ok(())
}
