//! Messages -> the text of a conversation, as the model's own Jinja template writes it.
//!
//! A template is data from a checkpoint: it is bounded in steps and memory, and has no clock; who asks gives the date.

use super::config::TokenizerConfig;
use super::date::Date;
use super::jinja::{Fault, Template, Value};
use super::message::{ChatVariables, Message};
use super::templates::{DEFAULT_TEMPLATE, TemplateSource};
use crate::error::{Error, Result};

/// How a conversation is written.
///
/// ```
/// use gem_runtime::text::{ChatOptions, Date};
///
/// let options = ChatOptions { date: Some(Date::new(2024, 2, 29)?), ..ChatOptions::default() };
/// assert_eq!(options.template, None);
/// # Ok::<(), gem_runtime::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatOptions {
    /// What `strftime_now` of a template tells; without it a template that asks fails.
    pub date: Option<Date>,
    /// Name of the template, where the model has several; else the one called `default`.
    pub template: Option<String>,
    /// What the template sees beside the messages.
    pub variables: ChatVariables,
}

/// Bytes that a template may write around messages, beside [`TIMES`] their own. Every byte may become a token, which takes
/// hundreds of them.
const AROUND: usize = 1 << 20;

/// How often a template may write a message or a variable.
const TIMES: usize = 4;

/// A chat template. It is read when it is used, so that one that cannot be read harms conversations alone.
///
/// ```
/// use gem_runtime::text::{ChatTemplate, Message};
///
/// let template = ChatTemplate::new("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>");
/// let text = template.render(&[Message::user("Hello")], &Default::default(), &Default::default())?;
/// assert_eq!(text, "<user>Hello<assistant>");
/// # Ok::<(), gem_runtime::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    source: TemplateSource,
}

impl From<TemplateSource> for ChatTemplate {
    fn from(source: TemplateSource) -> Self {
        Self { source }
    }
}

impl ChatTemplate {
    /// A template by its text.
    pub fn new(text: impl Into<String>) -> Self {
        let source = TemplateSource {
            name: DEFAULT_TEMPLATE.to_owned(),
            file: "chat_template".to_owned(),
            text: Ok(text.into()),
        };
        Self { source }
    }

    /// Name by which templates and files call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The file it stands in.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.source.file
    }

    /// The template's text.
    ///
    /// # Errors
    /// [`Error::Text`] when there is none.
    pub fn text(&self) -> Result<&str> {
        let text = self.source.text.as_ref();
        text.map(String::as_str).map_err(|why| self.wrong(why))
    }

    /// Whether it can be read.
    ///
    /// # Errors
    /// [`Error::Text`], naming file and line.
    pub fn check(&self) -> Result<()> {
        self.parsed().map(|_| ())
    }

    /// Writes a conversation up to where the model's answer begins.
    ///
    /// Templates see what Hugging Face gives them: `messages`, `tools` and `documents` (none), `add_generation_prompt`
    /// (true), the special tokens that there are, and over these what the options say.
    ///
    /// # Errors
    /// [`Error::Text`] when the template cannot be read, fails, needs more steps or memory than it may, writes more than
    /// 1 MiB beside four times messages and variables, or refuses the messages.
    pub fn render(
        &self,
        messages: &[Message],
        tokens: &TokenizerConfig,
        options: &ChatOptions,
    ) -> Result<String> {
        let rendered = variables(messages, tokens, &options.variables)
            .and_then(|variables| self.parsed_as_fault()?.render(variables, options.date));
        let text = rendered.map_err(|fault| self.wrong(fault))?;
        let said: usize = messages.iter().map(Message::length).sum();
        let said = said.saturating_add(options.variables.length());
        let most = said.saturating_mul(TIMES).saturating_add(AROUND);
        if text.len() > most {
            return Err(self.wrong(format!("writes {} bytes, above {most}", text.len())));
        }
        Ok(text)
    }

    fn parsed(&self) -> Result<Template> {
        self.text()?;
        self.parsed_as_fault().map_err(|fault| self.wrong(fault))
    }

    fn parsed_as_fault(&self) -> Result<Template, Fault> {
        match &self.source.text {
            Ok(text) => Template::parse(text),
            Err(why) => Err(Fault::new(why.as_str())),
        }
    }

    fn wrong(&self, why: impl std::fmt::Display) -> Error {
        let file = self.file();
        let named = match self.name() {
            DEFAULT_TEMPLATE if file.contains("chat_template") => file.to_owned(),
            DEFAULT_TEMPLATE => format!("{file}: chat_template"),
            name => format!("{file}: chat template `{name}`"),
        };
        Error::text(named, why)
    }
}

/// What templates see.
fn variables<'n>(
    messages: &[Message],
    tokens: &'n TokenizerConfig,
    more: &'n ChatVariables,
) -> Result<Vec<(&'n str, Value)>, Fault> {
    let named = tokens.special_tokens.iter();
    let mut variables: Vec<(&str, Value)> = named
        .map(|(name, token)| (name.as_str(), token.as_str().into()))
        .collect();
    if !tokens.additional_special_tokens.is_empty() {
        let more = tokens.additional_special_tokens.iter();
        let more = Value::of_list(more.map(|token| token.as_str().into()).collect())?;
        variables.push(("additional_special_tokens", more));
    }
    let messages = messages
        .iter()
        .map(Message::value)
        .collect::<Result<_, _>>()?;
    variables.push(("messages", Value::of_list(messages)?));
    variables.push(("tools", Value::None));
    variables.push(("documents", Value::None));
    variables.push(("add_generation_prompt", Value::Bool(true)));
    variables.extend(more.values()?);
    Ok(variables)
}

/// The template of a name among several.
///
/// # Errors
/// [`Error::Text`], with the names that there are.
pub(super) fn choose<'t>(
    templates: &'t [ChatTemplate],
    wanted: Option<&str>,
) -> Result<&'t ChatTemplate> {
    if templates.is_empty() {
        return Err(Error::text("chat template", "the model has none"));
    }
    let name = wanted.unwrap_or(DEFAULT_TEMPLATE);
    let found = templates.iter().find(|template| template.name() == name);
    found.ok_or_else(|| {
        // Names come from files of anybody's making.
        let quoted = |template: &ChatTemplate| format!("{:?}", template.name());
        let names: Vec<String> = templates.iter().map(quoted).collect();
        let why = format!(
            "the model has none called {name:?}; it has {}",
            names.join(", ")
        );
        Error::text("chat template", why)
    })
}
