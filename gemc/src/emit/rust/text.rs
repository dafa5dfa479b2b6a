//! Tokens to formatted text. Comments are no tokens: they travel as `__comment!("..")` and are written here.

use proc_macro2::TokenStream;
use quote::quote;

/// Columns of a comment, indentation included.
const WIDTH: usize = 110;

const MARK: &str = "__comment!(";

/// A line comment, as a statement.
pub(super) fn comment(text: &str) -> TokenStream {
    quote!(__comment!(#text);)
}

/// A line comment before an element of a list.
pub(super) fn comment_element(text: &str) -> TokenStream {
    quote!(__comment!(#text),)
}

/// A doc comment.
pub(super) fn doc(text: &str) -> TokenStream {
    let lines = wrap(text, WIDTH);
    let lines = lines.iter().map(|line| format!(" {line}"));
    quote!(#(#[doc = #lines])*)
}

/// A source file with a header of module documentation.
pub(super) fn render(header: &str, items: TokenStream) -> String {
    let file: syn::File = syn::parse2(items).expect("the printers produce items of Rust");
    let mut text: String = wrap(header, WIDTH).iter().map(|line| format!("//! {line}\n")).collect();
    text.push('\n');
    for line in prettyplease::unparse(&file).lines() {
        write_line(&mut text, line);
    }
    text
}

fn write_line(text: &mut String, line: &str) {
    let code = line.trim_start();
    let indent = &line[..line.len() - code.len()];
    let literal = code
        .strip_prefix(MARK)
        .map(|rest| rest.trim_end_matches([';', ',']).trim_end_matches(')'))
        .and_then(|literal| syn::parse_str::<syn::LitStr>(literal).ok());
    match literal {
        Some(literal) => {
            for line in wrap(&literal.value(), WIDTH.saturating_sub(indent.len())) {
                text.push_str(&format!("{indent}// {line}\n"));
            }
        }
        None => {
            text.push_str(line);
            text.push('\n');
        }
    }
}

/// Lines of at most `width` characters, broken at spaces where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_lines() {
        let say = comment("a \"quoted\" remark; with (parentheses)");
        let element = comment_element("an element");
        let text = render("Header.", quote!(fn f() { #say let x = 1; } const A: [u8; 1] = [#element 1];));
        assert!(text.starts_with("//! Header.\n"), "{text}");
        assert!(text.contains("    // a \"quoted\" remark; with (parentheses)\n    let x = 1;\n"), "{text}");
        assert!(text.contains("// an element\n"), "{text}");
    }

    #[test]
    fn long_comments_are_wrapped() {
        let lines = wrap(&"word ".repeat(50), 30);
        assert!(lines.len() > 5 && lines.iter().all(|l| l.len() <= 30));
    }
}
