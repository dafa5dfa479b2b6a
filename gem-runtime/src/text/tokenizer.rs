//! `tokenizer.json` -> a [`Tokenizer`]: text to ids and back.
//!
//! Invariant: all ids of its vocabulary, and those its template puts around a text, are below the vocabulary size.
//! Truncation and padding that the file may ask for are training settings and are switched off.
//!
//! What the file asks for is done in steps that are looked at ([`bounded`]), so that a text cannot become a thousand times
//! as long in memory.
//!
//! The `tokenizers` crate panics on some broken files, where it expects what it has not checked. [`guard`] makes errors
//! of that, and a look at the JSON beforehand keeps it from the commonest ones.

mod bounded;

use std::cell::Cell;
use std::fmt::Display;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokenizers::Encoding;
use tokenizers::utils::truncation::{TruncationParams, truncate_encodings};

use super::files::TOKENIZER;
use crate::error::{Error, Result};
use crate::regular;
use bounded::Bounded;

/// A token of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its id.
    pub id: u32,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    /// Whether it is put around the text.
    pub around: bool,
}

/// Text to token ids and back. Clones share what was read.
///
/// ```
/// use gem_runtime::text::Tokenizer;
///
/// let json = r#"{"version":"1.0","model":{"type":"WordLevel","vocab":{"?":0,"red":1,"fox":2},"unk_token":"?"},
///     "pre_tokenizer":{"type":"Whitespace"}}"#;
/// let tokenizer = Tokenizer::new(json.as_bytes(), 3)?;
/// assert_eq!(tokenizer.encode("red fox")?, [1, 2]);
/// assert_eq!(tokenizer.decode(&[2, 1])?, "fox red");
/// # Ok::<(), gem_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Arc<Bounded>,
}

fn wrong(why: impl Display) -> Error {
    Error::text(TOKENIZER, why)
}

thread_local! {
    /// Whether a panic of this thread will be caught and told as an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// From now on, panics that become errors of tokenizers are not told a second time as panics. For programs, which own
/// their process.
pub fn hide_caught_panics() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !CAUGHT.get() {
            told(info);
        }
    }));
}

/// What the `tokenizers` crate answers, also when it panics.
fn guard<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    let before = CAUGHT.replace(true);
    // Nothing of ours is half changed by a panic in there; its own caches are behind locks that poison.
    let result = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    match result {
        Ok(result) => result.map_err(wrong),
        Err(_) => Err(wrong("the tokenizer library failed on it")),
    }
}

impl Tokenizer {
    /// Reads `tokenizer.json`, for a model with so many token ids.
    ///
    /// # Errors
    /// [`Error::Text`] when it is no tokenizer, or names an id that the model does not have.
    pub fn new(json: &[u8], vocab_size: u32) -> Result<Self> {
        let json = regular::unmarked(json);
        bounded::check_post_processor(json).map_err(wrong)?;
        let inner = guard(|| {
            // Added tokens are normalised, too.
            let mut inner = bounded::encoding(json.len(), || Bounded::from_bytes(json))?;
            inner.with_truncation(None)?;
            inner.with_padding(None);
            Ok(inner)
        })?;
        let inner = Arc::new(inner);
        let tokenizer = Self { inner };
        tokenizer.check_ids(vocab_size)?;
        Ok(tokenizer)
    }

    fn check_ids(&self, vocab_size: u32) -> Result<()> {
        let outside = |id: u32, token: &str| {
            let token = token.escape_debug();
            Err(wrong(format_args!(
                "gives token \"{token}\" the id {id}; the model's ids are below {vocab_size}"
            )))
        };
        // Counting the ids in range needs no copy of the vocabulary, unlike listing it.
        let inside = (0..vocab_size)
            .filter(|id| self.inner.id_to_token(*id).is_some())
            .count();
        if inside != self.inner.get_vocab_size(true) {
            let all = self.inner.get_vocab(true);
            let highest = all.iter().max_by_key(|(token, id)| (**id, *token));
            if let Some((token, id)) = highest
                && *id >= vocab_size
            {
                return outside(*id, token);
            }
        }
        for id in self.encode("")? {
            if id >= vocab_size {
                return Err(wrong(format_args!(
                    "puts the id {id} around texts; ids of the model are below {vocab_size}"
                )));
            }
        }
        Ok(())
    }

