//! A text -> the labels of a classifier with their scores, best first; or the vector of an encoder.

use crate::error::Result;
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
    /// Its probability; those of all labels sum to 1.
    pub score: f32,
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
        let scores = softmax(self.classify_ids(&ids)?)?;
        let mut labels: Vec<Label> = engine
            .info()
            .labels
            .iter()
            .zip(scores)
            .map(|(label, score)| Label {
                label: label.to_string(),
                score,
            })
            .collect();
        labels.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(labels)
    }

    /// The vector of a text. A text that is too long is cut on the right; the special tokens around it stay.
    ///
    /// # Errors
    /// As [`Session::classify`].
    pub fn embed(&mut self, text: &str) -> Result<Vec<f32>> {
        let engine = self.engine().clone();
        let limit = self.longest_text() as usize;
        let ids = engine.text()?.tokenizer().encode_cut(text, limit)?;
        Ok(self.embed_ids(&ids)?.to_vec())
    }
}
