//! Tokenizer and what the files beside it say -> [`Text`].

use std::path::Path;

use super::config::{TextConfig, TokenizerConfig};
use super::files::{
    GENERATION_CONFIG, SENTENCE_CONFIG, TOKENIZER, TOKENIZER_CONFIG, TextFiles, TextFolder, Wrong,
};
use super::prompts::Prompts;
#[cfg(feature = "chat")]
use super::{ChatOptions, ChatTemplate, Message, chat};
use super::{Detokenizer, Tokenizer};
use crate::error::{Error, Result};
use crate::sample::Sampling;

/// All that a model needs to read and write text.
///
/// ```
/// use gem_runtime::text::{Text, TextFiles};
///
/// let json = r#"{"version":"1.0","model":{"type":"WordLevel","vocab":{"?":0,"red":1,"fox":2},"unk_token":"?"},
///     "pre_tokenizer":{"type":"Whitespace"}}"#;
/// let files = TextFiles { tokenizer: json.as_bytes(), ..TextFiles::default() };
/// let text = Text::new(&files, 3)?;
/// assert_eq!(text.tokenizer().id("fox"), Some(2));
/// # Ok::<(), gem_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Text {
    tokenizer: Tokenizer,
    tokens: TokenizerConfig,
    eos: Vec<u32>,
    sampling: Sampling,
    prompts: Prompts,
    #[cfg(feature = "chat")]
    chat: Vec<ChatTemplate>,
}

impl Text {
    /// Reads the files' contents, for a model with so many token ids.
    ///
    /// A chat template that cannot be read is told when a chat asks for it; sampling defaults that are out of range,
    /// when they are used.
    ///
    /// # Errors
    /// [`Error::Text`], naming the files and what is wrong with them.
    pub fn new(files: &TextFiles<'_>, vocab_size: u32) -> Result<Self> {
        let tokenizer = Tokenizer::new(files.tokenizer, vocab_size)?;
        let config = TextConfig::new(files, vocab_size).map_err(|wrong| listed(&wrong))?;
        Ok(Self::of(tokenizer, config))
    }

    /// Joins a tokenizer with what the files beside it say, both for the same vocabulary.
    fn of(tokenizer: Tokenizer, config: TextConfig) -> Self {
        let TextConfig {
            tokens,
            generation,
            templates,
            prompts,
        } = config;
        let mut eos = generation.eos_token_ids;
        let named = tokens.special_token("eos_token");
        eos.extend(named.and_then(|token| tokenizer.id(token)));
        eos.sort_unstable();
        eos.dedup();
        #[cfg(not(feature = "chat"))]
        drop(templates);
        Self {
            tokenizer,
            tokens,
            eos,
            sampling: generation.sampling,
            prompts,
            #[cfg(feature = "chat")]
            chat: templates.into_iter().map(ChatTemplate::from).collect(),
        }
    }

    /// Reads the files of a folder; `None` when there is no `tokenizer.json`.
    ///
    /// # Errors
    /// As of [`Text::new`]; for a file that cannot be read.
    pub fn open(dir: &Path, vocab_size: u32) -> Result<Option<Self>> {
        let folder = TextFolder::read(dir)
            .map_err(|wrong| Error::text(dir.join(&wrong.file).display(), &wrong.what))?;
        Self::of_folder(&folder, vocab_size)
    }

