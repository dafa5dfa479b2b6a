//! Arguments, an engine, standard streams -> the command a user runs: `main` of programs made by `gemc build --bin`.
//!
//! Invariant: whatever the arguments, the files and the streams are, the command ends with an exit code of its own: 0
//! done, 1 the input is at fault, 2 usage. It never panics; who reads its output may stop reading at any time.

mod chat;
mod options;
mod run;
mod today;

use std::ffi::OsString;
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::model::Engine;
use crate::protocol;
use crate::text::Text;

pub use options::{Mode, Options, Parsed, SamplingOptions, Usage};
pub use run::{Failure, run};

/// Name of the weight file beside the program.
const WEIGHTS: &str = "model.gemw";

/// The whole program: reads the arguments, opens the model with `open`, does what is asked.
///
/// `open` gets the path of the weight file and is where the CPU is checked, as by [`Engine::new`]. Where it adds no
/// text, the tokenizer beside the weights is used.
pub fn main(open: impl FnOnce(&Path) -> Result<Engine>) -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = name(arguments.next());
    match Options::parse(arguments) {
        Ok(Parsed::Help) => finish(&program, help(&program)),
        Ok(Parsed::Run(options)) => finish(&program, start(&options, open)),
        Err(usage) => {
            complain(&program, &usage.message);
            complain(&program, "--help shows what there is");
            ExitCode::from(usage.code)
        }
    }
}

fn name(argument: Option<OsString>) -> String {
    let path = PathBuf::from(argument.unwrap_or_default());
    let name = path.file_name().unwrap_or("model".as_ref());
    name.to_string_lossy().into_owned()
}

fn help(program: &str) -> Result<(), Failure> {
    let text = options::HELP.replace("NAME", program);
    run::output(io::stdout().write_all(text.as_bytes()))
}

/// Tells how it went on standard error, and as an exit code.
fn finish(program: &str, result: Result<(), Failure>) -> ExitCode {
    let code = match &result {
        Ok(()) | Err(Failure::Unread) => 0,
        Err(Failure::Error(Error::Options(_))) => 2,
        Err(_) => 1,
    };
    match result {
        Ok(()) | Err(Failure::Unread | Failure::Told) => {}
        Err(Failure::Error(e)) => complain(program, &e.to_string()),
        Err(Failure::Output(e)) => complain(program, &format!("standard output: {e}")),
    }
    ExitCode::from(code)
}

/// Writes to standard error, if anybody listens.
fn complain(program: &str, what: &str) {
    let _ = writeln!(io::stderr(), "{program}: {what}");
}

fn start(options: &Options, open: impl FnOnce(&Path) -> Result<Engine>) -> Result<(), Failure> {
    let weights = match &options.weights {
        Some(path) => path.clone(),
        None => find_weights()?,
    };
    let started = Instant::now();
    let engine = open(&weights)?;
    let load_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    if matches!(options.mode, Mode::Serve) {
        return Ok(protocol::serve(
            &engine,
            load_ns,
            io::stdin(),
            io::stdout(),
        )?);
    }
    let engine = with_text(engine, &weights)?;
    run(
        &engine,
        options,
        BufReader::new(io::stdin()),
        io::stdout().lock(),
    )
}

/// Adds the tokenizer beside the weights to an engine that has none.
fn with_text(engine: Engine, weights: &Path) -> Result<Engine> {
    if engine.text().is_ok() {
        return Ok(engine);
    }
    let folder = weights.parent().unwrap_or(Path::new(""));
    let text = Text::open(folder, engine.info().vocab_size)?;
    Ok(engine.with_text(text))
}

/// The weight file beside the program, or in the folder above it.
fn find_weights() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|e| Error::io(Path::new(WEIGHTS), e))?;
    let folders = program.ancestors().skip(1).take(2);
    let mut places = folders.map(|folder| folder.join(WEIGHTS));
    places.find(|path| path.exists()).ok_or_else(|| {
        let why = "not beside the program nor in the folder above it; --weights names it";
        Error::text(WEIGHTS, why)
    })
}
