//! Machine code of this process: how long it takes to make, and how fast it runs.
//!
//! `cargo bench -p gemc --bench machine_code -- CKPT [BITS]`

use std::path::PathBuf;
use std::time::Instant;

use gem_runtime::protocol::{BenchRequest, Peer as _, Server};
use gem_runtime::{Engine, Error};
use gemc::emit::cranelift::{Effort, Isa, compile};
use gemc::jit::JitProgram;
use gemc::pipeline;
use gemc::plan::BitPlan;
use gemc::prepared::PreparedModel;
use gemc::target::Target;
use gemc::{backend, graph::Task};
use gemc_format::Rounding;

/// Times are the best of so many.
const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let Some(checkpoint) = arguments.next().map(PathBuf::from) else {
        println!("SKIPPED: needs the folder of a checkpoint");
        return Ok(());
    };
    let bits = arguments.next().unwrap_or_else(|| "4.25".to_owned());
    let loaded = pipeline::load(&checkpoint)?;
    let plan = BitPlan::parse_bits(&loaded.graph, &bits)?;
    let target = Target::host();
    let begin = Instant::now();
    let compiled = pipeline::compile(&loaded.graph, &plan, &target)?;
    println!(
        "lowered and verified in {:.1} ms, {} kernels",
        ms(begin),
        compiled.program.program().kernels.len()
    );
    for effort in [Effort::Low, Effort::High] {
        let isa = Isa::host(effort)?;
        let cpu = cpu_ms();
        let (wall, bytes) =
            best(|| compile(&compiled.program, &isa, false).map(|code| code.bytes()))?;
        let cpu = (cpu_ms() - cpu) / RUNS as f64;
        let (ready, _) = best(|| {
            JitProgram::with_effort(&compiled.program, effort).map(|jit| jit.code_bytes())
        })?;
        println!(
            "{effort:?}: compiled in {wall:.1} ms ({cpu:.0} ms of CPU), ready in {ready:.1} ms, {bytes} bytes"
        );
    }
    let causal = loaded.graph.facts().task == Task::CausalLm;
    let model = PreparedModel::new(loaded, plan, target, Rounding::Plain, None)?;
    for effort in [Effort::Low, Effort::High] {
        let engine = backend::jitted_with(&model, effort)?;
        for threads in [1, 2] {
            let prefill = measure(&engine, 128, 0, threads)?;
            println!("{effort:?}, {threads} threads: prefill {prefill}");
            if causal {
                let decode = measure(&engine, 1, 64, threads)?;
                println!("{effort:?}, {threads} threads: decode {decode}");
            }
        }
    }
    Ok(())
}

/// Tokens per second of the best run, and of CPU time over all runs, which other work on the machine disturbs less.
fn measure(engine: &Engine, prefill: u32, decode: u32, threads: u32) -> Result<String, Error> {
    let request = BenchRequest {
        prefill,
        decode,
        runs: 3,
        phases: false,
        threads: Some(threads),
    };
    let mut server = Server::new(engine, 0);
    // Makes the session and touches every page.
    server.bench(&request)?;
    let cpu = cpu_ms();
    let result = server.bench(&request)?;
    let cpu = cpu_ms() - cpu;
    let (tokens, times) = match decode {
        0 => (prefill, &result.prefill_ns),
        _ => (decode, &result.decode_ns),
    };
    let best = times
        .iter()
        .min()
        .map_or(0.0, |&ns| f64::from(tokens) * 1e9 / ns as f64);
    // One token more is measured than told where one is the prompt.
    let all = f64::from(request.runs * (prefill + decode));
    Ok(format!(
        "{best:.1} tok/s, {:.1} per second of CPU time",
        all * 1e3 / cpu.max(1.0)
    ))
}

/// CPU time of this process in milliseconds, where the system tells.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: Vec<f64> = fields
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse().ok())
        .collect();
    // A tick is 10 ms wherever there is /proc.
    10.0 * ticks.iter().sum::<f64>()
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds of the best run, and its result.
fn best<T, E>(mut f: impl FnMut() -> Result<T, E>) -> Result<(f64, T), E> {
    let mut run = || {
        let begin = Instant::now();
        f().map(|result| (ms(begin), result))
    };
    let mut best = run()?;
    for _ in 1..RUNS {
        let next = run()?;
        if next.0 < best.0 {
            best = next;
        }
    }
    Ok(best)
}
