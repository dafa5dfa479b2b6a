//! Token ids, one at a time -> text as it becomes certain.
//!
//! Invariant: what has been given out is never part of a character, and later tokens only add to it. Bytes that may
//! become a character are held back until they are one or cannot become one.

use super::Tokenizer;
use crate::error::Result;

/// What decoders put where bytes are no character, yet or at all.
const REPLACEMENT: char = '\u{fffd}';

/// A character has at most four bytes, so that at most three, each shown as a replacement, can be waiting for more.
const MOST_WAITING: usize = 3;

/// Tokens that are read again with each one that comes, at most: no text waits that long for the end of a character.
const MOST_PENDING: usize = 256;

/// How many tokens of the text before are kept: a decoder may join words by what precedes them.
const CONTEXT: usize = 8;

/// A streaming detokeniser.
///
/// ```
/// use gem_runtime::text::{Detokenizer, Tokenizer};
///
/// let json = r#"{"version":"1.0","model":{"type":"WordLevel","vocab":{"?":0,"red":1,"fox":2},"unk_token":"?"},
///     "pre_tokenizer":{"type":"Whitespace"}}"#;
/// let tokenizer = Tokenizer::new(json.as_bytes(), 3)?;
/// let mut stream = Detokenizer::new(&tokenizer, &[]);
/// assert_eq!(stream.push(1)? + &stream.push(2)?, "red fox");
/// # Ok::<(), gem_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Tokenizer,
    /// Tokens that are given out, as far as the next ones depend on them, and their text.
    context: Vec<u32>,
    context_text: String,
    /// Tokens since then, and the text of them that has been given out already.
    pending: Vec<u32>,
    given: String,
}

impl Detokenizer {
    /// Starts after `before`, which is not given out.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer, before: &[u32]) -> Self {
        let mut context = before[before.len().saturating_sub(CONTEXT)..].to_vec();
        let context_text = tokenizer.decode(&context).unwrap_or_else(|_| {
            context.clear();
            String::new()
        });
        Self {
            tokenizer: tokenizer.clone(),
            context,
            context_text,
            pending: Vec::new(),
            given: String::new(),
        }
    }

    /// Text that is certain with one more token; often empty, sometimes several characters.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.pending.push(id);
        let text = self.pending_text()?;
        let certain = match self.pending.len() {
            0..MOST_PENDING => &text[..certain(&text)],
            _ => &text,
        };
        let new = certain[common_boundary(certain, self.given.len())..].to_owned();
        if certain.len() < text.len() {
            self.given.push_str(&new);
        } else {
            self.settle(text.is_empty())?;
        }
        Ok(new)
    }

    /// The pending tokens are given out. Those that show nothing stay beside what was before: a decoder that takes one space
    /// from the beginning of a text may have taken theirs, and takes none of the next token's then. They push nothing out.
    fn settle(&mut self, empty: bool) -> Result<()> {
        match empty {
            true => self
                .pending
                .truncate(CONTEXT.saturating_sub(self.context.len())),
            false => self.context.clear(),
        }
        self.context.append(&mut self.pending);
        let old = self.context.len().saturating_sub(CONTEXT);
        self.context.drain(..old);
        self.context_text = self.tokenizer.decode(&self.context)?;
        self.given.clear();
        Ok(())
    }

    /// The text of the pending tokens.
    fn pending_text(&self) -> Result<String> {
        let all = [&self.context[..], &self.pending[..]].concat();
        let mut text = self.tokenizer.decode(&all)?;
        if text.starts_with(&self.context_text) {
            return Ok(text.split_off(self.context_text.len()));
        }
        // A decoder that judges runs of bytes as a whole has changed what is given out already.
        self.tokenizer.decode(&self.pending)
    }
}

/// Length of the start of `text` that later tokens cannot change.
fn certain(text: &str) -> usize {
    let waiting = text
        .chars()
        .rev()
        .take(MOST_WAITING)
        .take_while(|c| *c == REPLACEMENT)
        .count();
    text.len() - waiting * REPLACEMENT.len_utf8()
}

/// The first boundary of a character at or after byte `at`.
fn common_boundary(text: &str, at: usize) -> usize {
    (at..text.len())
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(text.len())
}
