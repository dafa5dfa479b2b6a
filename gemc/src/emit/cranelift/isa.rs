//! A target, or the machine this runs on, to Cranelift's description of its instructions.
//!
//! Whatever is returned has all that kernels need as single instructions: a fused multiply-add above all, which would
//! otherwise become a call into a library.

use cranelift_codegen::isa::{self, Builder, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable, Flags};

use super::copies::Copies;
use super::error::IsaError;
#[cfg(feature = "object")]
use super::merged::Merged;
use crate::target::Target;

/// How hard Cranelift tries. `cargo bench -p gemc --bench machine_code` says what each costs and gains; see
/// `docs/results/performance.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// Code as it is written by the translation, registers allocated: the translation shares and places what matters.
    #[default]
    Low,
    /// Also Cranelift's own optimiser, which reorders computations.
    High,
}

/// A description of instructions, ready to compile for.
#[derive(Clone)]
pub struct Isa {
    pub(super) inner: OwnedTargetIsa,
    pub(super) features: Features,
    /// Compiled copies of outlines that its code may call.
    pub(super) copies: Option<Copies>,
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Isa")
            .field("triple", &self.inner.triple().to_string())
            .field("features", &self.features)
            .finish()
    }
}

/// What decides between forms of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Features {
    X86 {
        /// `vpdpbusd` of 128 bits.
        vnni: bool,
    },
    Arm {
        /// `usdot`.
        i8mm: bool,
    },
}

/// Features of a level or target by Rust's names, and Cranelift's settings for them. `f16c` and `avx512bw` have none.
const SETTINGS: &[(&str, &[&str])] = &[
    (
        "avx2",
        &[
            "has_sse3",
            "has_ssse3",
            "has_sse41",
            "has_sse42",
            "has_popcnt",
            "has_avx",
            "has_avx2",
        ],
    ),
    ("fma", &["has_fma"]),
    ("avx512f", &["has_avx512f"]),
    ("avx512dq", &["has_avx512dq"]),
    ("avx512vl", &["has_avx512vl"]),
    ("avx512vnni", &["has_avx512vnni"]),
    ("avxvnni", &["has_avx_vnni"]),
    ("dotprod", &["has_dotprod"]),
    ("i8mm", &["has_i8mm"]),
];

/// Settings without which some operation of the IR is no instruction.
const NEEDED: &[(&str, &str)] = &[
    ("has_ssse3", "SSSE3"),
    ("has_sse41", "SSE4.1"),
    ("has_avx", "AVX"),
    ("has_fma", "FMA"),
];

impl Isa {
    /// The machine this runs on, with everything it has, for code that runs in this process, where it may call compiled
    /// copies of outlines.
    ///
    /// # Errors
    /// When Cranelift does not know the machine, or it lacks what kernels need.
    pub fn host(effort: Effort) -> Result<Self, IsaError> {
        let builder = cranelift_native::builder().map_err(IsaError::Host)?;
        let isa = Self::finish("host", &builder, effort, false)?;
        Ok(Self {
            copies: Some(Copies::Here),
            ..isa
        })
    }

    /// A target, with nothing beyond what it promises, for code that runs elsewhere.
    ///
    /// # Errors
    /// When Cranelift has no backend for it, or it lacks what kernels need.
    pub fn of_target(target: &Target, effort: Effort) -> Result<Self, IsaError> {
        let triple = match target.triple.as_str() {
            "host" => Some(target_lexicon::Triple::host()),
            triple => triple.parse().ok(),
        };
        let architecture = || IsaError::Architecture {
            target: target.name.clone(),
            triple: target.triple.clone(),
        };
        let triple = triple.ok_or_else(architecture)?;
        let mut builder = isa::lookup(triple).map_err(|_| architecture())?;
        for feature in target.all_features() {
            let settings = SETTINGS.iter().find(|(name, _)| *name == feature);
            for setting in settings.map_or(&[][..], |(_, settings)| settings) {
                builder.enable(setting).map_err(setting_fault)?;
            }
        }
        let isa = Self::finish(&target.name, &builder, effort, true)?;
        #[cfg(feature = "object")]
        let isa = Self {
            copies: isa.merged(target.level),
            ..isa
        };
        Ok(isa)
    }

