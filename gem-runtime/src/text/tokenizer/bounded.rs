//! Normalisers, pre-tokenizers and decoders of a `tokenizer.json` -> the same, with a bound on how much they make of a
//! text.
//!
//! Each step may replace a piece by a longer one, and a file may ask for any number of steps: ten that make ten of one
//! make 10^10. So steps are taken one by one; before one that can multiply, what it would make is counted.

use std::cell::Cell;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::normalizers::{NormalizerWrapper, Precompiled, Replace};
use tokenizers::pattern::Pattern as _;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::utils::SysRegex;
use tokenizers::{
    Decoder, ModelWrapper, NormalizedString, Normalizer, PostProcessorWrapper, PreTokenizedString,
    PreTokenizer, TokenizerImpl,
};

/// A tokenizer with these steps.
pub(super) type Bounded =
    TokenizerImpl<ModelWrapper, Normalizers, PreTokenizers, PostProcessorWrapper, Decoders>;

/// What any text may become: short texts have room for what real tokenizers put in front.
const ROOM: usize = 1 << 20;

/// How many times as long a text may become beyond that. Real tokenizers make three bytes of a space.
const TIMES: usize = 4;

/// Pre-tokenizers that write other bytes, at most: each makes up to three of one.
const REWRITES: usize = 3;

/// Tokens that a template may put around a text.
const MOST_AROUND: u64 = 1 << 16;

/// How often a template may repeat a text.
const MOST_COPIES: u64 = 4;

/// Longest text from one of so many bytes.
const fn allowed(bytes: usize) -> usize {
    bytes.saturating_mul(TIMES).saturating_add(ROOM)
}

thread_local! {
    /// What normalisers may still make of the text that this thread encodes. They get it in pieces, between special
    /// tokens, of which there may be any number.
    static LEFT: Cell<usize> = const { Cell::new(0) };
    /// Why a normaliser ended early.
    static FAULT: Cell<Option<tokenizers::Error>> = const { Cell::new(None) };
}

/// Encodes a text of so many bytes by `work`, on this thread. The crate passes over errors of normalisers, so that they are
/// remembered here.
pub(super) fn encoding<T>(
    bytes: usize,
    work: impl FnOnce() -> tokenizers::Result<T>,
) -> tokenizers::Result<T> {
    LEFT.set(allowed(bytes));
    FAULT.set(None);
    let encoded = work();
    match FAULT.take() {
        Some(fault) => Err(fault),
        None => encoded,
    }
}

fn check(length: usize, most: usize, what: &str) -> tokenizers::Result<()> {
    if length <= most {
        return Ok(());
    }
    let times = format!("{TIMES} times its length and {ROOM} bytes");
    Err(format!("its {what} make more of a text than {times}").into())
}

/// A step, and what it can make of a text.
#[derive(Debug)]
struct Step<T> {
    inner: T,
    growth: Growth,
}

#[derive(Debug)]
enum Growth {
    /// A few times as long at most.
    Small,
    /// These bytes more.
    Adds(usize),
    /// A piece by another.
    Replaces(Pattern, usize),
    /// Pieces by those of a table.
    Mapped(Box<Precompiled>),
}

#[derive(Debug)]
enum Pattern {
    Text(String),
    Regex(Box<SysRegex>),
}

impl Growth {
    fn of_replace(replace: &Replace) -> tokenizers::Result<Self> {
        // The pattern is private, but a part of what is written to files.
        let value = serde_json::to_value(replace)?;
        let pattern = |kind: &str| value["pattern"][kind].as_str();
        let pattern = match (pattern("String"), pattern("Regex")) {
            (Some(text), _) => Pattern::Text(text.to_owned()),
            (_, Some(regex)) => Pattern::Regex(Box::new(SysRegex::new(regex)?)),
            _ => return Err("a replacement has no pattern".into()),
        };
        Ok(Self::Replaces(pattern, replace.content.len()))
    }

    /// Bytes of a text afterwards, at most.
    fn of(&self, text: &str) -> tokenizers::Result<usize> {
        let length = text.len();
        Ok(match self {
            Self::Small => length,
            Self::Adds(bytes) => length.saturating_add(*bytes),
            Self::Replaces(_, content) if content.saturating_mul(length + 1) <= ROOM / 4 => length,
            Self::Replaces(pattern, content) => {
                let count = pattern.count(text)?;
                length.saturating_add(count.saturating_mul(*content))
            }
            Self::Mapped(table) => mapped(table, text),
        })
    }
}

impl Pattern {
    fn count(&self, text: &str) -> tokenizers::Result<usize> {
        match self {
            Self::Text(pattern) => Ok(text.matches(pattern.as_str()).count()),
            Self::Regex(regex) => {
                let pieces = (&**regex).find_matches(text)?;
                Ok(pieces.into_iter().filter(|(_, found)| *found).count())
            }
        }
    }
}

/// Bytes that a table makes of a text, at most: it looks at characters, and at clusters of up to five bytes.
fn mapped(table: &Precompiled, text: &str) -> usize {
    const CLUSTER: usize = 5;
    let mut sum = 0_usize;
    for (at, c) in text.char_indices() {
        let mut longest = c.len_utf8();
        for end in at + 1..=(at + CLUSTER).min(text.len()) {
            let piece = text.get(at..end);
            let made = piece.and_then(|piece| table.transform(piece));
            longest = longest.max(made.map_or(0, str::len));
        }
        sum = sum.saturating_add(longest);
    }
    sum
}

/// Normalisers, one after the other.
#[derive(Debug)]
pub(super) struct Normalizers(Vec<Step<NormalizerWrapper>>);

