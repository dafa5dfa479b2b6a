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
