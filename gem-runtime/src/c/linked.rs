//! The exported table of an object file -> a [`abi::Executable`] and a [`ModelInfo`], so that sessions run linked objects as
//! they run generated crates.
//!
//! Invariant: a `LinkedProgram` exists only for a table of this ABI that this CPU can run.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::slice;

use super::{
    ABI, CAUSAL_LM, EMBEDDING, NONE, ProgramTable, SEQUENCE_CLASSIFICATION, TOKEN_CLASSIFICATION,
};
use crate::abi::{self, Ctx, HalfTap, Items, Part, Phase, ProgramShape, RoutingTap, Table};
use crate::error::{Error, Result};
use crate::info::{Conventions, ModelInfo, Name, Names, Task};
use crate::simd::Level;

/// A program linked into this process.
#[derive(Debug)]
pub struct LinkedProgram {
    program: &'static ProgramTable,
    body: Vec<Items>,
    head: Vec<Items>,
    taps: Vec<RoutingTap>,
    halves: Vec<HalfTap>,
    info: ModelInfo,
}

impl LinkedProgram {
    /// Reads the table that an object file exports.
    ///
    /// # Errors
    /// [`Error::Options`] for a table of another version, [`Error::Cpu`] and [`Error::Options`] when this CPU lacks
    /// instructions, [`Error::Program`] for names that are none.
    ///
    /// # Safety
    /// `program` points to the table of an object file that gemc made and that stays loaded; or to two words, of which
    /// the first is no [`ABI`].
    pub unsafe fn new(program: *const ProgramTable) -> Result<Self> {
        // SAFETY: the version is there in every table, and by itself.
        let version = unsafe { (&raw const (*program).abi).read() };
        if version != ABI {
            return Err(Error::Options(format!(
                "program has version {version} of the interface; this runtime knows {ABI}"
            )));
        }
        // SAFETY: a table of this version is a constant of the type, and stays where it is.
        let program: &'static ProgramTable = unsafe { &*program };
        // SAFETY: pointers and counts of a table belong together.
        unsafe {
            let info = info(program)?;
            check_cpu(&info, text(program.features)?)?;
            let items = |phases: &[Phase]| phases.iter().map(|phase| phase.items).collect();
            Ok(Self {
                body: items(list(program.body, program.n_body)),
                head: items(list(program.head, program.n_head)),
                taps: list(program.taps, program.n_taps)
                    .iter()
                    .map(tap)
                    .collect::<Result<_>>()?,
                halves: list(program.halves, program.n_halves)
                    .iter()
                    .map(half)
                    .collect::<Result<_>>()?,
                info,
                program,
            })
        }
    }

    /// Facts about the model.
    #[must_use]
    pub const fn info(&self) -> &ModelInfo {
        &self.info
    }
}

impl abi::Executable for LinkedProgram {
    fn shape(&self) -> &ProgramShape {
        &self.program.shape
    }

    fn phases(&self, part: Part) -> &[Items] {
        match part {
            Part::Body => &self.body,
            Part::Head => &self.head,
        }
    }

    fn taps(&self) -> &[RoutingTap] {
        &self.taps
    }

    fn halves(&self) -> &[HalfTap] {
        &self.halves
    }

    fn tables(&self) -> &[Table] {
        // SAFETY: as in `new`.
        unsafe { list(self.program.tables, self.program.n_tables) }
    }

    unsafe fn run(&self, part: Part, phase: usize, ctx: &Ctx, begin: u32, end: u32) {
        // SAFETY: as in `new`.
        let phases = unsafe {
            match part {
                Part::Body => list(self.program.body, self.program.n_body),
                Part::Head => list(self.program.head, self.program.n_head),
            }
        };
        let entry = &phases[phase].entry;
        // SAFETY: the caller keeps the contract of `ProgramTable::run`, under which gemc's verifier proved the kernel in range
        // for these arguments; code and arguments stay loaded.
        unsafe { (entry.kernel)(ctx, entry.args, begin, end) }
    }
}

/// An array of a table.
///
/// # Safety
/// `start` points to `len` constants that stay where they are; it may be null when there are none.
unsafe fn list<T>(start: *const T, len: u32) -> &'static [T] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(start, len as usize) }
}

/// A name of a table.
///
/// # Safety
/// `start` points to a constant string that ends with a zero byte.
unsafe fn text(start: *const c_char) -> Result<&'static str> {
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(start) };
    text.to_str()
        .map_err(|_| Error::Program("a name is not UTF-8"))
}

