//! Identifiers of a function body: hints, made unique by numbers.

use std::collections::HashSet;

use proc_macro2::Ident;
use quote::format_ident;

/// Names that bodies use for something else.
const RESERVED: [&str; 7] = ["ctx", "args", "begin", "end", "s", "k", "_"];

/// The names taken so far: by something around, or in blocks that are open, innermost last.
#[derive(Debug)]
pub(super) struct Names(HashSet<String>, Vec<Vec<String>>);

impl Default for Names {
    fn default() -> Self {
        Self(RESERVED.map(str::to_owned).into(), Vec::new())
    }
}

impl Names {
    /// Keeps a name for something else.
    pub(super) fn reserve(&mut self, name: &str) {
        self.0.insert(name.to_owned());
    }

    /// Begins a block: names given in it are free again after `close`.
    pub(super) fn open(&mut self) {
        self.1.push(Vec::new());
    }

    /// Ends a block, whose names are free behind it.
    pub(super) fn close(&mut self) {
        for name in self.1.pop().unwrap_or_default() {
            self.0.remove(&name);
        }
    }

    /// A new name: `hint`, or `usual` without one; `hint_2` and so on where that is taken.
    pub(super) fn fresh(&mut self, hint: Option<&str>, usual: &str) -> Ident {
        let hint = hint.map(identifier).filter(|hint| !hint.is_empty());
        let wanted = hint.unwrap_or_else(|| usual.to_owned());
        let mut name = wanted.clone();
        let mut n = 1;
        while !self.0.insert(name.clone()) {
            n += 1;
            name = format!("{wanted}_{n}");
        }
        if let Some(block) = self.1.last_mut() {
            block.push(name.clone());
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
        names.reserve("exp");
        let got = [
            (Some("tile"), "sum"),
            (Some("tile"), "sum"),
            (None, "sum"),
            (None, "sum"),
            (Some("loop"), "sum"),
            (Some("ctx"), "sum"),
            (Some("4 k"), "sum"),
            (Some("exp"), "sum"),
            (Some("sum"), "sum"),
        ];
        let got = got.map(|(hint, usual)| names.fresh(hint, usual).to_string());
        let wanted = [
            "tile", "tile_2", "sum", "sum_2", "loop_", "ctx_2", "n4_k", "exp_2", "sum_3",
        ];
        assert_eq!(got, wanted);
        names.open();
        assert_eq!(names.fresh(None, "row").to_string(), "row");
        names.close();
        assert_eq!(names.fresh(None, "row").to_string(), "row");
    }
}
