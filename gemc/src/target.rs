//! A device as data: what `targets/*.toml` says, checked; `host` picks one by asking the CPU.

mod costs;
mod device;
mod file;

use std::path::Path;

use gem_runtime::regular;
use gem_runtime::simd::Level;
use serde::Serialize;

use crate::import::{nearest, shown};

pub use costs::{Costs, WorkKind};
pub use device::{Cores, Memory};
pub use gemc_kernels::choices::DotStrategy;

/// What can be wrong with a target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The name of none.
    #[error("unknown target `{name}`{hint}; known: host, {known}; or the path of a target file")]
    Unknown {
        /// What was asked for.
        name: String,
        /// A question whether a near one is meant, or nothing.
        hint: String,
        /// Names of the embedded ones.
        known: String,
    },
    /// A file that cannot be read.
    #[error("target file {path}: {reason}")]
    Unread {
        /// Path of the file, as it was given.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A file that is not a target.
    #[error("target file {path}: {reason}")]
    Invalid {
        /// Path of the file, as it was given.
        path: String,
        /// What is wrong, with line and column.
        reason: String,
    },
}

/// A device as its file describes it: architecture, features, costs and provenance.
///
/// ```
/// use gemc::target::Target;
///
/// let target = Target::find("pi4")?;
/// assert_eq!(target.name, "pi4");
/// let error = Target::find("pi40").unwrap_err();
/// assert!(error.to_string().contains("pi4"), "{error}");
/// # Ok::<(), gemc::target::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// Name, as in `--target`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Rust target triple; `host` for whatever runs the compiler.
    pub triple: String,
    /// Set of vector operations that kernels use.
    #[serde(serialize_with = "file::level_name")]
    pub level: Level,
    /// Features of its CPUs beyond the level, by Rust's names, for backends that select instructions themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Targets of its architecture whose kernels its crates and programs hold, too, the best first: what the CPU has is found
    /// out when they start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// How dots are taken.
    pub dot: DotStrategy,
    /// Rows of a matrix multiplication that share one pass over a tile: up to 8 with their sums in registers, or 16 or 32 that
    /// pass by weights in registers.
    pub row_block: u32,
    /// Groups of equal cores, where it is one device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<Cores>,
    /// Sizes, where it is one device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// What decoding takes, where it is known: `--latency` needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
    /// Where each figure comes from.
    pub provenance: std::collections::BTreeMap<String, String>,
}

