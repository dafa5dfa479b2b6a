//! Lines of a person -> a conversation, until there are no more lines.
//!
//! Invariant: one line that cannot be answered does not end the conversation: its reason is told on standard error, and
//! the conversation goes on as if it had not been said.

use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::path::Path;

use super::options::ChatArguments;
use super::run::{Failure, line, write_answer};
use super::speed::Speed;
use super::today::today;
use crate::error::{Error, Result};
use crate::generate::Finish;
use crate::regular;
use crate::sample::Sampling;
use crate::session::Session;
use crate::text::{ChatOptions, Message};

/// Bytes of a line at most, and of a file of messages, tools or documents.
const LONGEST_LINE: u64 = 16 << 20;

/// What the arguments say of how a conversation is written, with today's date.
///
/// # Errors
/// [`Error::Text`] for a file that cannot be read or a value that is none.
pub(super) fn chat_options(arguments: &ChatArguments) -> Result<ChatOptions> {
    let mut options = ChatOptions {
        date: Some(today()),
        template: arguments.template.clone(),
        ..ChatOptions::default()
    };
    let files = [
        ("tools", &arguments.tools),
        ("documents", &arguments.documents),
    ];
    for (name, path) in files {
        if let Some(path) = path {
            let set = options.variables.set(name, &read(path)?);
            set.map_err(|e| Error::text(path.display(), e))?;
        }
    }
    for (name, value) in &arguments.variables {
        options.variables.set_typed(name, value)?;
    }
    Ok(options)
}

/// The conversation of a file.
///
/// # Errors
/// [`Error::Text`] when it is none.
pub(super) fn messages(path: &Path) -> Result<Vec<Message>> {
    let messages = Message::parse_all(&read(path)?);
    messages.map_err(|e| Error::text(path.display(), e))
}

fn read(path: &Path) -> Result<String> {
    let wrong = |why: String| Error::text(path.display(), why);
    let bytes = regular::read_text(path, LONGEST_LINE).map_err(|e| wrong(regular::why(&e)))?;
    String::from_utf8(bytes).map_err(|e| wrong(format!("is not UTF-8: {e}")))
}

/// Answers line by line until the input ends.
pub(super) fn chat(
    session: &mut Session,
    options: &ChatOptions,
    sampling: &Sampling,
    mut input: impl BufRead,
    to: &mut impl Write,
    speed: &mut Speed,
) -> Result<(), Failure> {
    // A template that cannot be read would fail at every line.
    let text = session.engine().text()?;
    text.chat_template(options.template.as_deref())?.check()?;
    let asks = io::stdin().is_terminal();
    let mut messages = Vec::new();
    let mut failed = false;
    loop {
        if asks {
            let _ = write!(io::stderr(), "> ").and_then(|()| io::stderr().flush());
        }
        let said = match read_line(&mut input) {
            Ok(None) => break,
            Ok(Some(said)) if said.is_empty() => continue,
            Ok(Some(said)) => said,
            Err(error) => {
                tell(error)?;
                failed = true;
                continue;
            }
        };
        let before = messages.clone();
        messages.push(Message::user(said));
        match turn(session, &mut messages, options, sampling, to, speed) {
            Ok(()) => {}
            Err(Failure::Error(error)) => {
                tell(error)?;
                failed = true;
                messages = before;
            }
            Err(failure) => return Err(failure),
        }
    }
    if failed { Err(Failure::Told) } else { Ok(()) }
}

/// Answers the last message, after the oldest ones are dropped for which there is no room.
fn turn(
    session: &mut Session,
    messages: &mut Vec<Message>,
    options: &ChatOptions,
    sampling: &Sampling,
    to: &mut impl Write,
    speed: &mut Speed,
) -> Result<(), Failure> {
    let context = session.context();
    // An answer that is cut after a few words is of no use; a quarter is not too much for it.
    let room = sampling.max_tokens.min(context / 4);
    let dropped = session.fit_chat(messages, options, room)?;
    if !dropped.is_empty() {
        let count = dropped.len();
        let fill = format!("the conversation has outgrown its {context} tokens");
        note(&format!(
            "{fill}: its oldest {count} messages are forgotten"
        ));
        messages.drain(dropped);
    }
    let answer = speed.time(|| session.chat_with(messages, options, sampling.clone()));
    let (said, finish) = write_answer(answer, to)?;
    line(to, "")?;
    if finish == Some(Finish::Context) {
        note(&format!(
            "the answer is cut: {context} tokens are all there is room for"
        ));
    }
    messages.push(Message::assistant(said));
    Ok(())
}

/// Tells why a line has no answer; what every other line would meet, too, ends the conversation.
fn tell(error: Error) -> Result<(), Failure> {
    match error {
        Error::Text(_) | Error::Context { .. } | Error::Empty | Error::Token { .. } => {
            note(&format!("error: {error}"));
            Ok(())
        }
        other => Err(other.into()),
    }
}

/// Writes to standard error, if anybody listens.
fn note(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// The next line without its end; `None` at the end of the input. After an error the next line is the next one.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>> {
    let failed = |source| Error::Io {
        path: "standard input".to_owned(),
        source,
    };
    let wrong = |why: &str| Error::text("standard input", why);
    let mut bytes = Vec::new();
    input
        .by_ref()
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut bytes)
        .map_err(failed)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() as u64 == LONGEST_LINE && !bytes.ends_with(b"\n") {
        skip_line(input).map_err(failed)?;
        return Err(wrong("a line is too long"));
    }
    let line = String::from_utf8(bytes).map_err(|_| wrong("a line is not UTF-8"))?;
    Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Passes the rest of a line.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (length, end) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(length);
        if end {
            return Ok(());
        }
    }
}
