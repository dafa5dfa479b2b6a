//! Options and an engine -> text on a stream, piece by piece.

use std::io::{self, BufRead, ErrorKind, Write};

use serde_json::json;

use super::chat::{chat, chat_options, messages};
use super::check::check;
use super::speed::{Speed, Timed};
use super::{Mode, Options};
use crate::classify::{Label, TokenLabel};
use crate::error::{Error, Result};
use crate::generate::Finish;
use crate::info::Task;
use crate::model::{Engine, Model as _};
use crate::protocol;
use crate::sample::Sampling;
use crate::saturation_warning;
use crate::session::{Session, SessionOptions};
use crate::team::Team;
use crate::text::{GENERATION_CONFIG, Text};

/// Why a command did not get to its end.
#[derive(Debug)]
pub enum Failure {
    /// Nobody reads the output any more, which is fine.
    Unread,
    /// The output cannot be written.
    Output(io::Error),
    /// Lines of a conversation that could not be answered, each with its reason on standard error.
    Told,
    /// Anything else.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe => Self::Unread,
            other => Self::Error(other),
        }
    }
}

/// The result of writing output.
pub(super) fn output(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|e| match e.kind() {
        ErrorKind::BrokenPipe => Failure::Unread,
        _ => Failure::Output(e),
    })
}

