//! Each place that takes graph operations apart says what it does with every field of every operation: a new one must not
//! be ignored where nobody looked. The compiler sees to it, if patterns hide nothing; this sees to the patterns.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Arm, Item, Pat, UseTree};

/// What is held to the rule, below `gemc/src`.
const PLACES: [&str; 5] = [
    "lower",
    "pack/floats.rs",
    "reference",
    "sensitivity",
    "typing.rs",
];

#[test]
fn no_pattern_hides_a_field_or_an_operation() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for place in PLACES {
        collect(&root.join(place), &mut files);
    }
    assert!(files.len() > 30, "{files:?}");
    let (mut faults, mut patterns) = (Vec::new(), 0);
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        let checked = check(&text);
        patterns += checked.operations;
        let name = file.strip_prefix(&root).expect("below it").display();
        faults.extend(
            checked
                .faults
                .iter()
                .map(|fault| format!("{name}: {fault}")),
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // In typing, lowering, the reference and packing, at least: what finds nothing proves nothing.
    assert!(patterns >= 4 * 13, "{patterns} patterns of operations");
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    let name = path.file_stem().unwrap_or_default();
    if name == "tests" {
        return;
    }
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    let entries = fs::read_dir(path).expect("a folder of sources");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().for_each(|path| collect(path, files));
}

/// What a file's patterns on `graph::Op` hide.
#[derive(Default)]
struct FileCheck {
    faults: Vec<String>,
    /// Patterns of operations seen.
    operations: usize,
    /// Fields bound to `_`.
    unread: Vec<String>,
}

fn check(text: &str) -> FileCheck {
    let mut checked = FileCheck::default();
    let file = syn::parse_file(text).expect("it compiles");
    let mut ours = true;
    for item in &file.items {
        if let Item::Use(item) = item {
            ours &= !checked.import(&item.tree, &mut Vec::new());
        }
    }
    if !ours {
        return checked;
    }
    for item in file.items.iter().filter(|item| !is_test(item)) {
        checked.tokens(item.to_token_stream());
    }
    checked.reasons(text);
    checked
}

fn is_test(item: &Item) -> bool {
    let Item::Mod(module) = item else {
        return false;
    };
    let texts = module.attrs.iter().map(|a| a.to_token_stream().to_string());
    texts
        .into_iter()
        .any(|text| text.replace(' ', "") == "#[cfg(test)]")
}

