//! A text -> the labels of a classifier with their scores, best first; or the vector of an encoder.

use crate::error::Result;
use crate::sample::softmax;
use crate::session::Session;

/// One label of a classification.
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
