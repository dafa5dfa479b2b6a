//! Continues lines of text, a line each, while module `law` of its model is updated from a server.
//!
//! `patched STATE SERVER [WEIGHTS]`: a folder for what was updated, the server's address, and the weight file, which an
//! installed program has elsewhere than where it was built.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, fs, io, thread};

use patched::answer::answer;
use patched::newest::Newest;
use patched::updates::Updates;
use patched::watch::watch;

/// What the program was told.
struct Arguments {
    state: PathBuf,
    server: SocketAddr,
    weights: PathBuf,
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!(
            "usage: patched STATE SERVER [WEIGHTS], for instance: patched state 127.0.0.1:4100"
        );
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<Arguments> {
    let mut given = env::args_os().skip(1);
    let (state, server) = (given.next()?, given.next()?);
    Some(Arguments {
        state: state.into(),
        server: server.to_str()?.parse().ok()?,
        weights: given.next().unwrap_or(gem_lm::WEIGHT_FILE.into()).into(),
    })
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments {
        state,
        server,
        weights,
    } = arguments;
    fs::create_dir_all(state).map_err(|why| format!("{}: {why}", state.display()))?;
    let newest = Arc::new(Newest::open(weights, state)?);
    let updates = Updates::new(Arc::clone(&newest), state);
    let kept = updates.resume();
    eprintln!("shipped: {}", weights.display());
    eprintln!(
        "start: {}",
        kept.unwrap_or_else(|why| format!("refused: {why}"))
    );
    let server = *server;
    thread::Builder::new().spawn(move || watch(&updates, server))?;
    for prompt in io::stdin().lock().lines() {
        continue_line(&newest, &prompt?)?;
    }
    Ok(())
}

/// One line on standard output for one of standard input, also where there is no answer.
fn continue_line(newest: &Newest, prompt: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{prompt}")?;
    let answered = answer(&newest.engine(), prompt, |piece| {
        write!(out, "{}", piece.replace(['\n', '\r'], " "))?;
        out.flush()
    });
    if let Err(why) = answered {
        eprintln!("no answer: {why}");
    }
    writeln!(out)?;
    out.flush()
}
