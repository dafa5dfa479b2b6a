//! Targets -> programs of one model, each with the architectures that compile it.

use gem_runtime::simd::Level;
use gemc_format::Rounding;
use gemc_kernels::rust;

use super::BuildError;
use crate::pack;
use crate::pipeline::{self, CompiledModel, LoadedCheckpoint};
use crate::plan::BitPlan;
use crate::prepared::PreparedModel;
use crate::target::Target;

/// What is compiled where nobody names a target: architecture, as in `cfg(target_arch)`, and its targets, the best
/// first. The last is for every architecture that has no line.
const DEFAULT: &[(&str, &[&str])] = &[
    ("x86_64", &["x86-64-v4-vnni", "x86-64-v3", "portable"]),
    ("aarch64", &["aarch64-dotprod", "aarch64"]),
    ("", &["portable"]),
];

/// The architectures that compile a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Every one: somebody named a target that any machine runs.
    All,
    /// Those without a line in [`DEFAULT`].
    Rest,
    /// This one, as in `cfg(target_arch)`.
    One(String),
}

/// A target, and the architectures that compile its program.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) place: Place,
    pub(super) target: Target,
}

/// A program as text.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) place: Place,
    pub(super) target: String,
    pub(super) level: Level,
    pub(super) kernels: String,
    pub(super) program: String,
}

/// Targets by name, or those for which `has` says that the architecture is wanted.
pub(super) fn wanted(
    names: &[String],
    has: &dyn Fn(&str) -> bool,
) -> Result<Vec<Wanted>, BuildError> {
    if names.is_empty() {
        let mut all = Vec::new();
        for (architecture, targets) in DEFAULT {
            if !has(architecture) {
                continue;
            }
            for target in *targets {
                all.push(Wanted {
                    place: match *architecture {
                        "" => Place::Rest,
                        named => Place::One(named.to_owned()),
                    },
                    target: Target::find(target)?,
                });
            }
        }
        return Ok(all);
    }
    let mut all: Vec<Wanted> = Vec::new();
    for name in names {
        let target = Target::find(name)?;
        let place = place(&target);
        if let Some(first) = all.first()
            && first.place != place
        {
            let names = [&first.target.name, &target.name].map(String::clone);
            let [first, other] = names;
            return Err(BuildError::Architectures(first, other));
        }
        all.push(Wanted { place, target });
    }
    Ok(all)
}

/// The only architecture that has programs, where somebody named targets that are not for all.
pub(super) fn only(names: &[String], wanted: &[Wanted]) -> Option<String> {
    match names.is_empty() {
        true => None,
        false => wanted.first().and_then(|one| match &one.place {
            Place::One(architecture) => Some(architecture.clone()),
            Place::All | Place::Rest => None,
        }),
    }
}

/// The architectures that run a target that somebody named.
fn place(target: &Target) -> Place {
    let triple = match target.triple.as_str() {
        "host" if target.level == Level::Portable => return Place::All,
        "host" => std::env::consts::ARCH,
        triple => triple,
    };
    match triple.split('-').next() {
        None => Place::All,
        Some(arch) => Place::One(match arch {
            "i386" | "i586" | "i686" => "x86".to_owned(),
            arch if arch.starts_with("riscv64") => "riscv64".to_owned(),
            arch if arch.starts_with("armv7") => "arm".to_owned(),
            arch => arch.to_owned(),
        }),
    }
}

/// Architectures that [`DEFAULT`] has lines for.
pub(super) fn named() -> impl Iterator<Item = &'static str> {
    DEFAULT
        .iter()
        .map(|(arch, _)| *arch)
        .filter(|arch| !arch.is_empty())
}

/// The targets' names, for people.
pub(super) fn joined(wanted: &[Wanted]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for one in wanted {
        if !names.contains(&one.target.name.as_str()) {
            names.push(&one.target.name);
        }
    }
    names.join(", ")
}

/// Compiles for every target. The model that is given back is that of the first; all have its layout, so that one weight
/// file serves all.
pub(super) fn compile(
    loaded: LoadedCheckpoint,
    plan: &BitPlan,
    rounding: Rounding,
    wanted: &[Wanted],
) -> Result<(Vec<Sources>, PreparedModel), BuildError> {
    let mut all: Vec<Sources> = Vec::new();
    let mut first: Option<(Target, CompiledModel)> = None;
    for Wanted { place, target } in wanted {
        let known = all.iter().find(|made| made.target == target.name);
        let (kernels, program) = match known {
            Some(made) => (made.kernels.clone(), made.program.clone()),
            None => {
                let compiled = pipeline::compile(&loaded.graph, plan, target)?;
                let sources = texts(rust::program(&compiled.program, target.level))?;
                match &first {
                    None => first = Some((target.clone(), compiled)),
                    Some((_, first)) => same_layout(&loaded, first, &compiled)?,
                }
                sources
            }
        };
        all.push(Sources {
            place: place.clone(),
            target: target.name.clone(),
            level: target.level,
            kernels,
            program,
        });
    }
    let Some((target, compiled)) = first else {
        return Err(BuildError::Internal(
            "no target is for this architecture".into(),
        ));
    };
    let prepared = PreparedModel {
        name: loaded.checkpoint.name(),
        loaded,
        compiled,
        plan: plan.clone(),
        target,
        rounding,
        cache: None,
    };
    Ok((all, prepared))
}

fn same_layout(
    loaded: &LoadedCheckpoint,
    one: &CompiledModel,
    other: &CompiledModel,
) -> Result<(), BuildError> {
    let digest = |compiled: &CompiledModel| pack::layout_digest(&compiled.layout, &loaded.graph);
    match digest(one) == digest(other) {
        true => Ok(()),
        false => Err(BuildError::Internal(
            "programs of one plan differ in their layouts".into(),
        )),
    }
}

/// The two texts of a program, by their files' names.
fn texts(sources: Vec<(String, String)>) -> Result<(String, String), BuildError> {
    let mut texts = [None, None];
    for (path, text) in sources {
        match path.as_str() {
            "src/kernels.rs" => texts[0] = Some(text),
            "src/program.rs" => texts[1] = Some(text),
            other => {
                return Err(BuildError::Internal(format!(
                    "a module has no place for {other}"
                )));
            }
        }
    }
    match texts {
        [Some(kernels), Some(program)] => Ok((kernels, program)),
        _ => Err(BuildError::Internal("a program lacks a file".into())),
    }
}
