//! A plain text -> documents: paragraphs together, as many as make a document, long ones cut where a word ends.

/// Bytes of a document of a long text; of a short one, so many that it has several documents.
const DOCUMENT: usize = 2_000;
const DOCUMENTS: usize = 12;
const SHORTEST: usize = 120;

/// Documents of a text, in order; blank ones are none.
pub fn documents(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n");
    let size = (text.len() / DOCUMENTS).clamp(SHORTEST, DOCUMENT);
    let mut documents = Vec::new();
    let mut current = String::new();
    let paragraphs = text.split("\n\n").flat_map(|whole| pieces(whole, size));
    for piece in paragraphs.filter(|piece| !piece.trim().is_empty()) {
        if !current.is_empty() {
            current.push_str("\n\n");
        }
        current.push_str(piece.trim());
        if current.len() >= size {
            documents.push(std::mem::take(&mut current));
        }
    }
    documents.extend((!current.is_empty()).then_some(current));
    documents
}

/// A paragraph in pieces of at most twice so many bytes.
fn pieces(paragraph: &str, size: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = paragraph;
    while rest.len() > 2 * size {
        let most = (0..=2 * size).rev().find(|at| rest.is_char_boundary(*at));
        let most = most.unwrap_or_default();
        let word = rest[..most].rfind(char::is_whitespace);
        let end = word.filter(|end| *end >= size).unwrap_or(most);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_make_documents() {
        let paragraph = "The quick brown fox jumps over the lazy dog again and again. ".repeat(5);
        let text = [paragraph.as_str(); 100].join("\r\n\r\n");
        let found = documents(&text);
        assert!((10..=20).contains(&found.len()), "{}", found.len());
        assert!(found.iter().all(|d| d.len() <= 3 * DOCUMENT));
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&found.join("\n")), words(&text));
    }

    #[test]
    fn a_text_without_paragraphs_is_cut_at_words() {
        let text = "naïve café ".repeat(2_000);
        let found = documents(&text);
        assert!(found.len() >= 5, "{}", found.len());
        assert!(found[1].starts_with("naïve") || found[1].starts_with("café"));
        // Without a place to cut at, anywhere between letters.
        let found = documents(&"é".repeat(5_000));
        assert!(found.len() >= 2);
        assert_eq!(found.concat(), "é".repeat(5_000));
        assert_eq!(documents(" \n\n \n"), [""; 0]);
    }
}
