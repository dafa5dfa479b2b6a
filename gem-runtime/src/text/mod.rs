//! The files beside a model's weights -> [`Text`]: tokenizer, chat templates, how texts end, sampling defaults.
//!
//! What the files say is read here for the compiler, too (feature `config`), so that there is one reader of them.
//!
//! Invariant: every token id a `Text` names is below the vocabulary size it was made for.

#[cfg(feature = "chat")]
mod chat;
mod config;
#[cfg(feature = "chat")]
mod date;
mod files;
#[cfg(feature = "chat")]
mod jinja;
#[cfg(feature = "chat")]
mod message;
#[cfg(feature = "tokenizer")]
mod model_text;
mod prompts;
#[cfg(feature = "tokenizer")]
mod stop;
#[cfg(feature = "tokenizer")]
mod stream;
mod templates;
#[cfg(feature = "tokenizer")]
mod tokenizer;

#[cfg(feature = "chat")]
pub use chat::{ChatOptions, ChatTemplate};
pub use config::{GenerationConfig, TextConfig, TokenizerConfig};
#[cfg(feature = "chat")]
pub use date::Date;
pub use files::{
    CHAT_TEMPLATE, GENERATION_CONFIG, MORE_CHAT_TEMPLATES, SENTENCE_CONFIG, TOKENIZER,
    TOKENIZER_CONFIG, TextFiles, TextFolder, Wrong, is_chat_template,
};
#[cfg(feature = "chat")]
pub use message::{ChatVariables, Message};
#[cfg(feature = "tokenizer")]
pub use model_text::{Text, fuzz_text};
pub use prompts::Prompts;
#[cfg(feature = "tokenizer")]
pub(crate) use stop::{StopFilter, StopMatch};
#[cfg(feature = "tokenizer")]
pub use stream::Detokenizer;
pub use templates::{DEFAULT_TEMPLATE, TemplateSource};
#[cfg(feature = "tokenizer")]
pub use tokenizer::{Piece, Tokenizer, hide_caught_panics};
