//! What a model is: plain data that generated crates hold in statics and the interpreter makes at run time.

use alloc::borrow::Cow;

use crate::abi::MAX_CONTEXT;
use crate::error::{Error, Result};
use crate::simd::Level;

/// A name: a literal in generated code.
pub type Name = Cow<'static, str>;

/// Names in order.
pub type Names = Cow<'static, [Name]>;

/// What a model is for.
///
/// ```
/// use gem_runtime::Task;
///
/// assert_eq!(Task::SequenceClassification.name(), "classification");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Logits of the next token.
    CausalLm,
    /// Logits of the labels of a whole text.
    SequenceClassification,
    /// Logits of the labels of every token of a whole text.
    TokenClassification,
    /// A vector for a whole text.
    Embedding,
}

impl Task {
    /// Name, as in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CausalLm => "next-token prediction",
            Self::SequenceClassification => "classification",
            Self::TokenClassification => "classification of tokens",
            Self::Embedding => "embedding",
        }
    }
}

/// What the scores of labels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelScore {
    /// Probabilities of one of them.
    Softmax,
    /// The probability of each by itself.
    Sigmoid,
    /// The logits.
    Identity,
}

/// What a model's makers agreed on between texts and ids, and between logits and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conventions {
    /// Types of tokens that the model tells apart, 1 or 2. Where there are two, the tokens of the second text of a pair have ids
    /// that are `vocab_size` higher.
    pub token_types: u32,
    /// What the scores of labels are.
    pub score: LabelScore,
    /// Whether the rows of a prompt are pooled with those of the text behind it.
    pub pools_prompt: bool,
}

impl Conventions {
    /// All of them as one number: token types, what scores of labels are, whether rows of a prompt are pooled, from the lowest
    /// byte on. Tables of linked objects have it.
    #[must_use]
    pub const fn word(self) -> u32 {
        let score = match self.score {
            LabelScore::Softmax => 0,
            LabelScore::Sigmoid => 1,
            LabelScore::Identity => 2,
        };
        self.token_types | score << 8 | (self.pools_prompt as u32) << 16
    }

    /// What a number says.
    ///
    /// # Errors
    /// [`Error::Program`] for one that [`Conventions::word`] does not make.
    pub fn of_word(word: u32) -> Result<Self> {
        let score = match word >> 8 & 0xff {
            0 => LabelScore::Softmax,
            1 => LabelScore::Sigmoid,
            2 => LabelScore::Identity,
            _ => return Err(Error::Program("unknown scores of labels")),
        };
        let token_types = word & 0xff;
        if !(1..=2).contains(&token_types) || word >> 17 != 0 {
            return Err(Error::Program("unknown conventions"));
        }
        Ok(Self {
            token_types,
            score,
            pools_prompt: word >> 16 & 1 == 1,
        })
    }

    /// Nothing special.
    pub const PLAIN: Self = Self {
        token_types: 1,
        score: LabelScore::Softmax,
        pools_prompt: true,
    };
}

/// Facts about a compiled model.
///
/// ```
/// use gem_runtime::Model;
///
/// /// One line about any model.
/// fn about(model: &impl Model) -> String {
///     let info = model.info();
///     format!("{}: {}, {:.2} bits per weight", info.name, info.task.name(), info.bits_per_weight)
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Name of the label or domain.
    pub name: Name,
    /// What it is for.
    pub task: Task,
    /// The device it was compiled for.
    pub target: Name,
    /// The CPU level it needs.
    pub level: Level,
    /// Token ids are below this.
    pub vocab_size: u32,
    /// Width of a row.
    pub hidden_size: u32,
    /// Positions are below this.
    pub max_positions: u32,
    /// Names of the domains, one per module; empty for a dense model.
    pub domains: Names,
    /// Names of the labels, by index; empty for what is no classifier.
    pub labels: Names,
    /// Width of a text's vector; 0 for what gives none.
    pub embedding: u32,
    /// What stands between texts and ids, and between logits and answers.
    pub conventions: Conventions,
    /// Bits per quantised weight: codes and block scales.
    pub bits_per_weight: f64,
    /// Bytes of weights that kernels read, without padding.
    pub weight_bytes: u64,
    /// Hash of the plan, which its weight file carries too.
    pub plan_hash: [u8; 32],
    /// Digest of what stands where in its weight file, which carries it too: [`crate::file::layout_digest`].
    pub layout: u64,
    /// Put before a prompt.
    pub bos: Option<u32>,
    /// Each of them ends a text.
    pub eos: Cow<'static, [u32]>,
}

impl ModelInfo {
    /// Ids that steps take are below: [`Conventions::token_types`] times the vocabulary.
    #[must_use]
    pub fn ids(&self) -> u32 {
        self.vocab_size.saturating_mul(self.conventions.token_types)
    }

    /// Numbers per output: logits of all tokens or of all labels, or a text's vector.
    #[must_use]
    pub fn output_width(&self) -> u64 {
        match self.task {
            Task::CausalLm => u64::from(self.vocab_size),
            Task::SequenceClassification | Task::TokenClassification => self.labels.len() as u64,
            Task::Embedding => u64::from(self.embedding),
        }
    }

    /// The most positions a sequence can have room for, when a step has at most `max_rows` rows.
    #[must_use]
    pub fn most_positions(&self, max_rows: u32) -> u32 {
        let most = match self.task {
            Task::CausalLm => self.max_positions,
            // A text is one step, so that more room would never be used.
            Task::SequenceClassification | Task::TokenClassification | Task::Embedding => {
                self.max_positions.min(max_rows)
            }
        };
        most.min(MAX_CONTEXT)
    }
}