impl Target {
    /// An embedded target, `host`, or the file at a path: whatever ends in `.toml` or has a separator of folders.
    ///
    /// # Errors
    /// When there is no such target or file, or the file does not describe one.
    pub fn find(name: &str) -> Result<Self, TargetError> {
        if name == "host" {
            return Ok(Self::host());
        }
        if let Some((_, text)) = gemc_targets::ALL.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text);
        }
        if name.ends_with(".toml") || name.contains(std::path::is_separator) {
            return Self::read(name);
        }
        let known: Vec<&str> = gemc_targets::ALL.iter().map(|(known, _)| *known).collect();
        let near = nearest(name, known.iter().copied().chain(["host"]));
        Err(TargetError::Unknown {
            name: shown(name),
            hint: near.map_or_else(String::new, |near| format!(": did you mean `{near}`?")),
            known: known.join(", "),
        })
    }

    fn read(path: &str) -> Result<Self, TargetError> {
        const LONGEST: u64 = 1 << 20;
        let unread = |reason: String| TargetError::Unread {
            path: path.to_owned(),
            reason,
        };
        let bytes =
            regular::read_text(Path::new(path), LONGEST).map_err(|e| unread(regular::why(&e)))?;
        let text = str::from_utf8(&bytes).map_err(|e| unread(format!("is not UTF-8: {e}")))?;
        Self::parse(path, text)
    }

    /// Reads a target file.
    ///
    /// # Errors
    /// On anything but a complete, known set of keys with values in range.
    pub fn parse(path: &str, text: &str) -> Result<Self, TargetError> {
        let invalid = |reason: String| TargetError::Invalid {
            path: path.to_owned(),
            reason,
        };
        let file: file::TargetFile = toml::from_str(text).map_err(|e| invalid(e.to_string()))?;
        let target = file.resolved().map_err(invalid)?;
        target.check().map_err(invalid)?;
        Ok(target)
    }

    /// Whether values are in range and agree.
    fn check(&self) -> Result<(), String> {
        if ![1, 2, 3, 4, 5, 6, 7, 8, 16, 32].contains(&self.row_block) {
            let found = self.row_block;
            return Err(format!(
                "row_block is {found}, allowed are 1 to 8, 16 and 32"
            ));
        }
        if let Some(unknown) = (self.features.iter()).find(|f| !FEATURES.contains(&f.as_str())) {
            let known = FEATURES.join(", ");
            return Err(format!("unknown feature `{unknown}`; known: {known}"));
        }
        self.also
            .iter()
            .try_for_each(|name| self.check_also(name))?;
        Cores::check(&self.cores)?;
        self.memory.as_ref().map_or(Ok(()), Memory::check)?;
        let Some(costs) = &self.costs else {
            return Ok(());
        };
        costs.check()?;
        match self.used_cores() {
            Some(cores) if costs.threads > cores => Err(format!(
                "costs.threads is {}; allowed are 1 to {cores}, as many as cores are used",
                costs.threads
            )),
            _ => Ok(()),
        }
    }

    fn check_also(&self, name: &str) -> Result<(), String> {
        let arch = |target: &Self| target.triple.split('-').next().map(str::to_owned);
        match Self::embedded(name) {
            Some(other)
                if arch(&other) == arch(self)
                    && other.level > self.level
                    && other.level.includes(self.level) =>
            {
                Ok(())
            }
            Some(_) => Err(format!(
                "also: {name} has no better kernels for {}; allowed are targets of its architecture whose level has all of {} and more",
                self.triple,
                self.level.name()
            )),
            None => {
                let known: Vec<&str> = gemc_targets::ALL.iter().map(|(known, _)| *known).collect();
                let (name, known) = (shown(name), known.join(", "));
                Err(format!(
                    "also: `{name}` is no target that is built in; those are {known}"
                ))
            }
        }
    }

    /// How many cores its programs use, where they are known.
    #[must_use]
    pub fn used_cores(&self) -> Option<u32> {
        let used = self.cores.iter().filter(|cores| cores.used);
        (!self.cores.is_empty()).then(|| used.map(|cores| cores.count).sum())
    }

    /// What its costs say of a model of so many bytes, weights with keys and values: what fits into the last cache is not read
    /// from memory.
    #[must_use]
    pub fn costs_of(&self, bytes: u64) -> Option<Costs> {
        let mut costs = self.costs.clone()?;
        let cache = self.memory.as_ref().and_then(|memory| memory.cache);
        if cache.is_some_and(|cache| bytes <= cache) {
            costs.bandwidth = f64::INFINITY;
        }
        Some(costs)
    }

    /// One that is built in.
    fn embedded(name: &str) -> Option<Self> {
        let (name, text) = gemc_targets::ALL.iter().find(|(known, _)| *known == name)?;
        Self::parse(name, text).ok()
    }

    /// The targets of [`Target::also`].
    pub fn better(&self) -> impl Iterator<Item = Self> {
        self.also.iter().filter_map(|name| Self::embedded(name))
    }

    /// Everything its CPUs must have, by Rust's names: the level's features, then those beyond it.
    pub fn all_features(&self) -> impl Iterator<Item = &str> {
        let level = self.level.features().split(',').filter(|f| !f.is_empty());
        level.chain(self.features.iter().map(String::as_str))
    }

    /// The triple for cargo; `None` for the host's own. One for musl is taken at its word, whatever the host has.
    #[must_use]
    pub fn rust_triple(&self) -> Option<String> {
        let own = self.is_native() && !self.triple.contains("-linux-musl");
        (!own).then(|| self.triple.clone())
    }

    /// Whether the architecture is the one this runs on; programs for Android and Apple's systems run there alone.
    #[must_use]
    pub fn is_native(&self) -> bool {
        use std::env::consts::{ARCH, OS};
        let arch = self.triple.split('-').next();
        let bound = [
            ("-android", "android"),
            ("-apple-ios", "ios"),
            ("-apple-darwin", "macos"),
        ];
        let system = bound.iter().find(|(name, _)| self.triple.contains(name));
        let fits = match system {
            Some((_, system)) => *system == OS,
            None => OS != "android" && OS != "ios",
        };
        self.triple == "host" || (arch == Some(ARCH) && fits)
    }

    /// Which of [`Target::all_features`] the machine this runs on lacks; empty where it has everything.
    #[must_use]
    pub fn missing_here(&self) -> Vec<String> {
        let level = self.level.missing().map(str::to_owned);
        let features = self.features.iter().filter(|f| !detected(f)).cloned();
        level.chain(features).collect()
    }

    /// Whether the machine this runs on can run the target's programs.
    #[must_use]
    pub fn runs_here(&self) -> bool {
        self.is_native() && self.missing_here().is_empty()
    }

    /// All embedded targets.
    #[must_use]
    pub fn all() -> Vec<Self> {
        gemc_targets::ALL
            .iter()
            .filter_map(|(name, text)| Self::parse(name, text).ok())
            .collect()
    }

    /// Embedded targets whose kernels no other before them has: a device by name has those of its cores.
    #[must_use]
    pub fn with_own_kernels() -> Vec<Self> {
        let mut seen = Vec::new();
        let mut targets = Self::all();
        targets.retain(|target| {
            let kernels = (target.level, target.dot, target.row_block);
            let new = !seen.contains(&kernels);
            seen.push(kernels);
            new
        });
        targets
    }

    /// The best embedded target that this machine runs.
    #[must_use]
    pub fn host() -> Self {
        let fitting = Self::all().into_iter().filter(Self::runs_here);
        best(fitting.collect()).expect("the portable target is embedded and runs everywhere")
    }
}

