//! Program in, proof of well-formedness out: only [`verify`] makes a [`Verified`], and every backend asks for one.
//!
//! What holds of a verified program, for every step the runtime may run and whatever the weight file and earlier steps
//! left in memory: every value is computed before it is used and has the type its operation says; every access lies in
//! its region and every region in its buffer; every division is by a positive number; every call reaches a kernel that
//! takes those items. Provided loads keep their declared ranges: words of 16 bits do not wrap or saturate and masks are
//! masks. What is *not* proved: that items of one phase write disjoint memory (the interpreter can check a run).

mod access;
mod error;
mod eval;
mod flow;
mod function;
mod lanes;
mod params;
mod program;
mod range;
mod structure;
#[cfg(test)]
mod tests;

pub use error::{Place, Problem, VerifyError};
pub use range::Range;

use super::expand::{ExpandedKernel, expand, is_expanded};
use super::{Kernel, KernelId, ParamId, Program, ValueId};

/// Blocks in blocks at most.
pub const MAX_DEPTH: usize = 32;
/// Loops in loops at most; the analysis visits a body twice per enclosing loop that assigns locals.
pub const MAX_LOOP_DEPTH: usize = 8;
/// Elements of an array, and turns of a repetition, at most.
pub const MAX_COUNT: u32 = 256;
/// Functions that call functions, and tables whose entries call tables, at most.
pub const MAX_CALL_DEPTH: usize = 8;
/// Local memory of an item at most, in bytes.
pub const MAX_LOCAL_BYTES: i64 = 64 << 10;
/// Errors reported at most.
const MAX_ERRORS: usize = 64;

/// What the verifier found out about a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelInfo {
    /// By value: bounds of I32 values and of the lanes of integer vectors, where the value is computed.
    pub ranges: Vec<Option<Range>>,
    /// Bytes of local memory.
    pub local_bytes: u32,
    /// Calls of table entries.
    pub calls: Vec<CallSite>,
}

/// A call of a table's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite {
    /// The table parameter.
    pub table: ParamId,
    /// Every called item is below.
    pub items: i64,
}

/// A program that passed [`verify`].
#[derive(Clone, Debug)]
pub struct Verified {
    program: Program,
    kernels: Vec<CheckedKernel>,
}

/// A kernel that passed.
#[derive(Clone, Debug)]
struct CheckedKernel {
    /// Written out, where it is not already.
    expanded: Option<Kernel>,
    /// About what is executed.
    info: KernelInfo,
    /// By value of the kernel as it was written.
    ranges: Vec<Option<Range>>,
}

impl Verified {
    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// A kernel to be executed: without repetitions and arrays.
    #[must_use]
    pub fn kernel(&self, id: KernelId) -> &Kernel {
        let written = &self.program.kernels[id.index()];
        self.kernels[id.index()]
            .expanded
            .as_ref()
            .unwrap_or(written)
    }

    /// What is known about [`Verified::kernel`].
    #[must_use]
    pub fn info(&self, id: KernelId) -> &KernelInfo {
        &self.kernels[id.index()].info
    }

    /// Bounds of the values of a kernel as it was written, whichever turn of a repetition computes them.
    #[must_use]
    pub fn ranges(&self, id: KernelId) -> &[Option<Range>] {
        let CheckedKernel {
            ranges,
            info,
            expanded,
        } = &self.kernels[id.index()];
        match expanded {
            Some(_) => ranges,
            None => &info.ranges,
        }
    }

    /// The program, to be changed and verified again.
    #[must_use]
    pub fn into_program(self) -> Program {
        self.program
    }
}

/// Checks a program; see the module.
///
/// # Errors
/// Every broken rule, in program order, at most 64.
pub fn verify(program: Program) -> Result<Verified, Vec<VerifyError>> {
    let mut errors = Errors::default();
    let kernels = check(&program, &mut errors);
    if errors.list.is_empty() {
        Ok(Verified { program, kernels })
    } else {
        Err(errors.list)
    }
}

fn check(program: &Program, errors: &mut Errors) -> Vec<CheckedKernel> {
    program::check_shape(&program.shape, errors);
    program::check_names(program, errors);
    for (i, f) in program.functions.iter().enumerate() {
        errors.at(Place::function(&f.name));
        function::check(program, i, f, errors);
    }
    function::check_depth(program, errors);
    let kernels: Vec<CheckedKernel> = program
        .kernels
        .iter()
        .map(|k| check_kernel(program, k, errors))
        .collect();
    if errors.list.is_empty() {
        let infos: Vec<&KernelInfo> = kernels.iter().map(|k| &k.info).collect();
        program::check_phases(program, &infos, errors);
    }
    kernels
}

fn check_kernel(program: &Program, kernel: &Kernel, errors: &mut Errors) -> CheckedKernel {
    errors.at(Place::kernel(&kernel.name));
    let before = errors.total;
    let local_bytes = params::check(kernel, errors);
    structure::check(program, kernel, errors);
    let info = |ranges, calls| KernelInfo {
        ranges,
        local_bytes,
        calls,
    };
    let refused = |info| CheckedKernel {
        expanded: None,
        info,
        ranges: Vec::new(),
    };
    if errors.total > before {
        // Ids may be out of range; the analysis of ranges relies on a sound structure.
        return refused(info(Vec::new(), Vec::new()));
    }
    if is_expanded(kernel) {
        let (ranges, calls) = flow::analyse(program, kernel, errors);
        return refused(info(ranges, calls));
    }
    match expand(kernel) {
        Ok(ExpandedKernel {
            kernel: expanded,
            origins,
            made,
        }) => {
            errors.origins = origins;
            let (ranges, calls) = flow::analyse(program, &expanded, errors);
            errors.origins.clear();
            CheckedKernel {
                expanded: Some(expanded),
                ranges: joined(kernel.values.len(), &made, &ranges),
                info: info(ranges, calls),
            }
        }
        Err(error) => {
            errors.push(error);
            refused(info(Vec::new(), Vec::new()))
        }
    }
}

/// Bounds that hold of all that a value became.
fn joined(
    values: usize,
    made: &[(ValueId, ValueId)],
    ranges: &[Option<Range>],
) -> Vec<Option<Range>> {
    let mut joined: Vec<Option<Option<Range>>> = vec![None; values];
    for (origin, made) in made {
        let range = ranges[made.index()];
        let joined = &mut joined[origin.index()];
        *joined = Some(match *joined {
            None => range,
            Some(before) => before.zip(range).map(|(a, b)| a.join(b)),
        });
    }
    joined.into_iter().map(Option::flatten).collect()
}

/// Errors so far, and where the checker stands.
#[derive(Debug, Default)]
struct Errors {
    list: Vec<VerifyError>,
    total: usize,
    place: Place,
    /// Above zero: problems are not recorded (a first pass over a loop).
    muted: u32,
    /// Of a kernel that was written out: for each of its values, the one that people know.
    origins: Vec<ValueId>,
}

impl Errors {
    fn at(&mut self, place: Place) {
        self.place = place;
    }

    fn push(&mut self, problem: impl Into<Problem>) {
        self.push_at(None, problem);
    }

    fn push_at(&mut self, value: Option<ValueId>, problem: impl Into<Problem>) {
        if self.muted > 0 {
            return;
        }
        self.total += 1;
        let known = |v: ValueId| self.origins.get(v.index()).copied().unwrap_or(v);
        let mut problem = problem.into();
        problem.rename(known);
        let value = value.map(known);
        if self.list.len() < MAX_ERRORS {
            self.list.push(VerifyError {
                place: Place {
                    value,
                    ..self.place.clone()
                },
                problem,
            });
        }
    }
}