impl FileCheck {
    /// Whether `Op` is that of kernels here. Under another name it would not be seen.
    fn import(&mut self, tree: &UseTree, path: &mut Vec<String>) -> bool {
        match tree {
            UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                let found = self.import(&inner.tree, path);
                path.pop();
                found
            }
            UseTree::Group(group) => {
                let trees = group.items.iter();
                trees.fold(false, |found, tree| self.import(tree, path) | found)
            }
            UseTree::Name(name) => name.ident == "Op" && path.iter().any(|part| part == "kernel"),
            UseTree::Rename(rename) => {
                if rename.ident == "Op" {
                    self.faults.push("`Op` under another name".to_owned());
                }
                false
            }
            UseTree::Glob(_) => {
                if path.iter().any(|part| part == "graph" || part == "Op") {
                    self.faults
                        .push("everything of graphs or operations".to_owned());
                }
                false
            }
        }
    }

    /// Every `match`, `let`, `matches!` and comparison, wherever it stands.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let rest = &tokens[at + 1..];
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(word) if word == "match" => self.arms(rest),
                TokenTree::Ident(word) if word == "let" => {
                    if let Some(pattern) = pattern(rest.iter().cloned().collect()) {
                        self.pattern(&pattern);
                    }
                }
                TokenTree::Ident(word) if word == "matches" => self.matches(rest),
                TokenTree::Ident(word) if word == "Op" => self.compared(&tokens[..at]),
                _ => {}
            }
        }
    }

    fn matches(&mut self, rest: &[TokenTree]) {
        let [TokenTree::Punct(bang), TokenTree::Group(group), ..] = rest else {
            return;
        };
        let mut words = group.stream().into_iter();
        if bang.as_char() == '!'
            && words.any(|token| matches!(&token, TokenTree::Ident(word) if word == "Op"))
        {
            self.faults.push(format!("matches!{group}"));
        }
    }

    /// `== Op::Add` says nothing of the others.
    fn compared(&mut self, before: &[TokenTree]) {
        let last: String = before
            .iter()
            .rev()
            .take(2)
            .map(ToString::to_string)
            .collect();
        if last == "==" || last == "=!" {
            self.faults.push("an operation is compared".to_owned());
        }
    }

    fn arms(&mut self, rest: &[TokenTree]) {
        let body = rest.iter().find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
            _ => None,
        });
        let Some(body) = body else { return };
        let arms = |input: ParseStream<'_>| {
            let mut arms = Vec::new();
            while !input.is_empty() {
                arms.push(input.parse::<Arm>()?);
            }
            Ok(arms)
        };
        let Ok(arms) = arms.parse2(body.stream()) else {
            return;
        };
        let patterns: Vec<&Pat> = arms.iter().map(|arm| &arm.pat).collect();
        self.exhaustive(&patterns);
        for arm in &arms {
            self.pattern(&arm.pat);
        }
    }

    /// Where any arm names an operation, none takes all of them.
    fn exhaustive(&mut self, patterns: &[&Pat]) {
        let flat: Vec<&Pat> = patterns.iter().flat_map(|pat| alternatives(pat)).collect();
        if flat.iter().any(|pat| operation(pat)) {
            for any in flat.iter().filter(|pat| takes_all(pat)) {
                let text = any.to_token_stream();
                self.faults
                    .push(format!("an arm `{text}` beside operations"));
            }
        }
        let tuples: Vec<_> = flat
            .iter()
            .filter_map(|pat| match pat {
                Pat::Tuple(tuple) => Some(tuple),
                _ => None,
            })
            .collect();
        let width = tuples.iter().map(|tuple| tuple.elems.len()).max();
        for place in 0..width.unwrap_or(0) {
            let column: Vec<&Pat> = tuples.iter().filter_map(|t| t.elems.get(place)).collect();
            self.exhaustive(&column);
            let named = column
                .iter()
                .flat_map(|pat| alternatives(pat))
                .any(operation);
            if named && flat.iter().any(|pat| takes_all(pat)) {
                self.faults
                    .push("an arm for all beside operations".to_owned());
            }
        }
    }

    fn pattern(&mut self, pattern: &Pat) {
        match pattern {
            Pat::Struct(structure) => {
                let of = operation(pattern);
                self.operations += usize::from(of);
                if of && structure.rest.is_some() {
                    let path = structure.path.to_token_stream().to_string();
                    self.faults
                        .push(format!("{} {{ .. }}", path.replace(' ', "")));
                }
                for field in &structure.fields {
                    let ignored = match &*field.pat {
                        Pat::Wild(_) => true,
                        Pat::Ident(name) => name.ident.to_string().starts_with('_'),
                        _ => false,
                    };
                    if of && ignored {
                        let text = field.to_token_stream().to_string();
                        self.unread.push(text.replace(" :", ":"));
                    }
                    self.pattern(&field.pat);
                }
            }
            Pat::Path(_) => self.operations += usize::from(operation(pattern)),
            Pat::Or(or) => or.cases.iter().for_each(|pat| self.pattern(pat)),
            Pat::Tuple(tuple) => tuple.elems.iter().for_each(|pat| self.pattern(pat)),
            Pat::TupleStruct(tuple) => tuple.elems.iter().for_each(|pat| self.pattern(pat)),
            Pat::Slice(slice) => slice.elems.iter().for_each(|pat| self.pattern(pat)),
            Pat::Paren(inner) => self.pattern(&inner.pat),
            Pat::Reference(inner) => self.pattern(&inner.pat),
            Pat::Type(inner) => self.pattern(&inner.pat),
            Pat::Ident(name) => {
                if let Some((_, inner)) = &name.subpat {
                    self.pattern(inner);
                }
            }
            _ => {}
        }
    }

    /// A field that is not read has a comment on its line or above; one serves fields below each other.
    fn reasons(&mut self, text: &str) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let unread = std::mem::take(&mut self.unread);
        let alone = |line: &str| unread.iter().any(|field| line == format!("{field},"));
        for (number, line) in lines.iter().enumerate() {
            let Some(field) = unread.iter().find(|field| line.contains(field.as_str())) else {
                continue;
            };
            let above = lines[..number].iter().rev().find(|line| !alone(line));
            let said = above.is_some_and(|line| line.starts_with("//")) || line.contains("//");
            if !said {
                let at = number + 1;
                self.faults
                    .push(format!("{at}: `{field}` without a reason"));
            }
        }
        self.unread = unread;
    }
}

