//! This machine -> the costs of a target that it runs: a product of every format as machine code, and a pass over memory.

use gem_runtime::protocol::{ProbeRequest, measure_products, probe};

use super::{JitError, JitProgram};
use crate::emit::cranelift::Effort;
use crate::products;
use crate::target::{Costs, Target};

/// Bytes that each thread reads: more than caches hold, and no more than small devices have.
const SCANNED: u64 = 256 << 20;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The machine code could not be made.
    #[error(transparent)]
    Jit(#[from] JitError),
    /// There is not enough memory, or no thread.
    #[error(transparent)]
    Runtime(#[from] gem_runtime::Error),
    /// A fault of gemc.
    #[error("internal fault, please report: a kernel failed verification: {0}")]
    Kernel(String),
}

/// Measures this machine; products are those of the target, which must run here. Takes seconds.
///
/// # Errors
/// When machine code cannot be made, or memory or threads are not to be had.
pub fn measure(target: &Target, threads: Option<u32>) -> Result<Costs, MeasureError> {
    let found = probe(&ProbeRequest {
        threads,
        bytes_per_thread: SCANNED,
        ..ProbeRequest::default()
    })?;
    let (program, products) = products::program(target).map_err(MeasureError::Kernel)?;
    let jit = JitProgram::with_effort(&program, Effort::High)?;
    let times = measure_products(&jit, &products, &mut |_| {})?;
    let of = |cost: fn(&_) -> f64| {
        let costs = times.iter().map(|t| (t.format.to_owned(), round(cost(t))));
        costs.collect()
    };
    Ok(Costs {
        projected: false,
        threads: found.threads,
        bandwidth: round(found.bytes_per_second / 1e9),
        weights: of(|t| t.alone),
        batch: of(|t| t.batch),
    })
}

/// Three digits: more would say more than was measured.
fn round(x: f64) -> f64 {
    let digits = 10f64.powi(2 - x.log10().floor() as i32);
    (x * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_a_target_s_costs() {
        let costs = measure(&Target::host(), Some(1)).unwrap();
        assert_eq!(costs.threads, 1);
        let target = Target {
            costs: Some(costs),
            ..Target::host()
        };
        let text = toml::to_string_pretty(&target).unwrap();
        assert_eq!(Target::parse("board.toml", &text).unwrap(), target);
    }
}
