//! `gemc patch`: a weight file, and a checkpoint in which one module was trained further -> what to ship in place of all weights.

use std::error::Error;
use std::fmt;
use std::io::Cursor;
use std::path::PathBuf;

use gem_runtime::file::WeightFile;
use gem_runtime::patch::{MAGIC, State};
use gem_runtime::storage::Weights;
use serde::Serialize;

use super::model::{Model, ModelArgs};
use super::numbers::{share, whole};
use super::{Failure, Outcome, Run, Ui};
use crate::backend;
use crate::import::Split;
use crate::output::{Kind, OutputFile, place_all};
use crate::patch::{self, DomainRoutes, PatchError};
use crate::progress::Progress as _;
use crate::sequences;
use crate::texts::{self, Extent};

/// What a patch is written over.
pub const PATCH: Kind = Kind {
    name: "a patch",
    is: |bytes| bytes.starts_with(&MAGIC),
};

/// Replace one module of a shipped model: make what changes its weights, and nothing else of them
#[derive(clap::Args, Debug)]
pub struct Patch {
    /// The weight file that was shipped
    #[arg(value_name = "BASE.gemw")]
    base: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// The module that was trained further; every other tensor is as it was
    #[arg(long, value_name = "NAME")]
    module: String,
    /// File to write
    #[arg(short, long, value_name = "FILE.gemp")]
    output: PathBuf,
    /// Text on which routing is compared: a folder of `<domain>.jsonl`, or a plain text; the checkpoint's own `evaluation/` unless
    /// given, and a packaged default where it has none
    #[arg(long, value_name = "PATH")]
    texts: Option<PathBuf>,
    /// Tokens of it, at most
    #[arg(long, value_name = "N", default_value_t = 16384, value_parser = whole(1, usize::MAX))]
    tokens: usize,
    /// Write nothing and exit with 3 where the module takes a larger share of all tokens than this, in layers where it did not serve them before
    #[arg(long, value_name = "SHARE", value_parser = share)]
    most_taken: Option<f64>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct PatchReport {
    output: String,
    module: String,
    bytes: u64,
    base_bytes: u64,
    /// Of the base's weights.
    replaced_bytes: u64,
    /// What it does to routing, by domain of the text.
    routes: Vec<DomainRoutes>,
}

impl fmt::Display for PatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.bytes as f64 / self.base_bytes as f64;
        writeln!(
            f,
            "{}: module `{}`, {:.3} MB, {share:.1} % of the weight file",
            self.output,
            self.module,
            self.bytes as f64 / 1e6
        )?;
        for of in &self.routes {
            let share = |tokens: u64| 100.0 * tokens as f64 / of.tokens.max(1) as f64;
            writeln!(
                f,
                "  {}: it serves {:.1} % of {} tokens, takes {:.1} %, gives up {:.1} %; {} of {} texts without it, {} of them \
                 answered as before",
                of.domain,
                share(of.served),
                of.tokens,
                share(of.taken),
                share(of.given_up),
                of.without,
                of.texts,
                of.equal
            )?;
        }
        Ok(())
    }
}

/// What the patch does to the routing of text.
fn routes(
    model: &Model,
    base: Weights,
    after: Vec<u8>,
    module: &str,
    (texts, tokens): (&Option<PathBuf>, usize),
) -> Result<Vec<DomainRoutes>, Box<dyn Error + Send + Sync>> {
    let loaded = &model.loaded;
    let what = "routing is compared on text";
    let documents = texts::documents(
        loaded,
        Split::Evaluation,
        texts.as_deref(),
        what,
        Extent::Tokens(tokens),
    )?;
    let windows = sequences::windows(&documents, texts::window(loaded), tokens);
    let module = patch::module(&loaded.graph, module)?;
    let before = backend::jitted_on(model, base)?;
    let after = backend::jitted_on(model, Weights::copied(&after)?)?;
    Ok(patch::compare([&before, &after], module, &windows)?)
}

/// The share of all tokens that the module takes.
fn taken(routes: &[DomainRoutes]) -> f64 {
    let sum = |of: fn(&DomainRoutes) -> u64| routes.iter().map(of).sum::<u64>() as f64;
    sum(|of| of.taken) / sum(|of| of.tokens).max(1.0)
}

impl Run for Patch {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let mut args = self.model;
        if args.formats.plan.is_none() {
            return Err(Failure::usage(
                "--plan: name the plan that the weight file was built with; its codes and moments stand beside it",
            ));
        }
        args.formats.patched = Some(self.module.clone());
        let to = OutputFile::attempt(&self.output, PATCH)?;
        let base = Weights::open_checked(&self.base)?;
        let base_bytes = base.file_bytes();
        ui.start("rounding the module", 0);
        let model = args.compile()?;
        let mut after = Cursor::new(Vec::new());
        model.write_weights(&mut after, &mut |_| {})?;
        let after = after.into_inner();
        let (graph, layout) = (&model.loaded.graph, &model.compiled.layout);
        let made = patch::between(graph, layout, &self.module, &base, &after)?;
        if made.state(&WeightFile::parse(&after)?)? == State::Applicable {
            return Err(PatchError::Same(self.module).into());
        }
        ui.start("comparing routing", 0);
        let asked = self.texts.is_some() || self.most_taken.is_some();
        let routes = routes(
            &model,
            base,
            after,
            &self.module,
            (&self.texts, self.tokens),
        );
        let routes = match routes {
            Err(error) if asked => return Err(Failure::Input(error)),
            // The patch is right without: for another machine's target, or a checkpoint without a tokenizer.
            Err(error) => {
                ui.note(&format!("routing was not compared: {error}"));
                Vec::new()
            }
            Ok(routes) => routes,
        };
        let taken = taken(&routes);
        let too_much = self.most_taken.filter(|most| taken > *most);
        if too_much.is_none() {
            place_all([to.write(made.as_bytes())?])?;
        }
        let report = PatchReport {
            output: self.output.display().to_string(),
            module: self.module,
            bytes: made.as_bytes().len() as u64,
            base_bytes,
            replaced_bytes: made.replaced_bytes(),
            routes,
        };
        ui.result(self.json, &report)?;
        match too_much {
            Some(most) => {
                ui.note(&format!(
                    "the module takes {taken:.4} of all tokens where it did not serve them before, more than {most}; nothing \
                     was written"
                ));
                Ok(Outcome::BoundFailed)
            }
            None => Ok(Outcome::Done),
        }
    }
}