    /// Ids of a whole text, with the special tokens that belong around it.
    ///
    /// # Errors
    /// [`Error::Text`] when the text has something that the vocabulary cannot express.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encode = || self.inner.encode_fast(text, true);
        let encoding = guard(|| bounded::encoding(text.len(), encode))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Ids of a piece of text, with nothing around it. Special tokens that the text spells out become what they spell.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        let encode = || self.inner.encode_fast(text, false);
        let encoding = guard(|| bounded::encoding(text.len(), encode))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Ids of a whole text, cut on the right to `limit` ids; the special tokens around it stay.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; when `limit` has no room for the special tokens.
    pub fn encode_cut(&self, text: &str, limit: usize) -> Result<Vec<u32>> {
        let encode = || self.inner.encode_fast(text, false);
        let whole = self.cut(limit, || bounded::encoding(text.len(), encode))?;
        Ok(whole.get_ids().to_vec())
    }

    /// What `encode` gives, cut, with what belongs around it.
    fn cut(
        &self,
        limit: usize,
        encode: impl FnOnce() -> tokenizers::Result<Encoding>,
    ) -> Result<Encoding> {
        let around = self.encode("")?.len();
        if around > limit {
            return Err(wrong(format_args!(
                "puts {around} tokens around a text; the limit is {limit}"
            )));
        }
        guard(|| {
            let mut content = encode()?;
            let direction = tokenizers::TruncationDirection::Right;
            content.truncate(limit - around, 0, direction);
            // What was cut off must not be processed, too.
            drop(content.take_overflowing());
            self.inner.post_process(content, None, true)
        })
    }

    /// Ids of a pair of texts and the types of its tokens, with the special tokens that belong around and between them, cut to `limit`
    /// ids: on the right of the longer one until both are as long, then of both.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_cut`].
    pub fn encode_pair(&self, first: &str, second: &str, limit: usize) -> Result<Vec<(u32, u32)>> {
        let joined = |texts: [&str; 2], limit: Option<usize>| {
            guard(|| {
                let encode = |text: &str| {
                    bounded::encoding(text.len(), || self.inner.encode_fast(text, false))
                };
                let (mut a, mut b) = (encode(texts[0])?, Some(encode(texts[1])?));
                if let Some(max_length) = limit {
                    let cut = TruncationParams {
                        max_length,
                        ..TruncationParams::default()
                    };
                    (a, b) = truncate_encodings(a, b, &cut)?;
                    drop(a.take_overflowing());
                    let _ = b.as_mut().map(Encoding::take_overflowing);
                }
                self.inner.post_process(a, b, true)
            })
        };
        let around = joined(["", ""], None)?.get_ids().len();
        if around > limit {
            return Err(wrong(format_args!(
                "puts {around} tokens around a pair; the limit is {limit}"
            )));
        }
        let whole = joined([first, second], Some(limit - around))?;
        let ids = whole.get_ids().iter().copied();
        Ok(ids.zip(whole.get_type_ids().iter().copied()).collect())
    }

    /// The tokens of a text, cut as by [`Tokenizer::encode_cut`], with those around it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_cut`].
    pub fn pieces(&self, text: &str, limit: usize) -> Result<Vec<Piece>> {
        let whole = self.cut(limit, || {
            bounded::encoding(text.len(), || self.inner.encode(text, false))
        })?;
        let marks = whole
            .get_offsets()
            .iter()
            .zip(whole.get_special_tokens_mask());
        let pieces = whole.get_ids().iter().zip(marks);
        let piece = |(&id, (&(start, end), &around)): (&u32, (&(usize, usize), &u32))| Piece {
            id,
            span: start..end,
            around: around != 0,
        };
        Ok(pieces.map(piece).collect())
    }

    /// How many ids a text has that another one follows: those that stand before it, and its own.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn before_end(&self, text: &str) -> Result<usize> {
        let ids = self.encode(text)?;
        let special = |id: &u32| {
            let token = self.inner.id_to_token(*id);
            token.is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
        };
        let ends = ids.last().is_some_and(special);
        Ok(ids.len() - usize::from(ends))
    }

    /// Text of ids, without special tokens; � where bytes are no characters. Unknown ids are skipped.
    ///
    /// # Errors
    /// [`Error::Text`] when the decoder of the tokenizer fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        guard(|| self.inner.decode(ids, true))
    }

    /// Id of a token.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// A token as the vocabulary spells it.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }
}
