//! A checkpoint, formats and a device -> texts of what would be generated, to be committed and compared by the tests of
//! whoever depends on a model: a change of the model fails a test that shows what changed.
//!
//! Two depths. An [`outline`] says what is computed: phases, tensors, formats and bytes. It is of the model's graph, not of
//! how gemc lowers it, so another gemc gives the same one unless it means something else. [`kernels`] is the whole emitted
//! text, which any gemc may change (docs/upgrading.md).
//!
//! ```no_run
//! use gemc::testing::{assert_snapshot, outline};
//!
//! // In `tests/model.rs` of an app; `GEM_BLESS=1 cargo test` writes the file, which is committed.
//! # fn main() -> Result<(), gemc::testing::TextError> {
//! let text = outline("models/gem-lm", "4.25", "pi4")?;
//! assert_snapshot("tests/model.outline", &text);
//! # Ok(())
//! # }
//! ```

mod outline;
mod snapshot;

use std::path::Path;

use gemc_format::Rounding;
use gemc_kernels::rust;

use crate::pipeline::{self, CompileError};
use crate::prepared::{Formats, FormatsError, PreparedModel};
use crate::target::{Target, TargetError};

pub use snapshot::{Difference, assert_snapshot, compare};

/// Why there is no text of a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The checkpoint.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The name of a format, or the plan.
    #[error(transparent)]
    Formats(#[from] FormatsError),
    /// The device.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// What a compiled checkpoint computes, a line each: facts, every step of a token with its shapes, every tensor with its
/// format and bytes.
///
/// `formats` is the name of a uniform format, as for `--bits`, or the path of a plan; `target` is a name or the path of a
/// target file, as for `--target`. Every tensor is read once; nothing is quantised, written or looked up in a cache.
///
/// # Errors
/// For a checkpoint that is not compiled, a format or target that is not known, a plan of another checkpoint.
pub fn outline(
    checkpoint: impl AsRef<Path>,
    formats: impl Into<Formats>,
    target: &str,
) -> Result<String, TextError> {
    let target = Target::find(target)?;
    let loaded = pipeline::load(checkpoint.as_ref())?;
    let (loaded, plan) = formats.into().apply(loaded)?;
    Ok(outline::text(&loaded, &plan, &target))
}

/// The whole Rust that is emitted for a checkpoint: kernels, then the table of phases. Arguments and errors as of
/// [`outline`].
///
/// # Errors
/// As of [`outline`].
pub fn kernels(
    checkpoint: impl AsRef<Path>,
    formats: impl Into<Formats>,
    target: &str,
) -> Result<String, TextError> {
    let target = Target::find(target)?;
    let loaded = pipeline::load(checkpoint.as_ref())?;
    let (loaded, plan) = formats.into().apply(loaded)?;
    let model = PreparedModel::new(loaded, plan, target, Rounding::Search, None)?;
    let files = rust::program(&model.compiled.program, model.target.level);
    let files = files.into_iter();
    Ok(files
        .map(|(path, text)| format!("// ==== {path}\n{text}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn checkpoint(name: &str) -> PathBuf {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
        examples.join(name)
    }

    #[test]
    fn an_outline_says_what_is_computed() {
        let dir = checkpoint("cls-some-5mlp-top2-always-domainscar");
        let text = outline(&dir, "4.25", "pi4").expect("a good checkpoint");
        insta::assert_snapshot!("outline", text);
        let again = outline(&dir, "4.25", "pi4").expect("a good checkpoint");
        assert_eq!(again, text);
        let other = outline(&dir, "8.25", "pi4").expect("a good checkpoint");
        let difference = similar::TextDiff::from_lines(&text, &other);
        let changed = difference.iter_all_changes();
        let changed = changed.filter(|change| change.tag() == similar::ChangeTag::Insert);
        let units = text.lines().filter(|line| line.contains("  N4 ")).count();
        assert_eq!(changed.count(), units + 1, "units, and the sum");
    }

    #[test]
    fn kernels_are_the_emitted_text() {
        let dir = checkpoint("lm-dense-pre-rope");
        let text = kernels(&dir, "4.25", "x86-64-v3").expect("a good checkpoint");
        assert!(text.starts_with("// ==== src/kernels.rs\n"));
        assert!(text.contains("\n// ==== src/program.rs\n") && text.contains("extern \"C\" fn"));
        let other = kernels(&dir, "4.25", "portable").expect("a good checkpoint");
        assert_ne!(text, other);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let dir = checkpoint("lm-dense-pre-rope");
        let wrong = |formats: Formats, target: &str| {
            outline(&dir, formats, target)
                .expect_err("refused")
                .to_string()
        };
        assert!(wrong("4.5".into(), "pi4").contains("known: "));
        assert!(wrong(Path::new("no/plan.toml").into(), "pi4").contains("no/plan.toml"));
        assert!(wrong("4.25".into(), "pi44").contains("did you mean `pi4`?"));
        assert!(matches!(
            outline("no/such", "4.25", "pi4"),
            Err(TextError::Compile(_))
        ));
    }
}