/// # Safety
/// As of [`list`] and [`text`].
unsafe fn names(start: *const *const c_char, len: u32) -> Result<Names> {
    // SAFETY: the caller's promise.
    let names = unsafe { list(start, len) }.iter();
    // SAFETY: the caller's promise.
    let names = names.map(|name| unsafe { text(*name) }.map(Name::Borrowed));
    names.collect::<Result<Vec<_>>>().map(Cow::Owned)
}

fn tap(tap: &super::Tap) -> Result<RoutingTap> {
    Ok(RoutingTap {
        // SAFETY: a tap of a table, whose strings are constants.
        site: unsafe { text(tap.site)? },
        after: tap.after,
        modules: tap.modules,
        top_k: tap.top_k,
        p: tap.p,
        fired: tap.fired,
        gates: tap.gates,
        domain: tap.domain,
        cluster: (tap.cluster != NONE).then_some(tap.cluster),
    })
}

fn half(half: &super::Half) -> Result<HalfTap> {
    Ok(HalfTap {
        // SAFETY: part of a table, whose strings are constants.
        site: unsafe { text(half.site)? },
        before: half.before,
        heads: half.heads,
        width: half.width,
        ring: half.ring,
    })
}

/// # Safety
/// `program` is the table of an object file.
unsafe fn info(program: &'static ProgramTable) -> Result<ModelInfo> {
    // SAFETY: the caller's promise, for each string and array.
    unsafe {
        let task = match program.task {
            CAUSAL_LM => Task::CausalLm,
            SEQUENCE_CLASSIFICATION => Task::SequenceClassification,
            EMBEDDING => Task::Embedding,
            TOKEN_CLASSIFICATION => Task::TokenClassification,
            _ => return Err(Error::Program("an unknown task")),
        };
        let conventions = Conventions::of_word(program.conventions)?;
        let level = Level::from_name(text(program.level)?);
        Ok(ModelInfo {
            name: Cow::Borrowed(text(program.name)?),
            task,
            target: Cow::Borrowed(text(program.target)?),
            level: level.ok_or(Error::Program("an unknown level"))?,
            vocab_size: program.vocab_size / conventions.token_types,
            hidden_size: program.hidden_size,
            max_positions: program.max_positions,
            domains: names(program.domains, program.n_domains)?,
            labels: names(program.labels, program.n_labels)?,
            embedding: match task {
                Task::Embedding => program.n_logits,
                Task::CausalLm | Task::SequenceClassification | Task::TokenClassification => 0,
            },
            conventions,
            bits_per_weight: program.bits_per_weight,
            weight_bytes: program.weight_bytes,
            plan_hash: program.plan_hash,
            layout: program.layout,
            bos: (program.bos != NONE).then_some(program.bos),
            eos: Cow::Borrowed(list(program.eos, program.n_eos)),
        })
    }
}

/// Refuses a CPU without the instructions of the object's code.
fn check_cpu(info: &ModelInfo, features: &str) -> Result<()> {
    if !info.level.supported() {
        return Err(Error::Cpu { needed: info.level });
    }
    let own = info.level.features();
    let beyond = |feature: &&str| !feature.is_empty() && !own.split(',').any(|f| f == *feature);
    match features.split(',').filter(beyond).find(|f| !detected(f)) {
        None => Ok(()),
        Some(feature) => Err(Error::Options(format!(
            "target {} needs `{feature}`, which this CPU lacks",
            info.target
        ))),
    }
}

/// Whether this CPU has a feature that targets name beside a level; without `std`, whether the build assumes it.
fn detected(feature: &str) -> bool {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    return feature == "avxvnni" && std::arch::is_x86_feature_detected!("avxvnni");
    #[cfg(all(feature = "std", target_arch = "aarch64"))]
    return match feature {
        "dotprod" => std::arch::is_aarch64_feature_detected!("dotprod"),
        "i8mm" => std::arch::is_aarch64_feature_detected!("i8mm"),
        _ => false,
    };
    #[cfg(not(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    return (cfg!(target_feature = "avxvnni") && feature == "avxvnni")
        || (cfg!(target_feature = "dotprod") && feature == "dotprod")
        || (cfg!(target_feature = "i8mm") && feature == "i8mm");
}
