//! What is said in NumPy: `docs/checkpoint.py` restates `docs/checkpoint.md` and meets the goldens; the measures of
//! `examples/paper` meet cases that are worked out by hand.

use std::path::PathBuf;
use std::process::Command;

use gem_tests::needs;

#[test]
fn the_page_restated_in_numpy_gives_the_goldens() {
    runs("docs/checkpoint.py", gem_tests::checkpoints());
}

#[test]
fn measures_of_the_papers_experiments_are_as_the_protocol_defines_them() {
    runs("examples/paper/check_figures.py", Vec::new());
}

/// The page of the paper's experiments is what their results give: neither is there without the other.
#[test]
fn the_papers_page_is_made_from_its_results() {
    let results = needs::repository("examples/paper/results.json");
    let page = needs::repository("docs/results/paper.md");
    assert_eq!(
        results.exists(),
        page.exists(),
        "run examples/paper/report.py"
    );
    if results.exists() {
        runs("examples/paper/report.py", vec!["--check".into()]);
    }
}

/// A script that must succeed.
fn runs(script: &str, arguments: Vec<PathBuf>) {
    let numpy = Command::new("python3")
        .args(["-c", "import numpy"])
        .output();
    if !numpy.is_ok_and(|o| o.status.success()) {
        needs::skipped("python3 with numpy").expect("GEM_REQUIRE is not set");
        return;
    }
    let run = Command::new("python3")
        .arg(needs::repository(script))
        .args(arguments)
        .output()
        .expect("python3 ran a moment ago");
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}{err}");
    println!("{out}");
}
