//! The sources of `gem-runtime`, embedded, and its `Cargo.toml` with everything spelled out that it inherits here.

use toml::{Table, Value};

use super::PackageError;

/// Files of `gem-runtime/src`: path, text. Sorted.
const SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runtime_sources.rs"));

const MANIFEST: &str = include_str!("../../../gem-runtime/Cargo.toml");
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

/// All files of the crate, by path.
///
/// # Errors
/// [`PackageError::Malformed`] when a manifest inherits what the workspace has not.
pub fn files() -> Result<Vec<(String, String)>, PackageError> {
    let manifest = standalone(MANIFEST, WORKSPACE).map_err(|reason| PackageError::Malformed {
        what: "gem-runtime/Cargo.toml",
        reason,
    })?;
    let sources = SOURCES
        .iter()
        .map(|(path, text)| (format!("src/{path}"), (*text).to_owned()));
    Ok(std::iter::once(("Cargo.toml".to_owned(), manifest))
        .chain(sources)
        .collect())
}

/// A manifest without `workspace = true`, tests and lints.
fn standalone(manifest: &str, workspace: &str) -> Result<String, String> {
    let parse = |text: &str| text.parse::<Table>().map_err(|e| e.to_string());
    let (mut manifest, workspace) = (parse(manifest)?, parse(workspace)?);
    let workspace = table(&workspace, "workspace")?;
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    let package = table(workspace, "package")?;
    inherit(&mut manifest, "package", |key, _| {
        package.get(key).cloned().ok_or_else(|| missing(key))
    })?;
    let dependencies = table(workspace, "dependencies")?;
    inherit(&mut manifest, "dependencies", |key, own| {
        let shared = dependencies.get(key).ok_or_else(|| missing(key))?;
        Ok(Value::Table(merged(shared, own)))
    })?;
    let text = toml::to_string(&manifest).map_err(|e| e.to_string())?;
    Ok(format!(
        "# The runtime of gemc {}.\n{text}",
        env!("CARGO_PKG_VERSION")
    ))
}

fn table<'a>(parent: &'a Table, key: &str) -> Result<&'a Table, String> {
    parent
        .get(key)
        .and_then(Value::as_table)
        .ok_or_else(|| missing(key))
}

fn missing(key: &str) -> String {
    format!("the workspace has no `{key}`")
}

/// Replaces the entries of a section that say `workspace = true`.
fn inherit(
    manifest: &mut Table,
    section: &str,
    value: impl Fn(&str, &Table) -> Result<Value, String>,
) -> Result<(), String> {
    let Some(Value::Table(entries)) = manifest.get_mut(section) else {
        return Err(missing(section));
    };
    for (key, entry) in entries {
        if let Value::Table(own) = entry
            && own.get("workspace").and_then(Value::as_bool) == Some(true)
        {
            *entry = value(key, own)?;
        }
    }
    Ok(())
}

/// A dependency: what the workspace says, and what the crate adds.
fn merged(shared: &Value, own: &Table) -> Table {
    let mut all = match shared {
        Value::Table(table) => table.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    };
    for (key, value) in own {
        match (key.as_str(), all.get_mut(key), value) {
            ("workspace", _, _) => {}
            ("features", Some(Value::Array(features)), Value::Array(more)) => {
                features.extend(more.iter().cloned());
            }
            _ => {
                all.insert(key.clone(), value.clone());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_stands_alone() {
        let text = standalone(MANIFEST, WORKSPACE).expect("it inherits what is there");
        let parsed: Table = text.parse().expect("TOML");
        assert!(!text.contains("workspace"), "{text}");
        let package = parsed["package"].as_table().expect("a table");
        assert_eq!(package["edition"].as_str(), Some("2024"));
        let memmap = parsed["dependencies"]["memmap2"]
            .as_table()
            .expect("a table");
        assert_eq!(memmap["optional"].as_bool(), Some(true));
        assert!(memmap["version"].is_str());
    }

    #[test]
    fn sources_are_sorted_and_have_no_tests() {
        assert!(SOURCES.is_sorted_by_key(|(path, _)| *path));
        assert!(SOURCES.iter().any(|(path, _)| *path == "lib.rs"));
        assert!(SOURCES.iter().any(|(path, _)| *path == "file/mod.rs"));
        assert!(!SOURCES.iter().any(|(path, _)| path.ends_with("tests.rs")));
    }
}
