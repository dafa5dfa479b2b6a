//! Tokens to formatted text. Comments are no tokens: they travel as `__comment!("..")` and are written here.

use proc_macro2::TokenStream;
use quote::quote;

/// Columns of a comment, indentation included.
const WIDTH: usize = 110;

const MARK: &str = "__comment!(";

/// A loop over `__repeat(n, most)` is written as `k::repeat!`.
pub(super) const REPEAT: &str = "__repeat";

/// A loop over `__strips(end, COUNT, n)` is written as `k::strips!`.
pub(super) const STRIPS: &str = "__strips";

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

/// A source file with module documentation at its head, paragraph by paragraph.
pub(super) fn render(header: &[&str], items: TokenStream) -> String {
    let file: syn::File = syn::parse2(items).expect("the printers produce items of Rust");
    let mut text: String = header
        .iter()
        .flat_map(|paragraph| wrap(paragraph, WIDTH))
        .map(|line| format!("//! {line}").trim_end().to_owned() + "\n")
        .collect();
    text.push('\n');
    let formatted = joined(&prettyplease::unparse(&file));
    let mut lines = formatted.lines();
    // Where the bodies of repetitions end: at a brace that is indented like their first line.
    let mut repetitions: Vec<String> = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(comment) = marked(line, &mut lines) {
            write_comment(&mut text, indent(line), &comment);
        } else if let Some(repetition) = repetition(line) {
            repetitions.push(format!("{}}}", indent(line)));
            write_line(&mut text, &repetition);
        } else if repetitions.last().is_some_and(|end| end == line) {
            repetitions.pop();
            write_line(&mut text, &format!("{line});"));
        } else {
            write_line(&mut text, line);
        }
    }
    text
}

/// Lists that fit a line, on a line: the formatter breaks long before.
fn joined(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // A list within a list is joined before it.
    let mut first = lines.len();
    while first > 0 {
        first -= 1;
        if let Some((line, last)) = list_from(&lines, first) {
            lines.splice(first..=last, [line]);
        }
    }
    lines.join("\n") + "\n"
}

/// The list that begins on line `first`, on one line, with the number of its last line; if it is one and fits.
fn list_from(lines: &[String], first: usize) -> Option<(String, usize)> {
    let start = &lines[first];
    if !start.ends_with(['(', '[', '<']) || is_comment(start) {
        return None;
    }
    let mut line = start.clone();
    for (at, next) in lines.iter().enumerate().skip(first + 1) {
        if indent(next) == indent(start) {
            let end = next.trim_start();
            let line = line.trim_end_matches(", ").to_owned() + end;
            let fits = end.starts_with([')', ']', '>']) && line.chars().count() <= WIDTH;
            return fits.then_some((line, at));
        }
        // Blocks and statements stay as they are; so do comments, which end with their line.
        if !next.ends_with(',') || is_comment(next) || line.chars().count() > WIDTH {
            return None;
        }
        line.push_str(next.trim_start());
        line.push(' ');
    }
    None
}

/// Whether a line is, or holds, a comment.
fn is_comment(line: &str) -> bool {
    line.contains("//") || line.contains(MARK)
}

/// The first line of a repetition, if this is one.
fn repetition(line: &str) -> Option<String> {
    let (start, rest) = line.strip_suffix(") {")?.split_once(" in ")?;
    let (indent, index) = (indent(line), start.trim_start().strip_prefix("for ")?);
    if let Some(counts) = rest.strip_prefix(&format!("{REPEAT}(")) {
        return Some(format!("{indent}k::repeat!({index} in {counts}, {{"));
    }
    let (counts, n) = rest
        .strip_prefix(&format!("{STRIPS}("))?
        .rsplit_once(", ")?;
    Some(format!("{indent}k::strips!({index} in {counts} = {n}, {{"))
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
            &["Header."],
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
    fn short_lists_of_numbers_stand_on_a_line() {
        let text = render(
            &[],
            quote!(
                fn f() {
                    let x = g([0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1]);
                }
            ),
        );
        let line = "    let x = g([0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1]);";
        assert!(text.lines().any(|l| l == line), "{text}");
    }

    #[test]
    fn repetitions_are_macros() {
        let written = quote::format_ident!("{REPEAT}");
        let text = render(
            &[],
            quote!(fn f() { for row in #written(ROWS, 8) { if x { y(row); } } }),
        );
        let wanted = "fn f() {\n    k::repeat!(row in ROWS, 8, {\n        if x {\n            y(row);\n        }\n    });\n}\n";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn long_comments_are_wrapped_and_items_set_apart() {
        let say = comment(&"word ".repeat(50));
        let doc = doc("What it is.");
        let text = render(
            &["Header."],
            quote!(use a::b; #doc fn f() { #say let x = 1; }),
        );
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
