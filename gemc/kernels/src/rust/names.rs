//! Identifiers of a function body: hints where they are free, made unique by the id of what they name.

use std::collections::HashSet;
use std::fmt::Display;

use proc_macro2::Ident;
use quote::format_ident;

/// Names that bodies use for something else.
const RESERVED: [&str; 7] = ["ctx", "args", "begin", "end", "s", "k", "_"];

/// The names taken so far.
#[derive(Debug)]
pub(super) struct Names(HashSet<String>);

impl Default for Names {
    fn default() -> Self {
        Self(RESERVED.map(str::to_owned).into())
    }
}

impl Names {
    /// A new name: `hint`, `hint_id` when that is taken, `id` without a hint.
    pub(super) fn fresh(&mut self, hint: Option<&str>, id: impl Display) -> Ident {
        let id = id.to_string();
        let hint = hint.map(identifier).filter(|hint| !hint.is_empty());
        let wanted = match hint {
            Some(hint) if !self.0.contains(&hint) => hint,
            Some(hint) => format!("{hint}_{id}"),
            None => id,
        };
        let mut name = wanted.clone();
        let mut n = 1;
        while !self.0.insert(name.clone()) {
            n += 1;
            name = format!("{wanted}_{n}");
        }
        format_ident!("{name}")
    }
}

/// A hint as a snake-case identifier that is no keyword; empty when nothing of it can be used.
fn identifier(hint: &str) -> String {
    let mut name: String = hint
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, 'n');
    }
    if name.chars().all(|c| c == '_') {
        return String::new();
    }
    if syn::parse_str::<Ident>(&name).is_err() {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_identifiers() {
        let mut names = Names::default();
        let got = [
            names.fresh(Some("tile"), "v3"),
            names.fresh(Some("tile"), "v4"),
            names.fresh(None, "v5"),
            names.fresh(Some("loop"), "v6"),
            names.fresh(Some("ctx"), "v7"),
            names.fresh(Some("4 k"), "v8"),
            names.fresh(Some("v5"), "v9"),
        ];
        assert_eq!(
            got.map(|n| n.to_string()),
            ["tile", "tile_v4", "v5", "loop_", "ctx_v7", "n4_k", "v5_v9"]
        );
    }
}
