//! A device as data: what `targets/*.toml` says, checked; `host` picks one by asking the CPU.

use std::path::Path;

use gem_runtime::simd::Level;
use serde::{Deserialize, Serialize};

/// Files of `targets/`, embedded.
const EMBEDDED: &[(&str, &str)] = &[
    ("portable", include_str!("../../targets/portable.toml")),
    ("x86-64-v3", include_str!("../../targets/x86-64-v3.toml")),
    (
        "x86-64-v4-vnni",
        include_str!("../../targets/x86-64-v4-vnni.toml"),
    ),
];

/// What can be wrong with a target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Neither embedded nor a readable file.
    #[error("unknown target `{name}`; known: host, {known}; or the path of a target file")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names of the embedded ones.
        known: String,
    },
    /// A file that is not a target.
    #[error("target file {path}: {reason}")]
    Invalid {
        /// Where.
        path: String,
        /// What is wrong, with line and column.
        reason: String,
    },
}

/// How kernels multiply codes with activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DotStrategy {
    /// Four products of u8 and i8 into 32 bits: VNNI, Arm dot product, portable code.
    Bytes4,
    /// Two products into 16 bits, then words into 32: AVX2's `maddubs` chains.
    Pairs,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name, as in `--target`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Rust target triple; `host` for whatever runs the compiler.
    pub triple: String,
    /// Set of vector operations that kernels use.
    #[serde(with = "level_name")]
    pub level: Level,
    /// How dots are taken.
    pub dot: DotStrategy,
    /// Rows of a matrix multiplication that share one pass over a tile.
    pub row_block: u32,
    /// Vector registers of 16 lanes that a kernel may keep live; bounds `row_block`.
    pub registers: u32,
    /// Where each figure comes from.
    pub provenance: std::collections::BTreeMap<String, String>,
}

impl Target {
    /// An embedded target, `host`, or the file at a path.
    ///
    /// # Errors
    /// When there is no such target or the file does not describe one.
    pub fn find(name: &str) -> Result<Self, TargetError> {
        if name == "host" {
            return Ok(Self::host());
        }
        if let Some((_, text)) = EMBEDDED.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text);
        }
        if name.ends_with(".toml") && Path::new(name).is_file() {
            let text = std::fs::read_to_string(name).map_err(|e| TargetError::Invalid {
                path: name.to_owned(),
                reason: e.to_string(),
            })?;
            return Self::parse(name, &text);
        }
        let known = EMBEDDED
            .iter()
            .map(|(known, _)| *known)
            .collect::<Vec<_>>()
            .join(", ");
        Err(TargetError::Unknown {
            name: name.to_owned(),
            known,
        })
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
        let target: Self = toml::from_str(text).map_err(|e| invalid(e.to_string()))?;
        if !(1..=8).contains(&target.row_block) {
            return Err(invalid(format!(
                "row_block is {}, allowed are 1 to 8",
                target.row_block
            )));
        }
        Ok(target)
    }

    /// The triple for cargo; `None` for the host's own.
    #[must_use]
    pub fn rust_triple(&self) -> Option<String> {
        let native = self.triple == "host" || self.triple.starts_with(std::env::consts::ARCH);
        (!native).then(|| self.triple.clone())
    }

    /// All embedded targets.
    #[must_use]
    pub fn all() -> Vec<Self> {
        EMBEDDED
            .iter()
            .filter_map(|(name, text)| Self::parse(name, text).ok())
            .collect()
    }

    /// The best embedded target that this machine runs.
    #[must_use]
    pub fn host() -> Self {
        let mut fitting: Vec<Self> = Self::all()
            .into_iter()
            .filter(|t| t.level.supported())
            .collect();
        fitting.sort_by_key(|t| t.level);
        fitting
            .pop()
            .expect("the portable target is embedded and runs everywhere")
    }
}

/// A level by its name.
mod level_name {
    use gem_runtime::simd::Level;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(level.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
        let name = String::deserialize(deserializer)?;
        Level::from_name(&name).ok_or_else(|| {
            let known = Level::ALL.map(Level::name).join(", ");
            D::Error::custom(format!("unknown level `{name}`; known: {known}"))
        })
    }
}
