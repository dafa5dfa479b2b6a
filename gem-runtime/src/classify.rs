//! A text, or a pair -> the labels of a classifier with their scores, best first; every token of a text -> its label; a text ->
//! the vector of an encoder.

use std::ops::Range;

use crate::error::Result;
use crate::info::LabelScore;
use crate::sample::softmax;
use crate::session::Session;

/// One label of a classification.
///
/// ```
/// use gem_runtime::{Label, Model, Result};
///
/// fn print(model: &impl Model, text: &str) -> Result<()> {
///     for Label { label, score } in model.classify(text)? {
///         println!("{score:.3} {label}");
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Name of the label.
    pub label: String,
    /// Its probability: those of all labels sum to 1, unless the model judges each by itself
    /// ([`LabelScore`]).
    pub score: f32,
}

/// The best label of a token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLabel {
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    /// Name of the label.
    pub label: String,
    /// Its probability.
    pub score: f32,
}

/// What logits say of labels.
fn scores(logits: &[f32], score: LabelScore) -> Result<Vec<f32>> {
    Ok(match score {
        LabelScore::Softmax => softmax(logits)?,
        LabelScore::Sigmoid => logits
            .iter()
            .map(|x| 1.0 / (1.0 + libm::expf(-x)))
            .collect(),
        LabelScore::Identity => logits.to_vec(),
    })
}

impl Session {
    /// Labels of a text, best first, of equal ones in the model's order. A text that is too long is cut on the right;
    /// the special tokens around it stay.
    ///
    /// # Errors
    /// [`crate::Error::Empty`] when neither the text nor what is put around it has a token, [`crate::Error::Task`],
    /// [`crate::Error::Text`], [`crate::Error::Logits`].
    pub fn classify(&mut self, text: &str) -> Result<Vec<Label>> {
        let engine = self.engine().clone();
        let limit = self.longest_text() as usize;
        let ids = engine.text()?.tokenizer().encode_cut(text, limit)?;
        self.labels(&ids)
    }

    /// Labels of a pair of texts, such as a question and what may answer it, best first. Of a pair that is too long, the longer one is
    /// cut on the right, then both alike.
    ///
    /// # Errors
    /// As [`Session::classify`].
    pub fn classify_pair(&mut self, first: &str, second: &str) -> Result<Vec<Label>> {
        let engine = self.engine().clone();
        let limit = self.longest_text() as usize;
        let info = engine.info();
        let tokenizer = engine.text()?.tokenizer();
        let pair = tokenizer.encode_pair(first, second, limit)?;
        let id = |(id, kind): (u32, u32)| match kind {
            0 => id,
            _ => id + info.vocab_size * (info.conventions.token_types - 1),
        };
        let ids: Vec<u32> = pair.into_iter().map(id).collect();
        self.labels(&ids)
    }

    fn labels(&mut self, ids: &[u32]) -> Result<Vec<Label>> {
        let engine = self.engine().clone();
        let info = engine.info();
        let scores = scores(self.classify_ids(ids)?, info.conventions.score)?;
        let named = info.labels.iter().zip(scores);
        let mut labels: Vec<Label> = named
            .map(|(label, score)| Label {
                label: label.to_string(),
                score,
            })
            .collect();
        labels.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(labels)
    }

    /// The best label of every token of a text, in the order of the text, without those that are put around it. A text that is too
    /// long is cut on the right.
    ///
    /// # Errors
    /// As [`Session::classify`].
    pub fn label_tokens(&mut self, text: &str) -> Result<Vec<TokenLabel>> {
        let engine = self.engine().clone();
        let limit = self.longest_text() as usize;
        let pieces = engine.text()?.tokenizer().pieces(text, limit)?;
        let ids: Vec<u32> = pieces.iter().map(|piece| piece.id).collect();
        let mut rows = Vec::with_capacity(ids.len());
        self.label_ids(&ids, |_, logits| rows.push(logits.to_vec()))?;
        let own = pieces
            .into_iter()
            .zip(rows)
            .filter(|(piece, _)| !piece.around);
        own.map(|(piece, logits)| {
            let scores = softmax(&logits)?;
            let named = engine.info().labels.iter().zip(scores);
            let best = named.max_by(|(_, a), (_, b)| a.total_cmp(b));
            let (label, score) = best.map_or_else(Default::default, |(l, s)| (l.to_string(), s));
            Ok(TokenLabel {
                span: piece.span,
                label,
                score,
            })
        })
        .collect()
    }

    /// The vector of a text, behind the model's default prompt where it has one. A text that is too long is cut on the right; the
    /// special tokens around it stay.
    ///
    /// # Errors
    /// As [`Session::classify`].
    pub fn embed(&mut self, text: &str) -> Result<Vec<f32>> {
        self.embed_as(None, text)
    }

    /// The same behind the prompt of this name, such as `query`: models that were trained with prompts have one for each kind
    /// of text ([`crate::text::Prompts`]).
    ///
    /// # Errors
    /// As [`Session::classify`]; [`crate::Error::Text`] for a name that the model does not have.
    pub fn embed_as(&mut self, prompt: Option<&str>, text: &str) -> Result<Vec<f32>> {
        let engine = self.engine().clone();
        let limit = self.longest_text() as usize;
        let words = engine.text()?;
        let prompt = words.prompts().text(prompt)?;
        let tokenizer = words.tokenizer();
        let ids = tokenizer.encode_cut(&format!("{prompt}{text}"), limit)?;
        let before = match engine.info().conventions.pools_prompt || prompt.is_empty() {
            true => 0,
            false => tokenizer.before_end(prompt)?,
        };
        // A text of which nothing is left has its last row.
        let last = ids.len().saturating_sub(1);
        Ok(self.embed_ids_from(&ids, before.min(last) as u32)?.to_vec())
    }
}