/// The pattern that tokens begin with.
fn pattern(tokens: TokenStream) -> Option<Pat> {
    let first = |input: ParseStream<'_>| {
        let pattern = Pat::parse_multi_with_leading_vert(input)?;
        input.parse::<TokenStream>()?;
        Ok(pattern)
    };
    first.parse2(tokens).ok()
}

fn alternatives(pattern: &Pat) -> Vec<&Pat> {
    match pattern {
        Pat::Or(or) => or.cases.iter().flat_map(alternatives).collect(),
        Pat::Paren(inner) => alternatives(&inner.pat),
        Pat::Reference(inner) => alternatives(&inner.pat),
        other => vec![other],
    }
}

fn operation(pattern: &Pat) -> bool {
    let path = match pattern {
        Pat::Struct(structure) => &structure.path,
        Pat::TupleStruct(tuple) => &tuple.path,
        Pat::Path(path) => &path.path,
        _ => return false,
    };
    let parts = path.segments.len();
    parts >= 2 && path.segments[parts - 2].ident == "Op"
}

fn takes_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        // A capital letter is a constant or a variant.
        Pat::Ident(name) if name.subpat.is_none() => name
            .ident
            .to_string()
            .starts_with(|c: char| !c.is_uppercase()),
        _ => false,
    }
}

#[test]
fn each_way_to_hide_something_is_found() {
    let inside =
        |body: &str| format!("use crate::graph::{{Node, Op}};\nfn f(n: &Node) {{\n{body}\n}}");
    for (body, fault) in [
        (
            "match &n.op { Op::Norm { kind, .. } => g(kind), Op::Add => h() }",
            "Op::Norm { .. }",
        ),
        ("match n.op { Op::Add => 1, _ => 0 }", "an arm `_`"),
        (
            "match n.op { Op::Add => 1, other => g(other) }",
            "an arm `other`",
        ),
        ("match n.op { Op::Add | _ => 1 }", "an arm `_`"),
        (
            "match (&n.op, w) { (Op::Add, 1) => 1, (_, w) => w }",
            "an arm `_`",
        ),
        (
            "match (&n.op, w) { (Op::Add, 1) => 1, _ => 0 }",
            "an arm for all",
        ),
        (
            "g(|| if x { match n.op { Op::Add => 1, _ => 0 } })",
            "an arm `_`",
        ),
        ("matches!(n.op, Op::Add)", "matches!"),
        (
            "let Op::Linear { .. } = n.op else { return };",
            "Op::Linear { .. }",
        ),
        (
            "if let Op::Linear { parts: _ } = n.op {}",
            "`parts: _` without a reason",
        ),
        (
            "if let Op::Combine { base: _base } = n.op {}",
            "`base: _base` without",
        ),
        ("if n.op == Op::Add {}", "compared"),
        (
            "g(vec![match n.op { graph::Op::Add => 1, _ => 0 }])",
            "an arm `_`",
        ),
        (
            "match n.op { Op::Attention {\n// Said.\nheads: _,\nkv_heads,\ncausal: _,\n} => 1 }",
            "7: `causal: _`",
        ),
    ] {
        let faults = check(&inside(body)).faults;
        assert!(
            faults.iter().any(|f| f.contains(fault)),
            "{body}: {faults:?}"
        );
    }
    for body in [
        "match &n.op { Op::Linear { parts } => g(parts), Op::Add => h() }",
        "match n.op {\n// Not here.\nOp::Combine { base: _ } => 1, Op::Add => 2 }",
        "match n.op { Op::Combine {\nbase: _, // Not here.\n} => 1 }",
        "match n.op { Op::Attention {\n// Said.\nheads: _,\nkv_heads: _,\n} => 1 }",
        "match (&n.op, w) { (Op::Add, _) => 1, (Op::Output, w) => w }",
        "match other { Thing::A { .. } => 1, _ => 0 }",
    ] {
        let faults = check(&inside(body)).faults;
        assert!(faults.is_empty(), "{body}: {faults:?}");
    }
    let renamed = check("use crate::graph::Op as O;").faults;
    assert_eq!(renamed, ["`Op` under another name"]);
    assert!(!check("use crate::graph::*;").faults.is_empty());
    let kernel = "use crate::kernel::Op;\nfn f() { matches!(a, Op::Add) }";
    assert!(check(kernel).faults.is_empty());
}