    /// The same of a folder that has been read.
    ///
    /// # Errors
    /// As of [`Text::new`].
    pub fn of_folder(folder: &TextFolder, vocab_size: u32) -> Result<Option<Self>> {
        let Some(tokenizer) = folder.get(TOKENIZER) else {
            return Ok(None);
        };
        let files = TextFiles {
            tokenizer,
            tokenizer_config: folder.get(TOKENIZER_CONFIG),
            generation_config: folder.get(GENERATION_CONFIG),
            sentence_config: folder.get(SENTENCE_CONFIG),
            chat_templates: &folder.chat_templates(),
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
        self.tokens.special_token("bos_token")
    }

    /// What ends a text, as text.
    #[must_use]
    pub fn eos_token(&self) -> Option<&str> {
        self.tokens.special_token("eos_token")
    }

    /// Ids that end a text, ascending.
    #[must_use]
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// How the model's makers want tokens chosen. Where they want what is out of range, [`Sampling::check`] tells.
    #[must_use]
    pub const fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// What stands before the texts that an encoder is given, for each kind of text.
    #[must_use]
    pub const fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// The chat templates; most models have one, or none.
    #[cfg(feature = "chat")]
    #[must_use]
    pub fn chat_templates(&self) -> &[ChatTemplate] {
        &self.chat
    }

    /// The chat template of a name, else the one called `default`.
    ///
    /// # Errors
    /// [`Error::Text`] when there is none, with the names of those that there are.
    #[cfg(feature = "chat")]
    pub fn chat_template(&self, name: Option<&str>) -> Result<&ChatTemplate> {
        chat::choose(&self.chat, name)
    }

    /// The chat template that options ask for: that of their name; with tools that called `tool_use`, if there is one; else
    /// `default`.
    ///
    /// # Errors
    /// As [`Text::chat_template`].
    #[cfg(feature = "chat")]
    pub fn chat_template_for(&self, options: &ChatOptions) -> Result<&ChatTemplate> {
        const TOOLS: &str = "tool_use";
        let tools = options.variables.has("tools");
        let own = self.chat.iter().any(|template| template.name() == TOOLS);
        match &options.template {
            None if tools && own => self.chat_template(Some(TOOLS)),
            name => self.chat_template(name.as_deref()),
        }
    }

    /// Ids of a conversation, up to where the model's answer begins.
    ///
    /// # Errors
    /// [`Error::Text`] without such a chat template, or when it cannot be read, fails or refuses the messages.
    #[cfg(feature = "chat")]
    pub fn encode_chat(&self, messages: &[Message], options: &ChatOptions) -> Result<Vec<u32>> {
        let template = self.chat_template_for(options)?;
        let text = template.render(messages, &self.tokens, options)?;
        // The template writes the special tokens itself.
        self.tokenizer.encode_plain(&text)
    }
}

/// Everything that is wrong, as one error.
fn listed(wrong: &[Wrong]) -> Error {
    let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Error::Text(lines.join("\n"))
}

/// Reads whatever is given as each of the files, and uses what came of it; for fuzzing.
pub fn fuzz_text(bytes: &[u8]) {
    const VOCAB: u32 = 4096;
    let files = TextFiles {
        tokenizer: &[],
        tokenizer_config: Some(bytes),
        generation_config: Some(bytes),
        sentence_config: Some(bytes),
        chat_templates: &[("chat_template.json", bytes)],
    };
    let _ = TextConfig::new(&files, VOCAB);
    if let Ok(tokenizer) = Tokenizer::new(bytes, VOCAB) {
        let _ = tokenizer.encode("Ab 1 \u{e9}\u{1f600}");
        let _ = tokenizer.encode_cut("Ab 1 \u{e9}\u{1f600}", 3);
        let mut stream = Detokenizer::new(&tokenizer, &[]);
        for id in (0..VOCAB).step_by(97) {
            let _ = stream.push(id);
        }
    }
    #[cfg(feature = "chat")]
    if let Ok(source) = core::str::from_utf8(bytes) {
        let messages = [Message::user("hello")];
        let template = ChatTemplate::new(source);
        let _ = template.render(
            &messages,
            &TokenizerConfig::default(),
            &ChatOptions::default(),
        );
        if let Ok(messages) = Message::parse_all(source) {
            let mut options = ChatOptions::default();
            let _ = options.variables.set_all(source);
            let _ = ChatTemplate::new("{{ messages }}{{ messages | tojson }}").render(
                &messages,
                &TokenizerConfig::default(),
                &options,
            );
        }
    }
}