/// Does what the options say: lines or requests come from `input`, everything that is asked for goes to `output`, and
/// every piece of text is flushed at once.
///
/// # Errors
/// [`Failure`].
pub fn run(
    engine: &Engine,
    options: &Options,
    input: impl BufRead,
    mut to: impl Write,
) -> Result<(), Failure> {
    if options.mode == Mode::Serve {
        return Ok(protocol::serve(engine, 0, input, to)?);
    }
    if options.mode == Mode::Check {
        return check(engine, options.json, &mut to);
    }
    let mut session = engine.session(SessionOptions {
        context: options.context,
        threads: options.threads,
    })?;
    if let Some(warning) = threads_warning(options.threads) {
        // Where nobody listens there is nobody to warn.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    let sampling = sampling(options, engine.text()?)?;
    let mut speed = Speed::default();
    let result = respond(&mut session, options, sampling, input, &mut to, &mut speed);
    for warning in [
        engine.weights().warning(),
        saturation_warning(session.saturated()),
    ]
    .into_iter()
    .flatten()
    {
        // Where nobody listens there is nobody to warn.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    if !options.quiet && matches!(result, Ok(()) | Err(Failure::Told)) {
        let told = speed.told(engine.weights().file_bytes(), session.memory());
        let _ = told.map(|line| writeln!(io::stderr(), "{line}"));
    }
    result
}

/// What is to be said of so many threads.
#[must_use]
pub fn threads_warning(threads: Option<usize>) -> Option<String> {
    let (asked, cores) = (threads?, Team::too_many(threads?)?);
    Some(format!(
        "--threads {asked}: {cores} run at once here, and more wait for one another; without --threads there are as many as pay"
    ))
}

/// Does what the mode says in a session.
fn respond(
    session: &mut Session,
    options: &Options,
    sampling: Sampling,
    input: impl BufRead,
    mut to: impl Write,
    speed: &mut Speed,
) -> Result<(), Failure> {
    match &options.mode {
        Mode::Prompt(prompt) => {
            let answer = speed.time(|| session.generate(prompt, sampling));
            whole_answer(answer, options.json, &mut to)
        }
        Mode::Messages(path) => {
            let (messages, chat) = (messages(path)?, chat_options(&options.chat)?);
            let answer = speed.time(|| session.chat_with(&messages, &chat, sampling));
            whole_answer(answer, options.json, &mut to)
        }
        Mode::Text(text) => {
            if session.engine().info().task == Task::TokenClassification {
                let labels = session.label_tokens(text)?;
                return write_token_labels(text, &labels, options.json, &mut to);
            }
            let labels = match &options.pair {
                Some(second) => session.classify_pair(text, second)?,
                None => session.classify(text)?,
            };
            write_labels(&labels, options.json, &mut to)
        }
        Mode::Embed(text) => {
            let vector = session.embed_as(options.prompt_name.as_deref(), text)?;
            let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
            let text = match options.json {
                true => format!("{{\"embedding\":[{}]}}", numbers.join(",")),
                false => numbers.join(" "),
            };
            line(&mut to, &text)
        }
        Mode::Chat => {
            let chat_options = chat_options(&options.chat)?;
            chat(session, &chat_options, &sampling, input, &mut to, speed)
        }
        Mode::Check | Mode::Serve => Ok(()),
    }
}

/// The options over the model's own; what is wrong is blamed on who asked for it.
pub(super) fn sampling(options: &Options, text: &Text) -> Result<Sampling> {
    let sampling = options.sampling.over(text.sampling());
    sampling.check().map_err(|e| {
        let own = options.sampling.over(&Sampling::default());
        match own.check() {
            Err(given) => given,
            Ok(()) => Error::text(GENERATION_CONFIG, e),
        }
    })?;
    Ok(sampling)
}

/// Writes a line, at once.
pub(super) fn line(to: &mut impl Write, text: &str) -> Result<(), Failure> {
    output(writeln!(to, "{text}").and_then(|()| to.flush()))
}

/// Writes an answer as it comes; the whole of it, and why it ended.
pub(super) fn write_answer(
    mut answer: Timed<'_, '_>,
    to: &mut impl Write,
) -> Result<(String, Option<Finish>), Failure> {
    let mut whole = String::new();
    for piece in &mut answer {
        let piece = piece?;
        if !piece.text.is_empty() {
            output(
                to.write_all(piece.text.as_bytes())
                    .and_then(|()| to.flush()),
            )?;
            whole.push_str(&piece.text);
        }
    }
    Ok((whole, answer.answer().finish()))
}

/// Writes an answer and the end of its line, or its JSON.
fn whole_answer(answer: Timed<'_, '_>, as_json: bool, to: &mut impl Write) -> Result<(), Failure> {
    if as_json {
        let answer = answer_json(answer)?;
        return line(to, &answer.to_string());
    }
    write_answer(answer, to)?;
    line(to, "")
}

fn answer_json(mut answer: Timed<'_, '_>) -> Result<serde_json::Value> {
    let (mut text, mut tokens, mut logprobs) = (String::new(), Vec::new(), Vec::new());
    for piece in &mut answer {
        let piece = piece?;
        text.push_str(&piece.text);
        tokens.push(piece.token);
        logprobs.push(piece.logprob);
    }
    Ok(json!({
        "text": text,
        "tokens": tokens,
        "logprobs": logprobs,
        "finish": answer.answer().finish().map(Finish::name),
    }))
}

/// A line for each token: score, label, where it stands, and its text.
fn write_token_labels(
    text: &str,
    labels: &[TokenLabel],
    as_json: bool,
    to: &mut impl Write,
) -> Result<(), Failure> {
    let of = |label: &TokenLabel| text.get(label.span.clone()).unwrap_or_default().to_owned();
    if as_json {
        let tokens: Vec<_> = labels
            .iter()
            .map(|label| {
                json!({"text": of(label), "start": label.span.start, "end": label.span.end,
                       "label": label.label, "score": label.score})
            })
            .collect();
        return line(to, &json!({ "tokens": tokens }).to_string());
    }
    for label in labels {
        let TokenLabel { span, score, .. } = label;
        let place = format!("{}..{}", span.start, span.end);
        let words = of(label);
        output(writeln!(
            to,
            "{score:.4}  {}  {place}  {words}",
            label.label
        ))?;
    }
    output(to.flush())
}

fn write_labels(labels: &[Label], as_json: bool, to: &mut impl Write) -> Result<(), Failure> {
    if as_json {
        let labels: Vec<_> = labels
            .iter()
            .map(|Label { label, score }| json!({"label": label, "score": score}))
            .collect();
        return line(to, &json!({ "labels": labels }).to_string());
    }
    for Label { label, score } in labels {
        output(writeln!(to, "{score:.4}  {label}"))?;
    }
    output(to.flush())
}
