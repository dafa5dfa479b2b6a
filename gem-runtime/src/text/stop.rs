//! Pieces of text -> the text before the first stop string, given out as early as it is certain.
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
pub(crate) enum Found {
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
    pub(crate) fn push(&mut self, piece: &str) -> Found {
        self.held.push_str(piece);
        let first = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = first {
            self.held.truncate(at);
            return Found::Stop(std::mem::take(&mut self.held));
        }
        let kept = self.held.split_off(self.possible_stop());
        Found::More(std::mem::replace(&mut self.held, kept))
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
