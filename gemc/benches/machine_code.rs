//! Machine code of this process: how long it takes to make, and how fast it runs.
//!
//! `cargo bench -p gemc --bench machine_code -- CKPT [BITS]`

use std::path::PathBuf;
use std::time::Instant;

use gem_runtime::format::Rounding;
use gem_runtime::protocol::{BenchRequest, Peer as _, Server};
use gemc::emit::cranelift::{Effort, Isa, compile};
use gemc::jit::JitProgram;
use gemc::package::Parts;
use gemc::pipeline;
use gemc::plan::BitPlan;
use gemc::target::Target;
use gemc::{backend, graph::Task};

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
        let code = best(|| compile(&compiled.program, &isa, false).map(|code| code.bytes()))?;
        let jit = best(|| {
            JitProgram::with_effort(&compiled.program, effort).map(|jit| jit.code_bytes())
        })?;
        println!(
            "{effort:?}: compiled in {:.1} ms, ready in {:.1} ms, {} bytes",
            code.0, jit.0, code.1
        );
    }
    let parts = Parts {
        name: "bench",
        loaded: &loaded,
        compiled: &compiled,
        plan: &plan,
        target: &target,
        rounding: Rounding::Plain,
        cache: None,
    };
    let causal = loaded.graph.facts().task == Task::CausalLm;
    for effort in [Effort::Low, Effort::High] {
        let engine = backend::jitted_with(&parts, effort)?;
        for threads in [1, 2] {
            let request = BenchRequest {
                prefill: 128,
                decode: if causal { 32 } else { 0 },
                runs: 3,
                threads: Some(threads),
            };
            let result = Server::new(&engine, 0).bench(&request)?;
            println!(
                "{effort:?}, {threads} threads: prefill {:.1} tok/s, decode {:.1} tok/s",
                speed(request.prefill, &result.prefill_ns),
                speed(request.decode, &result.decode_ns)
            );
        }
    }
    Ok(())
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

/// Tokens per second of the best run.
fn speed(tokens: u32, ns: &[u64]) -> f64 {
    ns.iter()
        .min()
        .map_or(0.0, |&ns| f64::from(tokens) * 1e9 / ns as f64)
}
