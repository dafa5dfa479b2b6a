//! The `main` of programs made by `gemc bench --pack`: a model that a person runs once on a board -> how fast it is there, as a
//! table, JSON and a target file with measured costs.

mod lengths;
mod machine;
mod options;
mod report;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub use self::lengths::lengths;
use self::machine::Machine;
use self::options::Options;
pub use self::report::{Expected, Speed, three_digits};
use self::report::{FormatCost, Minute, Report, Row};
use crate::abi::CompiledProgram;
use crate::cli::{threads_warning, today};
use crate::error::{Error, Result};
use crate::info::{ModelInfo, Task};
use crate::model::Engine;
use crate::protocol::{
    BenchRequest, Peer as _, ProbeRequest, Product, Server, barrier, costs_of_phases,
    measure_products, run_once,
};
use crate::session::{Session, SessionOptions};
use crate::team::Team;

/// Tokens of what is done over and over, at most.
const TEXT: u32 = 256;

/// How often a prompt is read to time its phases.
const PROMPTS: u32 = 3;

/// What a kit has beside the model.
#[derive(Clone, Copy, Debug)]
pub struct Kit {
    /// A program with a product in every phase.
    pub products: &'static CompiledProgram,
    /// What its phases multiply.
    pub formats: &'static [Product],
    /// The target's file without costs; its last table is `[provenance]`.
    pub target: &'static str,
    /// What the target's costs said, where it had any.
    pub expected: Option<Expected>,
    /// Bytes of weights that a decoded token reads.
    pub bytes_per_token: u64,
    /// What every phase does with a prompt of so many tokens: a kind of work, empty for what is not told apart, and values.
    pub work: (u32, &'static [(&'static str, f64)]),
}

