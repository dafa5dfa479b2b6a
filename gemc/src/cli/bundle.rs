//! `gemc bundle`: a program and models -> one file, which needs no other to run.

use std::fmt;
use std::path::PathBuf;

use super::{Failure, Outcome, Run, Ui};
use crate::output::OutputFile;
use crate::package::{BUNDLE, Bundled, bundle};
use crate::progress::Progress as _;

/// Put models behind a program: one file, which maps them from itself when it runs
#[derive(clap::Args, Debug)]
pub struct Bundle {
    /// A finished program for Linux or Windows, stripped already; models that were bundled with it before are replaced
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// A folder that `gemc build` made, or a weight file with its tokenizer beside it; with a name, by which a program with
    /// several models finds its own, where it is not to be the one that the model was built with
    #[arg(value_name = "[NAME=]MODEL", required = true)]
    models: Vec<PathBuf>,
    /// File to write; replaced once the new one is complete, if it is a bundle
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

impl fmt::Display for Bundled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            f,
            "{}: {:.1} MB, of which the program is {:.1} MB",
            self.output,
            megabytes(self.bytes),
            megabytes(self.program_bytes)
        )?;
        for model in &self.models {
            let texts = match model.texts.is_empty() {
                true => "no tokenizer".to_owned(),
                false => model.texts.join(", "),
            };
            let weights = megabytes(model.weight_bytes);
            writeln!(f, "{}: weights {weights:.1} MB; {texts}", model.name)?;
        }
        Ok(())
    }
}

/// `NAME=PATH` or a path. A path with a `=` in its first part is written with `./` before it.
fn named(model: PathBuf) -> (Option<String>, PathBuf) {
    let split = model.to_str().and_then(|text| text.split_once('='));
    match split {
        Some((name, path)) if !name.contains('/') => (Some(name.to_owned()), path.into()),
        _ => (None, model),
    }
}

impl Run for Bundle {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let to = OutputFile::attempt(&self.output, BUNDLE)?;
        let models: Vec<_> = self.models.into_iter().map(named).collect();
        ui.start("checking and copying weights", 0);
        let bundled = bundle(&self.program, &models, &to)?;
        ui.result(self.json, &bundled)?;
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_before_the_first_equals_sign_of_a_path_without_folders() {
        let of = |text: &str| {
            let (name, path) = named(text.into());
            (name, path.display().to_string())
        };
        let is = |name: Option<&str>, path: &str| (name.map(str::to_owned), path.to_owned());
        assert_eq!(of("model"), is(None, "model"));
        assert_eq!(of("chat=a/b=c"), is(Some("chat"), "a/b=c"));
        assert_eq!(of("./a=b"), is(None, "./a=b"));
        assert_eq!(of("=b"), is(Some(""), "b"));
    }
}
