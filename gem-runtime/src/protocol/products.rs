//! A program that has a product of a format in every phase -> what each takes for a thousand weights, on one thread.

use core::ptr;
use std::time::Instant;

use crate::abi::{Ctx, Executable, Items, Part, Row};
use crate::error::{Error, Result};
use crate::memory::Buffer;

/// Rows of a batch: whole blocks of rows for every target.
pub const BATCH: u32 = 32;

/// The best of so many times counts.
const TIMES: usize = 40;

/// How often what activations take is measured beside the product without.
const TURNS: u32 = 3;

/// How long one time is at least, so that the clock's steps do not show.
const LEAST: f64 = 2e-4;

/// What a phase multiplies: rows with a matrix of so many weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Name of the weights' format.
    pub format: &'static str,
    /// Weights of the matrix.
    pub weights: u32,
    /// The kind of activation that follows, and its outputs: what it takes is told from the last product without one.
    pub activation: Option<(&'static str, u32)>,
}

/// Nanoseconds that a thread takes for a thousand weights in its cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProductTimes {
    /// Name of the weights' format.
    pub format: &'static str,
    /// With one row.
    pub alone: f64,
    /// With [`BATCH`] rows, for each of them.
    pub batch: f64,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProductCosts {
    /// Of every format.
    pub products: Vec<ProductTimes>,
    /// Nanoseconds that a thread takes for a thousand values, by kind of work.
    pub others: Vec<(&'static str, f64)>,
}

/// Measures all products of a program; `products` are those of its phases. `heard` is told of each that is done.
///
/// # Errors
/// [`Error::Options`] for a program of another kind; when there is no memory.
pub fn measure_products(
    program: &dyn Executable,
    products: &[Product],
    heard: &mut dyn FnMut(&ProductTimes),
) -> Result<ProductCosts> {
    let shape = *program.shape();
    let sound = program.phases(Part::Body).len() == products.len()
        && shape.kv_bytes_per_position == 0
        && shape.ring_bytes == 0
        && shape.max_rows >= BATCH
        && program.tables().is_empty();
    if !sound {
        return Err(Error::Options("products: another kind of program".into()));
    }
    let weights = Buffer::zeroed(shape.weight_bytes)?;
    let mut arena = Buffer::zeroed(u64::from(shape.arena_bytes))?;
    let row = Row {
        token: 0,
        slot: 0,
        position: 0,
        visible: 1,
    };
    let rows = [row; BATCH as usize];
    let mut ctx = Ctx {
        weights: weights.as_slice().as_ptr(),
        arena: arena.as_mut_slice().as_mut_ptr(),
        kv: ptr::null(),
        rows: rows.as_ptr(),
        outputs: ptr::null(),
        tables: ptr::null(),
        n_rows: 0,
        n_slots: 0,
        n_outputs: 0,
        context: 1,
    };
    let mut costs = ProductCosts::default();
    let mut seconds = |phase: usize, rows: u32| {
        let Items::Fixed(items) = program.phases(Part::Body)[phase] else {
            return Err(Error::Options("products: a phase that is none".into()));
        };
        ctx.n_rows = rows;
        Ok(best(|| {
            // SAFETY: the context has weights and arena of the program's shape and its rows, which outlive this; the
            // program has no slots and tables and asks for no outputs, and each item of the phase runs once.
            unsafe { program.run(Part::Body, phase, &ctx, 0, items) };
        }))
    };
    let mut plain = None;
    for (phase, product) in products.iter().enumerate() {
        match (product.activation, plain) {
            (Some((kind, outputs)), Some(plain)) => {
                // In turns: a clock that changes must not look like work.
                let mut least = [f64::INFINITY; 2];
                for _ in 0..TURNS {
                    for (least, phase) in least.iter_mut().zip([plain, phase]) {
                        *least = least.min(seconds(phase, BATCH)?);
                    }
                }
                let more = (least[1] - least[0]) * 1e9 / f64::from(outputs) / f64::from(BATCH);
                // Where the clock's noise is larger than that, next to nothing.
                costs.others.push((kind, 1e3 * more.max(1e-6)));
            }
            _ => {
                let thousand = f64::from(product.weights) / 1000.0;
                let found = ProductTimes {
                    format: product.format,
                    alone: seconds(phase, 1)? * 1e9 / thousand,
                    batch: seconds(phase, BATCH)? * 1e9 / thousand / f64::from(BATCH),
                };
                heard(&found);
                costs.products.push(found);
                plain = Some(phase);
            }
        }
    }
    Ok(costs)
}

/// What a thread takes for a thousand values of each kind of work. `work` says of every phase its kind and values of a prompt, with
/// no kind for what is not told apart; `ns` are nanoseconds of each in so many prompts on one thread.
#[must_use]
pub fn costs_of_phases(
    work: &[(&'static str, f64)],
    ns: &[u64],
    prompts: u32,
) -> Vec<(&'static str, f64)> {
    let mut sums: Vec<(&'static str, f64, f64)> = Vec::new();
    for ((kind, values), ns) in work
        .iter()
        .zip(ns)
        .filter(|((kind, _), _)| !kind.is_empty())
    {
        let at = sums.iter().position(|(known, _, _)| known == kind);
        let at = at.unwrap_or_else(|| {
            sums.push((kind, 0.0, 0.0));
            sums.len() - 1
        });
        sums[at].1 += values * f64::from(prompts);
        sums[at].2 += *ns as f64;
    }
    let cost = |(kind, values, ns): (_, f64, f64)| (kind, (1e3 * ns / values.max(1.0)).max(1e-6));
    sums.into_iter().map(cost).collect()
}

/// Seconds of one run, at best.
fn best(mut run: impl FnMut()) -> f64 {
    let mut time = |runs: u32| {
        let start = Instant::now();
        for _ in 0..runs {
            run();
        }
        start.elapsed().as_secs_f64()
    };
    let mut runs = 1;
    while runs < 1 << 20 && time(runs) < LEAST {
        runs *= 2;
    }
    let best = (0..TIMES).map(|_| time(runs)).fold(f64::INFINITY, f64::min);
    // A clock that does not advance must not give zero.
    best.max(1e-9) / f64::from(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_times_over_values() {
        let work = [("norm", 100.0), ("", 9.0), ("norm", 300.0), ("heads", 50.0)];
        let costs = costs_of_phases(&work, &[2_000, 77, 6_000, 500], 2);
        assert_eq!(costs, [("norm", 1e4), ("heads", 5e3)]);
    }
}
