//! The paths that `gemc plan` is given -> files that may be written, tried before the work: the plan, its codes, a page.
//!
//! Invariant: a plan has codes of its own. What another plan needs, and what the checkpoint is made of, is not replaced.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::output::{Kind, OutputError, OutputFile, place_all};
use crate::patch::is_moments;
use crate::plan::codes::{Codes, is_codes};
use crate::plan::file::{PlanFile, codes_path, is_plan, is_plan_file, moments_path, rival};
use crate::report;

const PLAN: Kind = Kind {
    name: "a plan",
    is: is_plan,
};
const CODES: Kind = Kind {
    name: "a file of codes",
    is: is_codes,
};
const MOMENTS: Kind = Kind {
    name: "a file of moments",
    is: is_moments,
};
const PAGE: Kind = Kind {
    name: "a report",
    is: report::is_report,
};

/// Folders of texts in a checkpoint, and of more chat templates.
const FOLDERS: &[&str] = &["calibration", "evaluation", "additional_chat_templates"];

/// How names of a checkpoint's files begin, beside its weights and texts.
const BEGINNINGS: &[&str] = &[
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_",
    "generation_config.json",
    "tokenizer",
    "special_tokens_map",
    "added_tokens",
    "chat_template",
    "vocab.",
    "merges.txt",
];

/// How names of weights and texts end.
const ENDINGS: &[&str] = &[".safetensors", ".safetensors.index.json", ".jsonl"];

/// What a plan is written to.
#[derive(Debug)]
pub struct Outputs {
    plan: OutputFile,
    codes: OutputFile,
    moments: Option<OutputFile>,
    page: Option<OutputFile>,
}

impl Outputs {
    /// Tries the paths of a plan, of its moments, if they are kept, and of its page. `checkpoint` and `texts` are folders in which
    /// nothing is replaced that belongs there, even if it is absent.
    ///
    /// # Errors
    /// When something else is there, or cannot be written.
    pub fn attempt(
        (plan, moments): (&Path, bool),
        page: Option<&Path>,
        checkpoint: &Path,
        texts: Option<&Path>,
    ) -> Result<Self, OutputError> {
        if plan.extension().is_some_and(|ending| ending == "codes") {
            let words = "names a file of codes; a plan has another name, plan.toml for instance";
            return Err(refused(plan, words.to_owned()));
        }
        let outputs = Self {
            plan: OutputFile::attempt(plan, PLAN)?,
            codes: OutputFile::attempt(&codes_path(plan), CODES)?,
            moments: moments
                .then(|| OutputFile::attempt(&moments_path(plan), MOMENTS))
                .transpose()?,
            page: page
                .map(|page| OutputFile::attempt(page, PAGE))
                .transpose()?,
        };
        outputs.differ(page)?;
        for place in outputs.places() {
            if belongs(place, checkpoint) || texts.is_some_and(|folder| is_text(place, folder)) {
                let words = "belongs to the checkpoint or to its texts, and is not replaced";
                return Err(refused(place, words.to_owned()));
            }
        }
        outputs.own_codes()?;
        Ok(outputs)
    }

    fn places(&self) -> impl Iterator<Item = &Path> {
        let others = [&self.moments, &self.page].into_iter().flatten();
        [self.plan.place(), self.codes.place()]
            .into_iter()
            .chain(others.map(OutputFile::place))
    }

    /// The page has a path of its own, which is not below one of the others either.
    fn differ(&self, given: Option<&Path>) -> Result<(), OutputError> {
        let (Some(page), Some(given)) = (&self.page, given) else {
            return Ok(());
        };
        let page = page.place();
        for (place, what) in [
            (self.plan.place(), "the plan"),
            (self.codes.place(), "its codes"),
        ] {
            if page.starts_with(place) || place.starts_with(page) {
                let words =
                    format!("is where {what} would be written; a report needs another name");
                return Err(refused(given, words));
            }
        }
        Ok(())
    }

    /// Refuses to replace codes that are not those of the plan that is replaced with them.
    fn own_codes(&self) -> Result<(), OutputError> {
        if !self.codes.replaces() {
            return Ok(());
        }
        let (plan, codes) = (self.plan.place(), self.codes.place());
        let other = rival(plan);
        if is_plan_file(&other) {
            let words = format!(
                "holds codes of {}; choose another name for the plan",
                other.display()
            );
            return Err(refused(codes, words));
        }
        // What no plan can use any more is lost already.
        let Ok(found) = Codes::open(codes) else {
            return Ok(());
        };
        if PlanFile::read(plan).is_ok_and(|plan| plan.owns(&found)) {
            return Ok(());
        }
        let words = format!(
            "holds codes of another plan than {}; remove it, or choose another name",
            plan.display()
        );
        Err(refused(codes, words))
    }

    /// Writes all files, or none; the codes get their name first, since a plan without codes would look whole.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(
        &self,
        plan: &[u8],
        codes: &dyn Fn(&mut dyn Write) -> io::Result<()>,
        moments: &[u8],
    ) -> Result<(), OutputError> {
        let (codes, plan) = (self.codes.write_by(codes)?, self.plan.write(plan)?);
        match &self.moments {
            Some(file) => place_all([codes, file.write(moments)?, plan]),
            None => place_all([codes, plan]),
        }
    }

    /// Writes the page, where one is wanted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_page(&self, html: &[u8]) -> Result<(), OutputError> {
        match &self.page {
            Some(page) => place_all([page.write(html)?]),
            None => Ok(()),
        }
    }
}

fn refused(path: &Path, what: String) -> OutputError {
    OutputError::Refused {
        path: path.to_owned(),
        what,
    }
}

/// The path of something in a folder, in it.
fn inside(place: &Path, folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    place.strip_prefix(folder).ok().map(Path::to_owned)
}

/// Whether a checkpoint would read a file of this name.
fn belongs(place: &Path, checkpoint: &Path) -> bool {
    let Some(path) = inside(place, checkpoint) else {
        return false;
    };
    let name = path.to_string_lossy();
    FOLDERS.iter().any(|folder| path.starts_with(folder))
        || BEGINNINGS
            .iter()
            .any(|beginning| name.starts_with(beginning))
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn is_text(place: &Path, folder: &Path) -> bool {
    place.extension().is_some_and(|ending| ending == "jsonl") && inside(place, folder).is_some()
}
