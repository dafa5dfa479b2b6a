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
    let mut text: String = wrap(header, WIDTH)
        .iter()
        .map(|line| format!("//! {line}\n"))
        .collect();
    text.push('\n');
    let formatted = prettyplease::unparse(&file);
    let mut lines = formatted.lines();
    while let Some(line) = lines.next() {
        match marked(line, &mut lines) {
            Some(comment) => write_comment(&mut text, indent(line), &comment),
            None => write_line(&mut text, line),
        }
    }
    text
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The comment that starts on this line, if one does; a long one has its literal on the next line.
fn marked<'a>(line: &'a str, rest: &mut impl Iterator<Item = &'a str>) -> Option<String> {
    let mut literal = line.trim_start().strip_prefix(MARK)?;
    if literal.is_empty() {
        literal = rest.next()?.trim();
        rest.next();
    }
    let literal = literal.trim_end_matches([';', ',']).trim_end_matches(')');
    Some(syn::parse_str::<syn::LitStr>(literal).ok()?.value())
}

fn write_comment(text: &mut String, indent: &str, comment: &str) {
    for line in wrap(comment, WIDTH.saturating_sub(indent.len())) {
        text.push_str(&format!("{indent}// {line}\n"));
    }
}

/// Writes a line of code, after an empty one where an item with documentation starts.
fn write_line(text: &mut String, line: &str) {
    let documented = |line: &str| line.starts_with("///");
    let previous = text.lines().next_back().unwrap_or("");
    if documented(line) && !documented(previous) && !previous.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
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
        let text = render(
            "Header.",
            // Entries of tables are long, so that each stands on lines of its own.
            quote!(fn f() { #say let x = 1; } const A: [[u64; 3]; 1] =
                [#element [11_111_111_111_111_111, 11_111_111_111_111_111, 11_111_111_111_111_111]];),
        );
        assert!(text.starts_with("//! Header.\n"), "{text}");
        assert!(
            text.contains("    // a \"quoted\" remark; with (parentheses)\n    let x = 1;\n"),
            "{text}"
        );
        assert!(text.contains("// an element\n"), "{text}");
    }

    #[test]
    fn long_comments_are_wrapped_and_items_set_apart() {
        let say = comment(&"word ".repeat(50));
        let doc = doc("What it is.");
        let text = render("Header.", quote!(use a::b; #doc fn f() { #say let x = 1; }));
        assert!(
            !text.contains("__comment") && text.contains("    // word word"),
            "{text}"
        );
        assert!(
            text.contains("use a::b;\n\n/// What it is.\nfn f()"),
            "{text}"
        );
        let lines = wrap(&"word ".repeat(50), 30);
        assert!(lines.len() > 5 && lines.iter().all(|l| l.len() <= 30));
    }
}