    /// Copies for object files: gemc has those for the system that it was built for.
    #[cfg(feature = "object")]
    fn merged(&self, level: gem_runtime::simd::Level) -> Option<Copies> {
        let (own, host) = (self.inner.triple(), target_lexicon::Triple::host());
        let same =
            (own.architecture, own.operating_system) == (host.architecture, host.operating_system);
        let merged = Merged::of_this_system().filter(|_| same)?;
        Some(Copies::Merged(merged, level))
    }

    fn finish(
        target: &str,
        builder: &Builder,
        effort: Effort,
        position_independent: bool,
    ) -> Result<Self, IsaError> {
        let flags = flags(effort, position_independent).map_err(setting_fault)?;
        let inner = builder
            .finish(flags)
            .map_err(|e| IsaError::Setting(e.to_string()))?;
        let features = features(target, &*inner)?;
        Ok(Self {
            inner,
            features,
            copies: None,
        })
    }

    /// The description itself, for a module.
    #[cfg(any(feature = "jit", feature = "object"))]
    pub(crate) fn shared(&self) -> OwnedTargetIsa {
        self.inner.clone()
    }

    /// The system it is for.
    #[cfg(feature = "object")]
    pub(super) fn triple(&self) -> &target_lexicon::Triple {
        self.inner.triple()
    }

    /// Name of the architecture, as in triples.
    #[must_use]
    pub fn architecture(&self) -> String {
        self.inner.triple().architecture.to_string()
    }
}

fn flags(effort: Effort, position_independent: bool) -> Result<Flags, settings::SetError> {
    let mut flags = settings::builder();
    let level = match effort {
        Effort::Low => "none",
        Effort::High => "speed",
    };
    flags.set("opt_level", level)?;
    flags.set(
        "is_pic",
        if position_independent {
            "true"
        } else {
            "false"
        },
    )?;
    // Nothing unwinds through kernels; local memory may exceed a guard page, so frames are probed without a call.
    flags.set("unwind_info", "false")?;
    flags.set("enable_probestack", "true")?;
    flags.set("probestack_strategy", "inline")?;
    // Cranelift's own verifier is a check of ours: it runs wherever assertions do.
    let checked = if cfg!(debug_assertions) {
        "true"
    } else {
        "false"
    };
    flags.set("enable_verifier", checked)?;
    Ok(Flags::new(flags))
}

fn features(target: &str, isa: &dyn TargetIsa) -> Result<Features, IsaError> {
    let flags = isa.isa_flags();
    let has = |name: &str| {
        flags
            .iter()
            .any(|f| f.name == name && f.as_bool() == Some(true))
    };
    match isa.triple().architecture {
        target_lexicon::Architecture::X86_64 => {
            let missing = NEEDED.iter().filter(|(setting, _)| !has(setting));
            let missing: Vec<&str> = missing.map(|(_, name)| *name).collect();
            if missing.is_empty() {
                let evex = has("has_avx512vl") && has("has_avx512vnni");
                return Ok(Features::X86 {
                    vnni: has("has_avx_vnni") || evex,
                });
            }
            Err(IsaError::Baseline {
                target: target.to_owned(),
                features: missing.join(", "),
            })
        }
        target_lexicon::Architecture::Aarch64(_) => Ok(Features::Arm {
            i8mm: has("has_i8mm"),
        }),
        other => Err(IsaError::Architecture {
            target: target.to_owned(),
            triple: other.to_string(),
        }),
    }
}

fn setting_fault(error: settings::SetError) -> IsaError {
    IsaError::Setting(error.to_string())
}
