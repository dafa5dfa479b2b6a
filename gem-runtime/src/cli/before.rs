//! Options, and what is known of a model before there is an engine -> whether they go together: what would be refused
//! after minutes of making weights is refused at once.

use super::chat::{chat_options, messages};
use super::run::sampling;
use super::{Mode, Options};
use crate::abi::ProgramShape;
use crate::error::{Error, Result};
use crate::info::{ModelInfo, Task};
use crate::session;
use crate::team::Team;
use crate::text::Text;

/// Checks everything that [`super::run`] refuses without a step of the model.
///
/// # Errors
/// As of [`super::run`].
pub fn check(
    info: &ModelInfo,
    shape: &ProgramShape,
    text: Option<&Text>,
    options: &Options,
) -> Result<()> {
    if matches!(options.mode, Mode::Serve | Mode::Check) {
        return Ok(());
    }
    let context = session::context(info, shape, options.context)?;
    Team::check(options.threads)?;
    let text = text.ok_or_else(|| Error::text(&info.name, "the model has no tokenizer"))?;
    sampling(options, text)?;
    let (asked, task) = match &options.mode {
        Mode::Text(_) if options.pair.is_some() => {
            ("classify a pair of texts", Task::SequenceClassification)
        }
        Mode::Text(_) if info.task == Task::TokenClassification => ("", info.task),
        Mode::Text(_) => ("classify a text", Task::SequenceClassification),
        Mode::Embed(_) => ("embed a text", Task::Embedding),
        _ => ("continue a text", Task::CausalLm),
    };
    session::check_task(info, task, asked)?;
    match &options.mode {
        Mode::Prompt(prompt) if prompt.is_empty() => Err(Error::Empty),
        Mode::Prompt(prompt) => fits(text.tokenizer().encode(prompt)?.len(), context),
        Mode::Chat => {
            let chat = chat_options(&options.chat)?;
            text.chat_template_for(&chat)?.check()
        }
        Mode::Messages(path) => {
            let ids = text.encode_chat(&messages(path)?, &chat_options(&options.chat)?)?;
            fits(ids.len(), context)
        }
        Mode::Embed(_) => text
            .prompts()
            .text(options.prompt_name.as_deref())
            .map(|_| ()),
        Mode::Text(_) | Mode::Check | Mode::Serve => Ok(()),
    }
}

fn fits(tokens: usize, limit: u32) -> Result<()> {
    match tokens as u64 {
        0 => Err(Error::Empty),
        needed if needed > u64::from(limit) => Err(Error::Context { needed, limit }),
        _ => Ok(()),
    }
}
