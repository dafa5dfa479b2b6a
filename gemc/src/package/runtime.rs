//! The sources of `gem-runtime` as files of a generated crate, and its `Cargo.toml` without what only this workspace needs.

use gem_runtime::sources;
use toml::Table;

use super::PackageError;

/// All files of the crate, by path. `of` names the crate that it is a part of, and becomes part of its version: cargo does
/// not have two packages of one name and version in a program, and every generated crate brings one.
///
/// # Errors
/// [`PackageError::Malformed`] when the manifest is no TOML.
pub fn files(of: Option<&str>) -> Result<Vec<(String, String)>, PackageError> {
    let manifest = standalone(sources::MANIFEST, of);
    let manifest = manifest.map_err(|reason| PackageError::Malformed {
        what: "gem-runtime/Cargo.toml",
        reason,
    })?;
    let sources = sources::FILES
        .iter()
        .map(|(path, text)| (format!("src/{path}"), (*text).to_owned()));
    Ok(std::iter::once(("Cargo.toml".to_owned(), manifest))
        .chain(sources)
        .collect())
}

/// The runtime's version in the crate that it is a part of.
pub fn version(of: Option<&str>) -> String {
    let own = env!("CARGO_PKG_VERSION");
    of.map_or_else(|| own.to_owned(), |name| format!("{own}+{name}"))
}

/// A manifest without tests and lints.
fn standalone(manifest: &str, of: Option<&str>) -> Result<String, String> {
    let mut manifest: Table = manifest
        .parse()
        .map_err(|e: toml::de::Error| e.to_string())?;
    for section in ["lints", "dev-dependencies", "test"] {
        manifest.remove(section);
    }
    if let Some(package) = manifest.get_mut("package").and_then(|p| p.as_table_mut()) {
        package.insert("version".to_owned(), version(of).into());
        package.remove("readme");
    }
    let text = toml::to_string(&manifest).map_err(|e| e.to_string())?;
    Ok(format!(
        "# The runtime of gemc {}.\n{text}",
        env!("CARGO_PKG_VERSION")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_stands_alone() {
        let text = standalone(sources::MANIFEST, Some("toy")).expect("TOML");
        let parsed: Table = text.parse().expect("TOML");
        assert!(!text.contains("workspace = true"), "{text}");
        let package = parsed["package"].as_table().expect("a table");
        assert_eq!(package["edition"].as_str(), Some("2024"));
        let version = concat!(env!("CARGO_PKG_VERSION"), "+toy");
        assert_eq!(package["version"].as_str(), Some(version));
        let memmap = parsed["dependencies"]["memmap2"]
            .as_table()
            .expect("a table");
        assert_eq!(memmap["optional"].as_bool(), Some(true));
        assert!(memmap["version"].is_str());
    }

    #[test]
    fn sources_are_sorted_and_have_no_tests() {
        let has = |name: &str| sources::FILES.iter().any(|(path, _)| *path == name);
        assert!(sources::FILES.is_sorted_by_key(|(path, _)| *path));
        assert!(has("lib.rs") && has("file/mod.rs") && !has("sources.rs"));
        assert!(
            !sources::FILES
                .iter()
                .any(|(path, _)| path.ends_with("tests.rs"))
        );
    }
}
