//! Pieces of text -> the text before the first stop string, given out as early as it is certain.
//!
//! First is the one that is complete first (of those complete at once, the longest): generation ends there, however
//! the text was cut into pieces.
//!
//! Invariant: what has been given out plus what is held back is the whole input so far, and no stop string begins in
//! what has been given out.

/// Looks for stop strings across pieces.
#[derive(Debug)]
pub(crate) struct StopFilter {
    stops: Vec<String>,
    held: String,
}

/// What a piece of text led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StopMatch {
    /// No stop string; this much can be given out.
    More(String),
    /// A stop string; this is the rest of the text before it.
    Stop(String),
}

impl StopFilter {
    /// Stops at any of the texts, none of which is empty.
    pub(crate) fn new(stops: &[String]) -> Self {
        Self {
            stops: stops.to_vec(),
            held: String::new(),
        }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &str) -> StopMatch {
        self.held.push_str(piece);
        let first = self
            .stops
            .iter()
            .filter_map(|stop| first_end(&self.held, stop))
            .min();
        if let Some((_, at)) = first {
            self.held.truncate(at);
            return StopMatch::Stop(std::mem::take(&mut self.held));
        }
        let kept = self.held.split_off(self.possible_stop());
        StopMatch::More(std::mem::replace(&mut self.held, kept))
    }

    /// Where a stop string may have begun; the end if nowhere.
    fn possible_stop(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = (self.held.len() + 1).saturating_sub(longest);
        (from..self.held.len())
            .filter(|at| self.held.is_char_boundary(*at))
            .find(|at| self.stops.iter().any(|s| s.starts_with(&self.held[*at..])))
            .unwrap_or(self.held.len())
    }

    /// The end of the text: gives out what was held back.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// End and start of the first occurrence.
fn first_end(text: &str, stop: &str) -> Option<(usize, usize)> {
    let start = text.find(stop)?;
    Some((start + stop.len(), start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(stops: &[&str]) -> StopFilter {
        let stops: Vec<String> = stops.iter().map(|s| (*s).to_owned()).collect();
        StopFilter::new(&stops)
    }

    fn more(text: &str) -> StopMatch {
        StopMatch::More(text.to_owned())
    }

    #[test]
    fn stop_strings_are_found_across_pieces() {
        let mut found = filter(&["END", "\u{e9}t\u{e9}"]);
        assert_eq!(found.push("one E"), more("one "));
        assert_eq!(found.push("N"), more(""));
        assert_eq!(found.push("E"), more("EN"));
        assert_eq!(found.push("ND of it"), StopMatch::Stop(String::new()));
        let mut found = filter(&["END", "\u{e9}t\u{e9}"]);
        assert_eq!(found.push("l'\u{e9}t"), more("l'"));
        assert_eq!(found.push("\u{e9}!"), StopMatch::Stop(String::new()));
    }

    #[test]
    fn the_first_of_several_counts_and_the_rest_is_given_out_at_the_end() {
        assert_eq!(
            filter(&["cd", "b"]).push("abcd"),
            StopMatch::Stop("a".to_owned())
        );
        let mut none = filter(&["aab"]);
        assert_eq!(none.push("aaa"), more("a"));
        assert_eq!(none.finish(), "aa");
        assert_eq!(filter(&[]).push("all"), more("all"));
    }

    #[test]
    fn the_stop_string_that_is_complete_first_counts() {
        for pieces in [&["\u{e9}\u{e9}b", "b"][..], &["\u{e9}\u{e9}bb"]] {
            let mut found = filter(&["\u{e9}bb", "b"]);
            assert_eq!(
                found.push(pieces[0]),
                StopMatch::Stop("\u{e9}\u{e9}".to_owned())
            );
        }
        assert_eq!(
            filter(&["b", "ab"]).push("ab"),
            StopMatch::Stop(String::new())
        );
    }

    proptest! {
        /// However a text is cut into pieces, what comes out is the text before the first stop string.
        #[test]
        fn pieces_do_not_matter(
            pieces in proptest::collection::vec("[ab\u{e9}]{0,4}", 0..8),
            stops in proptest::collection::vec("[ab\u{e9}]{1,4}", 0..3),
        ) {
            let whole = pieces.concat();
            let expected = stops.iter().filter_map(|s| first_end(&whole, s)).min().map(|(_, at)| at);
            let mut found = StopFilter::new(&stops);
            let mut out = String::new();
            let mut stopped = false;
            for piece in &pieces {
                match found.push(piece) {
                    StopMatch::More(text) => out.push_str(&text),
                    StopMatch::Stop(text) => {
                        out.push_str(&text);
                        stopped = true;
                        break;
                    }
                }
            }
            if !stopped {
                out.push_str(&found.finish());
            }
            prop_assert_eq!(stopped, expected.is_some());
            prop_assert_eq!(out, &whole[..expected.unwrap_or(whole.len())]);
        }
    }
}
