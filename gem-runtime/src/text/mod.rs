//! The files beside a model's weights -> [`Text`]: tokenizer, chat template, how texts end, sampling defaults.
//!
//! Invariant: every token id a `Text` names is below the vocabulary size it was made for.

#[cfg(feature = "chat")]
mod chat;
mod config;
mod stop;
mod stream;
mod tokenizer;

use std::path::Path;

use crate::error::{Error, Result};
use crate::regular;
use crate::sample::Sampling;

#[cfg(feature = "chat")]
pub use chat::{ChatTemplate, Message};
pub(crate) use stop::{Found, StopFilter};
pub use stream::Detokenizer;
pub use tokenizer::Tokenizer;

/// Name of the tokenizer's file.
pub const TOKENIZER: &str = "tokenizer.json";
/// Name of the file with special tokens and chat template.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Name of the file with sampling defaults.
pub const GENERATION_CONFIG: &str = "generation_config.json";

/// Bytes of a tokenizer at most.
const LONGEST_TOKENIZER: u64 = 256 << 20;
/// Bytes of one of the other files at most.
const LONGEST_CONFIG: u64 = 4 << 20;

/// Contents of the files; the last two may be missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextFiles<'a> {
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<&'a [u8]>,
    /// `generation_config.json`.
    pub generation_config: Option<&'a [u8]>,
}

/// All that a model needs to read and write text.
#[derive(Debug)]
pub struct Text {
    tokenizer: Tokenizer,
    bos_token: Option<String>,
    eos_token: Option<String>,
    eos: Vec<u32>,
    sampling: Sampling,
    #[cfg(feature = "chat")]
    chat: Option<ChatTemplate>,
}

impl Text {
    /// Reads the files' contents, for a model with so many token ids.
    ///
    /// # Errors
    /// [`Error::Text`], naming the file and what is wrong with it.
    pub fn new(files: &TextFiles<'_>, vocab_size: u32) -> Result<Self> {
        let tokenizer = Tokenizer::new(files.tokenizer, vocab_size)?;
        let tokens = config::tokens(files.tokenizer_config)?;
        let generation = config::generation(files.generation_config)?;
        let mut eos = generation.eos;
        if let Some(id) = eos.iter().find(|id| **id >= vocab_size) {
            let why = format!("`eos_token_id` {id} is outside the vocabulary of {vocab_size}");
            return Err(Error::text(GENERATION_CONFIG, why));
        }
        let named = tokens.eos.as_deref();
        eos.extend(named.and_then(|token| tokenizer.id(token)));
        eos.sort_unstable();
        eos.dedup();
        Ok(Self {
            tokenizer,
            eos,
            sampling: generation.sampling,
            #[cfg(feature = "chat")]
            chat: tokens.chat_template.map(ChatTemplate::new).transpose()?,
            bos_token: tokens.bos,
            eos_token: tokens.eos,
        })
    }

    /// Reads the files of a folder; `None` when there is no `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Io`], and as of [`Text::new`].
    pub fn open(dir: &Path, vocab_size: u32) -> Result<Option<Self>> {
        let Some(tokenizer) = read(&dir.join(TOKENIZER), LONGEST_TOKENIZER)? else {
            return Ok(None);
        };
        let tokenizer_config = read(&dir.join(TOKENIZER_CONFIG), LONGEST_CONFIG)?;
        let generation_config = read(&dir.join(GENERATION_CONFIG), LONGEST_CONFIG)?;
        let files = TextFiles {
            tokenizer: &tokenizer,
            tokenizer_config: tokenizer_config.as_deref(),
            generation_config: generation_config.as_deref(),
        };
        Self::new(&files, vocab_size).map(Some)
    }

    /// Text to ids and back.
    #[must_use]
    pub const fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What begins a text, as text.
    #[must_use]
    pub fn bos_token(&self) -> Option<&str> {
        self.bos_token.as_deref()
    }

    /// What ends a text, as text.
    #[must_use]
    pub fn eos_token(&self) -> Option<&str> {
        self.eos_token.as_deref()
    }

    /// Ids that end a text, ascending.
    #[must_use]
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// How the model's makers want tokens chosen.
    #[must_use]
    pub const fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// The chat template, if there is one.
    #[cfg(feature = "chat")]
    #[must_use]
    pub const fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    /// Ids of a conversation, up to where the model's answer begins.
    ///
    /// # Errors
    /// [`Error::Text`] without a chat template, or when it refuses the messages.
    #[cfg(feature = "chat")]
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let Some(chat) = &self.chat else {
            let why = "the model has none";
            return Err(Error::text("chat template", why));
        };
        let bos = self.bos_token().unwrap_or_default();
        let eos = self.eos_token().unwrap_or_default();
        // The template writes the special tokens itself.
        self.tokenizer
            .encode_plain(&chat.render(messages, bos, eos)?)
    }
}

/// Reads a file of at most so many bytes; `None` when there is none.
fn read(path: &Path, longest: u64) -> Result<Option<Vec<u8>>> {
    regular::read_text_if_there(path, longest).map_err(|e| Error::io(path, e))
}

/// Reads whatever is given as each of the files, and uses what came of it; for fuzzing.
pub fn fuzz_text(bytes: &[u8]) {
    const VOCAB: u32 = 4096;
    let _ = config::tokens(Some(bytes));
    let _ = config::generation(Some(bytes));
    if let Ok(tokenizer) = Tokenizer::new(bytes, VOCAB) {
        let _ = tokenizer.encode("Ab 1 \u{e9}\u{1f600}");
        let _ = tokenizer.encode_cut("Ab 1 \u{e9}\u{1f600}", 3);
        let mut stream = Detokenizer::new(&tokenizer, &[]);
        for id in (0..VOCAB).step_by(97) {
            let _ = stream.push(id);
        }
    }
    #[cfg(feature = "chat")]
    if let Ok(source) = core::str::from_utf8(bytes)
        && let Ok(template) = ChatTemplate::new(source.to_owned())
    {
        let _ = template.render(&[Message::user("hello")], "<s>", "</s>");
    }
}
