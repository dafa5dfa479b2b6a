//! Arguments, an engine, standard streams -> the command a user runs: `main` of programs made by `gemc build --bin`.
//!
//! Invariant: whatever the arguments, the files and the streams are, the command ends with an exit code of its own: 0
//! done, 1 the input is at fault, 2 usage. It never panics; who reads its output may stop reading at any time.

mod before;
mod bus;
mod chat;
mod check;
mod options;
mod run;
mod speed;
mod today;
mod weights;

use std::ffi::OsString;
use std::io::{self, BufReader, Write as _};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::info::ModelInfo;
use crate::model::Engine;
use crate::protocol;
use crate::storage::Weights;
use crate::text::hide_caught_panics;

pub use before::check;
pub use bus::{end_at_lost_files, report_file_limits};
pub use options::{ChatArguments, Mode, Options, Parsed, SamplingOptions, Usage};
pub use run::{Failure, run, threads_warning};
pub(crate) use today::today;
use weights::Source;

/// The whole program: reads the arguments, opens the model with `open`, does what is asked.
///
/// `info` is of the model. `open` gets the weights and is where the CPU is checked, as by [`Engine::new`]. Where it adds no
/// text, the tokenizer that came with the weights is used: from beside them, or from the bundle that the program carries.
pub fn main(info: &ModelInfo, open: impl FnOnce(Weights) -> Result<Engine> + Send) -> ExitCode {
    roomy(|| dispatch(info, open)).unwrap_or(ExitCode::FAILURE)
}

/// Bytes of stack to work with. Tokenizers and templates recurse, and the main thread has what its user's limits give.
const STACK: usize = 8 << 20;

/// Works on a thread with so much stack; on the calling one where none can be had. `None` is never seen: the work is
/// there to be taken once.
fn roomy<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    let work = Mutex::new(Some(work));
    let run = || {
        let taken = work.lock().ok().and_then(|mut work| work.take());
        taken.map(|work| work())
    };
    thread::scope(|scope| {
        let roomy = thread::Builder::new().stack_size(STACK);
        match roomy.spawn_scoped(scope, run) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => run(),
        }
    })
}

fn dispatch(info: &ModelInfo, open: impl FnOnce(Weights) -> Result<Engine>) -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = name(arguments.next());
    match Options::parse(arguments) {
        Ok(Parsed::Help) => finish(&program, help(&program)),
        Ok(Parsed::Run(options)) => finish(&program, start(&program, info, &options, open)),
        Err(usage) => {
            complain(&program, &usage.message);
            complain(&program, "see --help");
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

fn start(
    program: &str,
    info: &ModelInfo,
    options: &Options,
    open: impl FnOnce(Weights) -> Result<Engine>,
) -> Result<(), Failure> {
    if options.threads.is_none() {
        crate::team::keep_to_fast_cores();
    }
    let named = options.weights.as_deref();
    let source = Source::find(named, &info.name, |note| complain(program, note))?;
    report_file_limits();
    hide_caught_panics();
    end_at_lost_files(&format!(
        "{program}: {} was cut short while it was in use, or its disk failed",
        source.name()
    ));
    let started = Instant::now();
    let engine = open(source.weights()?)?;
    let load_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    if matches!(options.mode, Mode::Serve) {
        return Ok(protocol::serve(
            &engine,
            load_ns,
            io::stdin(),
            io::stdout(),
        )?);
    }
    let engine = source.with_text(engine)?;
    run(
        &engine,
        options,
        BufReader::new(io::stdin()),
        io::stdout().lock(),
    )
}
