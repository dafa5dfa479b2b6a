//! `docs/checkpoint.py` says in NumPy what `docs/checkpoint.md` says in words; here it meets the goldens.

use std::process::Command;

use gem_tests::needs;

#[test]
fn the_page_restated_in_numpy_gives_the_goldens() {
    let numpy = Command::new("python3")
        .args(["-c", "import numpy"])
        .output();
    if !numpy.is_ok_and(|o| o.status.success()) {
        needs::skipped("python3 with numpy").expect("GEM_REQUIRE is not set");
        return;
    }
    let run = Command::new("python3")
        .arg(needs::repository("docs/checkpoint.py"))
        .args(gem_tests::checkpoints())
        .output()
        .expect("python3 ran a moment ago");
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}{err}");
    println!("{out}");
}
