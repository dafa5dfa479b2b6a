//! The programs that pages show for the macro -> programs that classify, with a small classifier in the place of the model.

use std::fs;

use gem_tests::needs::repository;

use crate::workspace::{Workspace, ours};

/// Pages, and where each says the model is.
const PAGES: [(&str, &str, &str); 3] = [
    ("readme", "README.md", "../gemc/examples/models/gem-cls"),
    ("guide", "docs/apps.md", "../gemc/examples/models/gem-cls"),
    ("macros", "gem-macros/src/lib.rs", "models/gem-cls"),
];

/// The block of a page that has the macro and a `main`.
fn program(page: &str, model: &str) -> String {
    let text = fs::read_to_string(repository(page)).expect("a page");
    let lines = text.lines().map(|line| match line.strip_prefix("//!") {
        Some(line) => line.strip_prefix(' ').unwrap_or(line),
        None => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let blocks = text.split("```").skip(1).step_by(2);
    let mut blocks =
        blocks.filter(|block| block.contains("include_model!(") && block.contains("fn main()"));
    let block = blocks.next().expect(page);
    let (_, code) = block.split_once('\n').expect("its language stands above");
    let path = format!("{model:?}");
    assert!(code.contains(&path), "{page}: {code}");
    code.replace(&path, "\"../models/gem-cls\"")
}

#[test]
fn the_programs_of_the_pages_classify() {
    let workspace = Workspace::new("apps-pages");
    let copied = workspace.checkpoint("cls-final-2domains-top2-fallback");
    fs::rename(&copied, copied.with_file_name("gem-cls")).expect("beside it");
    let programs = PAGES.map(|(name, page, model)| {
        let path = format!("src/bin/{name}.rs");
        (path, program(page, model))
    });
    let files = programs.each_ref().map(|(path, text)| (&**path, &**text));
    let features = "\"std\", \"tokenizer\"";
    let runtime = ours("gem-runtime", "gem-runtime", "gem-runtime", features);
    let macros = ours("gemc-macros", "gemc-macros", "gem-macros", "");
    workspace.package("pages", 2024, &(runtime + &macros), &files);
    for (name, ..) in PAGES {
        let told = workspace.succeed(&["run", "--quiet", "--package", "pages", "--bin", name]);
        assert!(!told.trim().is_empty(), "{name}");
    }
}
