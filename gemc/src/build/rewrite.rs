//! Text of generated files -> tokens that may stand in any crate: gem-runtime by the path that it has there, and without
//! attributes that allow lints, which a crate that forbids them would refuse.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::BuildError;

/// The tokens of a file.
pub(super) fn file(text: &str, runtime: &TokenStream) -> Result<TokenStream, BuildError> {
    let tokens: TokenStream = text
        .parse()
        .map_err(|error| BuildError::Internal(format!("generated code does not parse: {error}")))?;
    Ok(renamed(without_allowances(tokens), runtime))
}

/// With every `gem_runtime` replaced.
pub(super) fn renamed(tokens: TokenStream, runtime: &TokenStream) -> TokenStream {
    let mut all = TokenStream::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "gem_runtime" => all.extend(runtime.clone()),
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), renamed(group.stream(), runtime));
                inner.set_span(group.span());
                all.extend([TokenTree::Group(inner)]);
            }
            token => all.extend([token]),
        }
    }
    all
}

/// Without the file's `#![allow(..)]`. Lints do not look into what a macro of another crate made.
fn without_allowances(tokens: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in tokens {
        let allows = matches!(&token, TokenTree::Group(group)
            if group.delimiter() == Delimiter::Bracket
                && matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(i)) if i == "allow"));
        let marks = |at: usize, mark: char| {
            let before = kept.len().checked_sub(at).and_then(|at| kept.get(at));
            matches!(before, Some(TokenTree::Punct(p)) if p.as_char() == mark)
        };
        if allows && marks(1, '!') && marks(2, '#') {
            kept.truncate(kept.len() - 2);
        } else {
            kept.push(token);
        }
    }
    kept.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn the_runtime_has_the_path_it_is_given() {
        let text = "//! Doc.\n#![allow(a, reason = \"b\")]\nuse gem_runtime::kernel as k;\nfn f() { gem_runtime::g([#[cold] x]) }";
        let tokens = file(text, &quote!(::rt)).unwrap();
        let wanted =
            quote!(#![doc = " Doc."] use ::rt::kernel as k; fn f() { ::rt::g([#[cold] x]) });
        assert_eq!(tokens.to_string(), wanted.to_string());
    }
}