/// The whole program; `open` gives the model that this program carries.
pub fn main(info: &ModelInfo, kit: &Kit, open: impl FnOnce() -> Result<Engine>) -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = PathBuf::from(arguments.next().unwrap_or_default());
    let program = program.file_name().unwrap_or("kit".as_ref());
    let program = program.to_string_lossy().into_owned();
    let complain = |what: &str| {
        let _ = writeln!(io::stderr(), "{program}: {what}");
    };
    let options = match options::parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = io::stdout().write_all(options::HELP.replace("NAME", &program).as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(what) => {
            complain(&what);
            complain("see --help");
            return ExitCode::from(2);
        }
    };
    match measured(info, kit, &options, open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Options(what)) => {
            complain(&what);
            complain("see --help");
            ExitCode::from(2)
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn measured(
    info: &ModelInfo,
    kit: &Kit,
    options: &Options,
    open: impl FnOnce() -> Result<Engine>,
) -> Result<()> {
    let lengths = lengths(
        info.task,
        info.max_positions,
        options.prefill,
        options.decode,
    );
    let (prefill, decode) = lengths.map_err(Error::Options)?;
    // Before minutes of work: the folder is there, and the model is sound.
    fs::create_dir_all(&options.output).map_err(|e| Error::io(&options.output, e))?;
    if options.threads.is_none() {
        crate::team::keep_to_fast_cores();
    }
    let started = Instant::now();
    let engine = open()?;
    let load_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let machine = Machine::below(Path::new("/"));
    let threads = match &options.threads {
        Some(given) => given.clone(),
        None => usual_threads()?,
    };
    let mut server = Server::new(&engine, load_ns);
    let mut rows = Vec::new();
    let most = threads.iter().max().copied().unwrap_or(1);
    for &threads_now in &threads {
        hear(&format!("measuring speed: {threads_now} of {most} threads"));
        if let Some(warning) = threads_warning(Some(threads_now as usize)) {
            hear(&format!("warning: {warning}"));
        }
        let request = BenchRequest {
            prefill,
            decode,
            runs: options.runs,
            phases: false,
            threads: Some(threads_now),
        };
        let bench = server.bench(&request)?;
        let moment = machine.now();
        let probe = server.probe(&ProbeRequest::modest(Some(threads_now)))?;
        rows.push(Row::new(
            (prefill, decode),
            kit.bytes_per_token,
            &bench,
            &probe,
            moment,
        ));
    }
    let mut done = 0;
    let products = measure_products(kit.products, kit.formats, &mut |times| {
        done += 1;
        hear(&format!(
            "measuring formats: {} ({done} of {})",
            times.format,
            kit.formats.len()
        ));
    })?;
    hear("measuring what is no product");
    let others = other_costs(&mut server, kit, &products.others)?;
    let barrier = match most {
        1 => 0.0,
        _ => 1e6 * barrier(Some(most))?,
    };
    let sustained = match options.sustained {
        Some(minutes) => sustain(&engine, threads.last().copied(), minutes, &machine)?,
        None => Vec::new(),
    };
    let report = Report {
        model: info.name.to_string(),
        target: info.target.to_string(),
        machine: machine.name(),
        date: today().format("%Y-%m-%d"),
        weight_bytes: info.weight_bytes,
        prefill_tokens: prefill,
        decode_tokens: decode,
        rows,
        costs: products.products.iter().map(FormatCost::from).collect(),
        others,
        barrier,
        expected: kit.expected,
        sustained,
    };
    write(&report, kit, &options.output)
}

/// Nanoseconds for a thousand values of each kind of work, of one thread: from the model's own phases, and from activations.
fn other_costs(
    server: &mut Server,
    kit: &Kit,
    activations: &[(&'static str, f64)],
) -> Result<Vec<(&'static str, f64)>> {
    let (prefill, work) = kit.work;
    let request = BenchRequest {
        prefill,
        decode: 0,
        runs: PROMPTS,
        phases: true,
        threads: Some(1),
    };
    let bench = server.bench(&request)?;
    let mut costs = costs_of_phases(work, &bench.prefill_phase_ns, PROMPTS);
    for (kind, cost) in activations {
        match costs.iter_mut().find(|(known, _)| known == kind) {
            Some(known) => known.1 = *cost,
            None => costs.push((*kind, *cost)),
        }
    }
    Ok(costs)
}

/// One thread, and one for each fast core.
fn usual_threads() -> Result<Vec<u32>> {
    let all = u32::try_from(Team::new(None)?.threads()).unwrap_or(1);
    Ok(if all > 1 { vec![1, all] } else { vec![1] })
}

/// Works for minutes without a pause, and counts the tokens of each.
fn sustain(
    engine: &Engine,
    threads: Option<u32>,
    minutes: u32,
    machine: &Machine,
) -> Result<Vec<Minute>> {
    let options = SessionOptions {
        context: None,
        threads: threads.map(|n| n as usize),
    };
    let mut session = Session::new(engine, options)?;
    let work = Work::new(engine.info(), session.context());
    let mut found = Vec::new();
    for minute in 1..=minutes {
        hear(&format!("working: minute {minute} of {minutes}"));
        let started = Instant::now();
        let mut tokens = 0_u64;
        while started.elapsed() < Duration::from_secs(60) {
            tokens += work.some(&mut session)?;
        }
        found.push(Minute {
            tokens_per_second: tokens as f64 / started.elapsed().as_secs_f64(),
            moment: machine.now(),
        });
    }
    Ok(found)
}

/// What is done over and over: tokens one by one up to the middle of the context, or whole texts.
struct Work {
    task: Task,
    text: Vec<u32>,
}

impl Work {
    fn new(info: &ModelInfo, context: u32) -> Self {
        let length = (context / 2).clamp(1, TEXT);
        Self {
            task: info.task,
            text: vec![info.vocab_size / 2; length as usize],
        }
    }

    /// Does some; gives the number of tokens.
    fn some(&self, session: &mut Session) -> Result<u64> {
        let (prompt, rest) = match self.task {
            Task::CausalLm => self.text.split_at(1),
            _ => (&self.text[..], &[][..]),
        };
        run_once(session, prompt, rest)?;
        Ok(self.text.len() as u64)
    }
}

/// Tells how far it is, on standard error.
fn hear(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// Writes both files, and the table to standard output.
fn write(report: &Report, kit: &Kit, folder: &Path) -> Result<()> {
    let file = |name: String, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| Error::io(&path, e))?;
        Ok::<PathBuf, Error>(path)
    };
    let json = serde_json::to_string_pretty(report)
        .map_err(|e| Error::Options(format!("results: {e}")))?;
    let json = file(format!("{}.json", report.model), &format!("{json}\n"))?;
    let target = report.target_file(kit.target);
    let target = target
        .map(|text| file(format!("{}.toml", report.target), &text))
        .transpose()?;
    let table = report.to_string();
    io::stdout()
        .write_all(table.as_bytes())
        .map_err(|e| Error::io(Path::new("standard output"), e))?;
    let more = target.map_or_else(String::new, |path| {
        let path = path.display();
        format!("; {path} is for `gemc plan --target {path} --latency MS`")
    });
    hear(&format!("{} has all figures{more}", json.display()));
    Ok(())
}
