//! `gemc man`: the command -> its manual pages, `gemc.1` and one for each verb.

use std::path::PathBuf;

use super::{Failure, Outcome, Run, Ui, command};
use crate::output::{Kind, OutputFile, place_all};

/// What a page begins with: how roff tells apart quotation marks, and nothing else does.
const HEAD: &[u8] = b".ie \\n(.g .ds Aq";

const PAGE: Kind = Kind {
    name: "a manual page",
    is: |bytes| bytes.starts_with(HEAD),
};

/// Write manual pages: gemc.1 and one for each verb
#[derive(clap::Args, Debug)]
pub struct Man {
    /// Folder for them; pages that are there already are replaced
    #[arg(value_name = "DIR")]
    output: PathBuf,
}

impl Run for Man {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let pages = pages()?;
        for (name, text) in &pages {
            let page = OutputFile::attempt(&self.output.join(name), PAGE)?;
            place_all([page.write(text)?])?;
        }
        let (count, folder) = (pages.len(), self.output.display());
        ui.note(&format!("{count} pages in {folder}; man -l shows one"));
        Ok(Outcome::Done)
    }
}

/// Names of files and what is in them.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut whole = command().disable_help_subcommand(true);
    whole.build();
    let verbs = whole.get_subcommands().cloned();
    let all: Vec<_> = std::iter::once(whole.clone()).chain(verbs).collect();
    let page = |command| {
        let page = clap_mangen::Man::new(command);
        let mut text = Vec::new();
        page.render(&mut text)?;
        Ok((page.get_filename(), text))
    };
    all.into_iter().map(page).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::VERBS;

    #[test]
    fn every_verb_has_a_page() {
        let pages = pages().expect("memory");
        assert_eq!(pages.len(), 1 + VERBS.len());
        assert_eq!(pages[0].0, "gemc.1");
        for verb in VERBS {
            let name = format!("gemc-{}.1", verb.name);
            let page = pages.iter().find(|(page, _)| *page == name);
            let text = &page.expect(&name).1;
            assert!((PAGE.is)(text), "{}", String::from_utf8_lossy(text));
        }
    }
}
