//! Where test inputs are, and what happens when one is absent.

use std::path::PathBuf;

/// A path inside the repository.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests have a folder inside the repository")
        .join(path)
}

/// Says that a test did not run for lack of `what`.
///
/// # Errors
/// When `GEM_REQUIRE=all` asks for every test.
pub fn skipped(what: &str) -> Result<(), String> {
    if std::env::var_os("GEM_REQUIRE").is_some_and(|all| all == "all") {
        return Err(format!("needs {what}, and GEM_REQUIRE=all"));
    }
    println!("SKIPPED: needs {what}");
    Ok(())
}
