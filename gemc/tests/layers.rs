//! The layers of ARCHITECTURE.md, held against the crates' manifests and every path in gemc's sources. What only tests use is
//! left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;

/// Our crates, with the folders of their manifests.
const CRATES: [(&str, &str); 6] = [
    ("gem-runtime", "gem-runtime"),
    ("gemc-format", "gemc/format"),
    ("gemc-targets", "targets"),
    ("gemc-kernels", "gemc/kernels"),
    ("gemc", "gemc"),
    ("gemc-macros", "gem-macros"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("the page")
}

/// Cells of the rows of the table whose head has this cell.
fn table(page: &str, head: &str) -> Vec<Vec<String>> {
    let mut lines = page.lines().skip_while(|line| !line.contains(head));
    assert!(lines.next().is_some(), "no table with {head}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

/// Names in a cell, without what marks them as code.
fn names(cell: &str) -> Vec<String> {
    let names = cell.split(',').map(|name| name.trim().trim_matches('`'));
    names.map(str::to_owned).collect()
}

#[test]
fn crates_link_what_the_page_says() {
    let mut found = BTreeMap::new();
    for (name, folder) in CRATES {
        let manifest = repository().join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        let manifest: toml::Table = text.parse().expect("TOML");
        let package = manifest["package"].as_table().expect("a table");
        assert_eq!(package["name"].as_str(), Some(name));
        let links: BTreeSet<String> = ["dependencies", "build-dependencies"]
            .iter()
            .filter_map(|section| manifest.get(*section)?.as_table())
            .flat_map(|section| section.keys().cloned())
            .filter(|key| key.starts_with("gem"))
            .filter(|key| CRATES.iter().any(|(name, _)| name == key))
            .collect();
        found.insert(name, links);
    }
    let page = page();
    let rows = table(&page, "| links of ours |");
    assert_eq!(rows.len(), CRATES.len());
    for row in rows {
        let allowed: BTreeSet<String> = match row[3].as_str() {
            "nothing" => BTreeSet::new(),
            listed => names(listed).into_iter().collect(),
        };
        assert_eq!(found[row[0].as_str()], allowed, "{}", row[0]);
    }
}

#[test]
fn no_crate_reads_what_lies_above_it() {
    for (name, folder) in CRATES {
        let folder = repository().join(folder);
        let mut files = Vec::new();
        collect(&folder.join("src"), &mut files);
        files.extend([folder.join("build.rs"), folder.join("lib.rs")]);
        for path in files.iter().filter(|path| path.exists()) {
            let text = fs::read_to_string(path).expect("a source file");
            let depth = path.strip_prefix(&folder).expect("inside").iter().count() - 1;
            let above = "../".repeat(depth + 1);
            let tokens = tokens(&text).to_string();
            for literal in tokens.split("include_str !").skip(1) {
                let literal: String = literal.chars().take(200).collect();
                assert!(!literal.contains(&above), "{name}: {}", path.display());
            }
        }
    }
}

#[test]
fn modules_use_what_the_page_lets_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let mut uses: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    for path in &files {
        let inside = path.strip_prefix(&src).expect("inside");
        let module = inside.iter().next().expect("a name").to_string_lossy();
        let module = module.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(path).expect("a source file");
        let mut found = BTreeSet::new();
        roots(tokens(&text), &mut found);
        let of = uses.entry(module).or_default();
        for name in found {
            of.entry(name).or_insert_with(|| path.clone());
        }
    }
    // That anything is seen: these are used.
    assert!(uses["lower"].contains_key("graph") && uses["emit"].contains_key("gemc_kernels"));
    let mut wrong = Vec::new();
    let page = page();
    let rows = table(&page, "| does not use |");
    assert!(rows.len() > 10, "{} rows", rows.len());
    for row in &rows {
        let all = || uses.keys().filter(|m| *m != "cli" && *m != "bin");
        let modules = match row[0].as_str() {
            "everything but `cli`" => all().cloned().collect(),
            listed => names(listed),
        };
        for module in modules {
            let of = uses.get(&module);
            let of = of.unwrap_or_else(|| panic!("gemc has no module {module}"));
            for name in names(&row[1]) {
                let known = uses.contains_key(&name) || CRATES.iter().any(|(c, _)| *c == name);
                assert!(known, "{name} is neither module nor crate");
                if let Some(path) = of.get(&name.replace('-', "_")) {
                    wrong.push(format!("{module} uses {name}: {}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Source files that are not tests.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for item in fs::read_dir(dir).into_iter().flatten() {
        let path = item.expect("listed").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "tests" || name == "tests.rs" || name.ends_with("_test.rs") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// A file's tokens without the items that only tests have.
fn tokens(text: &str) -> TokenStream {
    let mut file = syn::parse_file(text).expect("a source file that parses");
    file.items.retain(|item| !only_tests(item));
    file.into_token_stream()
}

fn only_tests(item: &syn::Item) -> bool {
    let attrs = match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        _ => return false,
    };
    let only = |attr: &syn::Attribute| attr.to_token_stream().to_string() == "# [cfg (test)]";
    attrs.iter().any(only)
}

/// Modules of gemc, and our crates, that paths begin with: `crate::X`, `crate::{X, Y}`, `gemc_X::`.
fn roots(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for (i, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => roots(group.stream(), found),
            TokenTree::Ident(ident) if *ident == "crate" => match trees.get(i + 3) {
                Some(TokenTree::Ident(name)) => {
                    found.insert(name.to_string());
                }
                Some(TokenTree::Group(group)) => first_of_each(group.stream(), found),
                _ => {}
            },
            TokenTree::Ident(ident) if ident.to_string().starts_with("gemc_") => {
                found.insert(ident.to_string());
            }
            _ => {}
        }
    }
}

/// The first name of each path in a list of uses.
fn first_of_each(list: TokenStream, found: &mut BTreeSet<String>) {
    let mut first = true;
    for tree in list {
        match tree {
            TokenTree::Ident(name) if first => {
                found.insert(name.to_string());
                first = false;
            }
            TokenTree::Punct(punct) => first = punct.as_char() == ',',
            _ => {}
        }
    }
}
