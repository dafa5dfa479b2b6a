//! `Cargo.lock` of generated crates: one committed lock file of `gem-runtime` and what it needs, plus the crate itself.
//!
//! A lock that is committed, not resolved when a package is written, is the same on every machine. A test compares it
//! with what cargo makes of the workspace's own lock, and writes it anew with `GEM_BLESS=1`.

use super::Runtime;

/// Lock of a crate whose only dependency is `gem-runtime`, without the crate itself.
const GENERATED: &str = include_str!("generated.lock");

/// What separates packages.
const PACKAGE: &str = "[[package]]\n";

/// The text of `Cargo.lock`; a published runtime is cargo's to resolve, so that then the packages are only a start.
pub fn lock(crate_name: &str, runtime: &Runtime) -> String {
    with_crate(GENERATED, crate_name, runtime)
}

fn with_crate(generated: &str, crate_name: &str, runtime: &Runtime) -> String {
    let own = format!(
        "name = \"{crate_name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"gem-runtime\",\n]\n"
    );
    let of = (*runtime == Runtime::Embedded).then_some(crate_name);
    let versioned = generated.replace(&named(None), &named(of));
    let mut parts = versioned.split(PACKAGE);
    let head = parts.next().unwrap_or_default();
    let mut packages: Vec<&str> = parts
        .map(str::trim_end)
        .filter(|p| !(matches!(runtime, Runtime::Version(_)) && is_runtime(p)))
        .collect();
    packages.push(own.trim_end());
    packages.sort_by_key(|package| sort_key(package));
    let mut text = head.to_owned();
    text.push_str(PACKAGE);
    text.push_str(&packages.join(&format!("\n\n{PACKAGE}")));
    text.push('\n');
    text
}

/// The runtime's first lines in a lock file, by the crate that it is a part of.
fn named(of: Option<&str>) -> String {
    let version = super::runtime::version(of);
    format!("name = \"gem-runtime\"\nversion = \"{version}\"\n")
}

/// Names of the packages in the lock; a crate of the same name would make it ambiguous.
pub fn packages() -> impl Iterator<Item = &'static str> {
    let named = |line: &'static str| line.strip_prefix("name = \"")?.strip_suffix('"');
    GENERATED.lines().filter_map(named)
}

fn is_runtime(package: &str) -> bool {
    package.starts_with("name = \"gem-runtime\"\n")
}

/// Cargo sorts by name, then version.
fn sort_key(package: &str) -> (&str, Vec<u64>) {
    let field = |name: &str| {
        package
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map_or("", |rest| rest.trim_matches('"'))
    };
    let version = field("version = ");
    let numbers = version
        .split(['.', '-', '+'])
        .map_while(|n| n.parse().ok())
        .collect();
    (field("name = "), numbers)
}

/// Takes a crate out of its lock file: the reverse of [`lock`].
#[cfg(test)]
pub fn without_crate(lock: &str, crate_name: &str) -> String {
    let own = format!("name = \"{crate_name}\"\n");
    let mut parts = lock.split(PACKAGE);
    let head = parts.next().unwrap_or_default();
    let packages: Vec<&str> = parts
        .map(str::trim_end)
        .filter(|p| !p.starts_with(&own))
        .collect();
    let mut text = head.to_owned() + PACKAGE + &packages.join(&format!("\n\n{PACKAGE}"));
    text.push('\n');
    text.replace(&named(Some(crate_name)), &named(None))
}