impl Normalizers {
    fn add(&mut self, wrapper: NormalizerWrapper) -> tokenizers::Result<()> {
        let growth = match &wrapper {
            NormalizerWrapper::Sequence(_) => Growth::Small,
            NormalizerWrapper::Replace(replace) => Growth::of_replace(replace)?,
            NormalizerWrapper::Prepend(prepend) => Growth::Adds(prepend.prepend.len()),
            NormalizerWrapper::Precompiled(table) => Growth::Mapped(Box::new(table.clone())),
            _ => Growth::Small,
        };
        if let NormalizerWrapper::Sequence(sequence) = wrapper {
            return sequence.into_iter().try_for_each(|step| self.add(step));
        }
        self.0.push(Step {
            inner: wrapper,
            growth,
        });
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Normalizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut steps = Self(Vec::new());
        let added = steps.add(NormalizerWrapper::deserialize(deserializer)?);
        added.map_err(serde::de::Error::custom)?;
        Ok(steps)
    }
}

impl Normalizers {
    fn run(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        let left = LEFT.get();
        for step in &self.0 {
            check(step.growth.of(text.get())?, left, "normalisers")?;
            step.inner.normalize(text)?;
            check(text.len(), left, "normalisers")?;
        }
        LEFT.set(left - text.len().min(left));
        Ok(())
    }
}

impl Normalizer for Normalizers {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        self.run(text).map_err(|fault| {
            let words = fault.to_string();
            LEFT.set(0);
            FAULT.set(Some(fault));
            words.into()
        })
    }
}

/// A pre-tokenizer that does not write bytes anew too often.
#[derive(Debug)]
pub(super) struct PreTokenizers(PreTokenizerWrapper);

impl<'de> Deserialize<'de> for PreTokenizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrapper = PreTokenizerWrapper::deserialize(deserializer)?;
        let rewrites = rewrites(&wrapper);
        if rewrites > REWRITES {
            let what = format!(
                "its pre-tokenizers rewrite a text {rewrites} times; allowed are {REWRITES}"
            );
            return Err(serde::de::Error::custom(what));
        }
        Ok(Self(wrapper))
    }
}

/// How many of the steps make a text longer.
fn rewrites(wrapper: &PreTokenizerWrapper) -> usize {
    match wrapper {
        PreTokenizerWrapper::ByteLevel(_) | PreTokenizerWrapper::Metaspace(_) => 1,
        PreTokenizerWrapper::Sequence(sequence) => sequence.as_ref().iter().map(rewrites).sum(),
        _ => 0,
    }
}

impl PreTokenizer for PreTokenizers {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        self.0.pre_tokenize(text)
    }
}

/// Decoders, one after the other.
#[derive(Debug)]
pub(super) struct Decoders(Vec<Step<DecoderWrapper>>);

impl Decoders {
    fn add(&mut self, wrapper: DecoderWrapper) -> tokenizers::Result<()> {
        let growth = match &wrapper {
            DecoderWrapper::Replace(replace) => Growth::of_replace(replace)?,
            _ => Growth::Small,
        };
        if let DecoderWrapper::Sequence(sequence) = &wrapper {
            let mut steps = sequence.get_decoders().iter();
            return steps.try_for_each(|step| self.add(step.clone()));
        }
        self.0.push(Step {
            inner: wrapper,
            growth,
        });
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Decoders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut steps = Self(Vec::new());
        let added = steps.add(DecoderWrapper::deserialize(deserializer)?);
        added.map_err(serde::de::Error::custom)?;
        Ok(steps)
    }
}

impl Decoder for Decoders {
    fn decode_chain(&self, mut tokens: Vec<String>) -> tokenizers::Result<Vec<String>> {
        let length = |tokens: &[String]| tokens.iter().map(String::len).sum::<usize>();
        let most = allowed(length(&tokens) + tokens.len());
        for step in &self.0 {
            let mut next = 0_usize;
            for token in &tokens {
                next = next.saturating_add(step.growth.of(token)?);
            }
            check(next, most, "decoders")?;
            tokens = step.inner.decode_chain(tokens)?;
            check(length(&tokens), most, "decoders")?;
        }
        Ok(tokens)
    }
}

/// Looks at what a file wants around a text, before anything is made of it.
///
/// # Errors
/// With a sentence; also when the file is no JSON.
pub(super) fn check_post_processor(json: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        post_processor: Value,
    }
    let file: File = serde_json::from_slice(json)
        .map_err(|e| format!("is not valid JSON of a tokenizer: {e}"))?;
    let (copies, around) = around(&file.post_processor);
    if copies > MOST_COPIES || around > MOST_AROUND {
        return Err(format!(
            "its template repeats a text {copies} times and puts {around} tokens around it; allowed are \
             {MOST_COPIES} and {MOST_AROUND}"
        ));
    }
    Ok(())
}

/// How often a text is in what a post-processor makes of it, and how many tokens are around.
fn around(processor: &Value) -> (u64, u64) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut total = (1, 0_u64);
    for inner in list(&processor["processors"]) {
        let (copies, added) = around(&inner);
        let more = total.1.saturating_mul(copies).saturating_add(added);
        total = (u64::saturating_mul(total.0, copies), more);
    }
    if let Value::Array(pieces) = &processor["single"] {
        let copies = pieces
            .iter()
            .filter(|piece| piece.get("Sequence").is_some());
        let copies = copies.count() as u64;
        let ids = |piece: &Value| {
            let name = piece["SpecialToken"]["id"].as_str()?;
            let ids = processor["special_tokens"][name]["ids"].as_array()?;
            Some(ids.len() as u64)
        };
        let added: u64 = pieces.iter().filter_map(ids).sum();
        let more = total.1.saturating_mul(copies.max(1)).saturating_add(added);
        total = (total.0.saturating_mul(copies.max(1)), more);
    }
    total
}
