//! What generated modules use beside kernels: answers for this crate's features, and the choice of a program by the CPU.
//!
//! A generated module may stand in any crate, whose features are others. So it never asks `cfg(feature)`: it wraps what
//! depends on a feature of this crate in one of the macros below.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

use crate::abi::CompiledProgram;
use crate::simd::Level;
#[cfg(feature = "alloc")]
use crate::{Error, ModelInfo, Result};

/// Passes items on where this crate has feature `std`.
#[cfg(feature = "std")]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_std {
    ($($item:tt)*) => { $($item)* };
}

/// Passes items on where this crate has feature `std`.
#[cfg(not(feature = "std"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_std {
    ($($item:tt)*) => {};
}

/// Passes on what is in the first braces where this crate has feature `tokenizer`, else what is in the second.
#[cfg(feature = "tokenizer")]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_tokenizer {
    ({ $($with:tt)* } else { $($without:tt)* }) => { $($with)* };
}

/// Passes on what is in the first braces where this crate has feature `tokenizer`, else what is in the second.
#[cfg(not(feature = "tokenizer"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_tokenizer {
    ({ $($with:tt)* } else { $($without:tt)* }) => { $($without)* };
}

/// Takes in the module that `gemc::Build` made in this crate's build script: `include_built!("gem_lm");`.
#[macro_export]
macro_rules! include_built {
    ($name:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $name, "/module.rs"));
    };
}

pub use crate::__with_std as with_std;
pub use crate::__with_tokenizer as with_tokenizer;

/// A program of a model, with what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Instructions that it needs.
    pub level: Level,
    /// Name of the target that it was compiled for.
    pub target: &'static str,
    /// Its phases and kernels.
    pub program: &'static CompiledProgram,
    /// Whether whoever made it saw that its kernels are compiled without optimisation.
    pub unoptimised: bool,
}

#[cfg(feature = "alloc")]
/// The facts and the program for the first choice that this CPU can run; else those of the last, which
/// [`crate::Engine::new`] then refuses in words.
///
/// # Errors
/// [`Error::Program`] where there is none, as in code that was only checked.
pub fn choose(
    info: &ModelInfo,
    choices: &'static [Choice],
) -> Result<(ModelInfo, Box<CompiledProgram>)> {
    let fitting = choices.iter().find(|choice| choice.level.supported());
    let Some(choice) = fitting.or(choices.last()) else {
        return Err(Error::Program("its code was checked, not built"));
    };
    if choice.unoptimised {
        warn_once(&info.name);
    }
    let info = ModelInfo {
        level: choice.level,
        target: choice.target.into(),
        ..info.clone()
    };
    Ok((info, Box::new(*choice.program)))
}

/// Says what makes a program a hundred times slower, before somebody measures it.
#[cfg(feature = "std")]
fn warn_once(name: &str) {
    use std::sync::Once;

    static SAID: Once = Once::new();
    SAID.call_once(|| {
        std::eprintln!(
            "warning: kernels of {name} are compiled without optimisation, which makes them some 100 times slower; put the model \
             into a package of its own, with `[profile.dev.package.NAME] opt-level = 3` in the Cargo.toml of the workspace"
        );
    });
}

/// There is nobody to tell.
#[cfg(all(feature = "alloc", not(feature = "std")))]
fn warn_once(_: &str) {}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    fn info() -> ModelInfo {
        ModelInfo {
            name: "toy".into(),
            task: crate::Task::CausalLm,
            target: "any".into(),
            level: Level::Portable,
            vocab_size: 2,
            hidden_size: 1,
            max_positions: 1,
            domains: vec![].into(),
            labels: vec![].into(),
            embedding: 0,
            conventions: crate::Conventions::PLAIN,
            bits_per_weight: 0.0,
            weight_bytes: 0,
            plan_hash: [0; 32],
            layout: 0,
            bos: None,
            eos: vec![].into(),
        }
    }

    #[test]
    fn the_first_that_runs_is_taken() {
        const fn choice(level: Level) -> Choice {
            static NOTHING: CompiledProgram = CompiledProgram {
                shape: crate::abi::ProgramShape {
                    arena_bytes: 0,
                    kv_bytes_per_position: 0,
                    ring_bytes: 0,
                    rewind: u32::MAX,
                    max_rows: 0,
                    max_outputs: 0,
                    logits: 0,
                    logits_stride: 0,
                    weight_bytes: 0,
                },
                body: &[],
                body_items: &[],
                head: &[],
                head_items: &[],
                tables: &[],
                taps: &[],
                halves: &[],
            };
            Choice {
                level,
                target: level.name(),
                program: &NOTHING,
                unoptimised: false,
            }
        }
        static ALL: [Choice; 3] = [
            choice(Level::X86V4Vnni),
            choice(Level::X86V3),
            choice(Level::Portable),
        ];
        let best = Level::ALL.into_iter().rev().find(|level| level.supported());
        let taken =
            |choices: &'static [Choice]| choose(&info(), choices).map(|(info, _)| info.level);
        assert_eq!(taken(&ALL).ok(), best);
        assert!(taken(&[]).is_err());
        if let Some(beyond) = ALL.iter().find(|choice| !choice.level.supported()) {
            assert_eq!(taken(std::slice::from_ref(beyond)).ok(), Some(beyond.level));
        }
    }
}