/// The one that uses most of a machine; of equals the first, which is for no device by name.
fn best(fitting: Vec<Target>) -> Option<Target> {
    // The last of equals is the greatest.
    let backwards = fitting.into_iter().rev();
    backwards.max_by_key(|t| (t.level, t.triple != "host", t.features.len()))
}

/// Features that a target file may name.
const FEATURES: &[&str] = &["avxvnni", "dotprod", "i8mm"];

/// Whether the CPU this runs on has one of [`FEATURES`].
fn detected(feature: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    return feature == "avxvnni" && std::arch::is_x86_feature_detected!("avxvnni");
    #[cfg(target_arch = "aarch64")]
    return match feature {
        "dotprod" => std::arch::is_aarch64_feature_detected!("dotprod"),
        "i8mm" => std::arch::is_aarch64_feature_detected!("i8mm"),
        _ => false,
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return {
        let _ = feature;
        false
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_targets_are_valid_and_named_after_their_files() {
        for (name, text) in gemc_targets::ALL {
            let target = Target::parse(name, text).unwrap();
            assert_eq!(target.name, *name);
        }
    }

    #[test]
    fn the_host_is_a_target_of_its_own_architecture() {
        let host = Target::host();
        assert!(host.runs_here(), "{host:?}");
        let foreign = Target::all().into_iter().filter(|t| !t.is_native());
        for target in foreign {
            assert!(!target.runs_here() && target.rust_triple().is_some());
        }
    }

    #[test]
    fn devices_have_the_kernels_of_their_cores_and_are_never_the_host() {
        let find = |name: &str| Target::find(name).unwrap();
        for (device, cores) in [
            ("pi4", "aarch64"),
            ("pi5", "aarch64-dotprod"),
            ("pixel6", "aarch64-dotprod"),
            ("iphone13", "aarch64-dotprod"),
            ("apple-silicon", "aarch64-dotprod"),
        ] {
            let (device, cores) = (find(device), find(cores));
            assert!(device.description.contains(&cores.name), "{device:?}");
            assert_eq!(device.features, cores.features);
            assert_eq!((device.level, device.dot), (cores.level, cores.dot));
            assert_eq!(device.row_block, cores.row_block);
            let projected = device.costs.is_none_or(|costs| costs.projected);
            assert!(projected, "nobody measured any");
            assert_eq!(cores.costs, None, "cores differ");
            assert!(!device.cores.is_empty() && device.memory.is_some());
            assert!(device.provenance.contains_key("cores"), "{}", device.name);
            assert!(device.also.is_empty() && device.provenance.contains_key("row_block"));
        }
        let of_arm = Target::all().into_iter();
        let of_arm = of_arm.filter(|t| t.triple.starts_with("aarch64"));
        let host = best(of_arm.collect()).unwrap();
        assert_eq!(host.name, "aarch64-dotprod");
        assert!(!find("pixel6").is_native() || cfg!(target_os = "android"));
        assert!(!find("iphone13").is_native() || cfg!(target_os = "ios"));
        assert!(!find("apple-silicon").is_native() || cfg!(target_os = "macos"));
        assert_eq!(find("pi5").is_native(), cfg!(target_arch = "aarch64"));
    }

    #[test]
    fn costs_are_complete_and_positive() {
        let text = Target::all()
            .into_iter()
            .find(|target| target.costs.is_some())
            .and_then(|target| toml::to_string(&target).ok())
            .unwrap();
        let good = Target::parse("board.toml", &text).unwrap();
        let costs = good.costs.clone().unwrap();
        // Of two that differ much the slower counts.
        let time = |size, rows, visits| {
            let seconds = costs.seconds(size, gemc_format::Codec::N4, rows, visits);
            seconds.unwrap()
        };
        let line = |weights, bytes| time((weights, bytes), 1, 1.0);
        assert_eq!(
            line(0, 1 << 30),
            (1u64 << 30) as f64 / (1e9 * costs.bandwidth)
        );
        let computing = 2e-6 * costs.weights["N4"] / f64::from(costs.threads);
        assert!((line(2_000_000, 1) / computing - 1.0).abs() < 1e-9);
        let alike = (computing * 1e9 * costs.bandwidth) as u64;
        assert!((line(2_000_000, alike) / computing - 2f64.sqrt()).abs() < 1e-3);
        // Half of the tokens visit: half of the time; of many tokens all of the matrix is read.
        assert!((time((2_000_000, 1), 1, 0.5) / computing - 0.5).abs() < 1e-9);
        assert!((time((0, 1 << 30), 1, 0.5) / line(0, 1 << 30) - 0.5).abs() < 1e-9);
        assert!(time((0, 1 << 30), 100, 0.5) > 0.999 * line(0, 1 << 30));
        let batch = 2e-4 * costs.batch["N4"] / f64::from(costs.threads);
        assert!((time((2_000_000, 1), 100, 1.0) / batch - 1.0).abs() < 1e-9);
        assert_eq!(time((2_000_000, 1 << 30), 1, 0.0), 0.0);
        for (from, to, says) in [
            (
                "N4 = ",
                "#",
                "costs.weights has no N4, which the other table has",
            ),
            ("N4 = ", "N9 = 1.0\nN4 = ", "N9: formats are"),
            ("N4 = ", "N4 = -", "N4 is -"),
            ("bandwidth = ", "bandwidth = 0.0 #", "bandwidth is 0"),
            ("threads = ", "threads = 9999 #", "allowed are 1 to 1024"),
            (
                "barrier = ",
                "barrier = -1.0 #",
                "costs.barrier is -1, allowed are numbers from 0",
            ),
            (
                "[costs.others]",
                "[costs.others]\nexp = 1.0",
                "costs.others.exp: kinds are attention, heads, ",
            ),
            ("\nnorm = ", "\nnorm = 0.0 #", "costs.others.norm is 0"),
            ("bandwidth = ", "bandwith = ", "bandwith"),
        ] {
            let bad = text.replacen(from, to, 1);
            let error = Target::parse("board.toml", &bad).unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains("board.toml"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_looks_like_a_path_is_one_and_names_have_neighbours() {
        let told = |name: &str| Target::find(name).unwrap_err().to_string();
        for path in ["./nope.toml", "nope.toml", "nope/board", "/nope"] {
            let told = told(path);
            assert!(told.contains("No such file"), "{told}");
            assert!(told.contains(path) && !told.contains("unknown"), "{told}");
        }
        assert!(told("./").contains("is a folder"));
        for (name, near) in [
            ("aarch46", "did you mean `aarch64`?"),
            ("x86-64-v4", "did you mean `x86-64-v3`?"),
            ("hots", "did you mean `host`?"),
            ("pi-4", "did you mean `pi4`?"),
            ("pixel5", "did you mean `pixel6`?"),
            (
                "toaster",
                "unknown target `toaster`; known: host, portable, ",
            ),
        ] {
            assert!(told(name).contains(near), "{}", told(name));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("board");
        std::fs::write(&path, format!("\u{feff}{}", gemc_targets::ALL[0].1)).unwrap();
        let found = Target::find(path.to_str().unwrap()).unwrap();
        assert_eq!(found.name, gemc_targets::ALL[0].0);
    }

    #[test]
    fn what_fits_into_the_cache_is_not_read_from_memory() {
        let pi4 = Target::find("pi4").unwrap();
        let cache = pi4.memory.as_ref().unwrap().cache.unwrap();
        assert_eq!(pi4.costs_of(cache).unwrap().reading(1 << 20), 0.0);
        assert_eq!(pi4.costs_of(cache + 1), pi4.costs);
        let unknown = Target {
            memory: None,
            ..pi4.clone()
        };
        assert_eq!(unknown.costs_of(1), pi4.costs);
    }

    #[test]
    fn a_board_inherits_what_its_file_does_not_say() {
        let parse = |text: &str| Target::parse("board.toml", text);
        let head = "name = \"mine\"\ndescription = \"my board\"\ninherits = \"pi4\"\n";
        let (mine, pi4) = (parse(head).unwrap(), Target::find("pi4").unwrap());
        let named = Target {
            name: mine.name.clone(),
            description: mine.description.clone(),
            ..pi4.clone()
        };
        assert_eq!(mine, named);
        // Costs of other cores would be wrong; a word on where a figure is from replaces the one there was.
        let faster = "[[cores]]\nname = \"Cortex-A72\"\ncount = 4\nghz = 1.8\n[provenance]\ncores = \"mine\"\n";
        let faster = parse(&format!("{head}{faster}")).unwrap();
        assert_eq!((&faster.costs, faster.used_cores()), (&None, Some(4)));
        assert_eq!(faster.provenance["cores"], "mine");
        assert!(!faster.provenance.contains_key("costs"));
        assert_eq!(faster.provenance["dot"], pi4.provenance["dot"]);
        // What is shown is a file of its own.
        let shown = toml::to_string_pretty(&pi4).unwrap();
        assert_eq!(parse(&shown).unwrap(), pi4);
        for (text, says) in [
            ("inherits = \"pi9\"", "`pi9` is no target that is built in"),
            ("inherits = \"./x.toml\"", "is no target that is built in"),
            ("", "triple is missing"),
            (
                "triple = \"host\"\nlevel = \"portable\"\ndot = \"bytes4\"\nrow_block = 2",
                "provenance is missing",
            ),
            ("inherits = \"pi4\"\nghz = 2.0", "unknown field `ghz`"),
            (
                "inherits = \"pi4\"\nlevel = \"sse9\"",
                "unknown level `sse9`",
            ),
            (
                "inherits = \"pi4\"\nalso = [\"aarch64\"]",
                "also: aarch64 has no better kernels",
            ),
            (
                "inherits = \"pi4\"\nalso = [\"x86-64-v3\"]",
                "also: x86-64-v3 has no better kernels",
            ),
            ("inherits = \"pi4\"\nalso = [\"pi9\"]", "also: `pi9` is no"),
            (
                "inherits = \"pi4\"\n[memory]\nram = 0",
                "memory.ram is 0, allowed are bytes from 1",
            ),
            (
                "inherits = \"pi4\"\n[memory]\nram = 5\ncache = 6",
                "memory.cache is 6",
            ),
            (
                "inherits = \"pi4\"\n[[cores]]\nname = \"A\"\ncount = 0\nghz = 1.0",
                "A: count is 0, allowed are 1 to 1024",
            ),
            (
                "inherits = \"pi4\"\n[[cores]]\nname = \"A\"\ncount = 1\nghz = nan",
                "A: ghz is NaN",
            ),
            (
                "inherits = \"pi4\"\n[[cores]]\nname = \"A\"\ncount = 1\nghz = 1.0\nused = false",
                "no group is used",
            ),
        ] {
            let text = format!("name = \"mine\"\ndescription = \"my board\"\n{text}\n");
            let error = parse(&text).unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains("board.toml"),
                "{error}"
            );
        }
        // Other kernels have other costs, and what was better than the ones that there were may not be better than these.
        let vnni = Target::find("x86-64-v3-vnni").unwrap();
        assert_eq!(vnni.costs, None);
        assert!(!vnni.provenance.contains_key("costs"));
        let head = "name = \"mine\"\ndescription = \"my board\"\ninherits = \"aarch64\"\n";
        assert_eq!(parse(head).unwrap().also, ["aarch64-dotprod"]);
        let dotprod = format!("{head}level = \"neon_dotprod\"\n");
        assert_eq!(parse(&dotprod).unwrap().also, [""; 0]);
        let text = toml::to_string(&pi4)
            .unwrap()
            .replace("threads = 4", "threads = 5");
        let error = parse(&text).unwrap_err().to_string();
        assert!(
            error.contains("costs.threads is 5; allowed are 1 to 4"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_feature_is_refused() {
        let text = gemc_targets::ALL[0]
            .1
            .replace("[provenance]", "features = [\"sve9\"]\n[provenance]");
        let error = Target::parse("board.toml", &text).unwrap_err().to_string();
        assert!(
            error.contains("sve9") && error.contains("dotprod"),
            "{error}"
        );
    }
}
