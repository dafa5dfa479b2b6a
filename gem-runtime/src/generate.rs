//! A prompt -> pieces of text, one per chosen token, from a session.
//!
//! Invariant: the pieces' texts, joined, are what the chosen tokens say up to the end of the answer: no part of a
//! character, no special token, no stop string. Each piece stands for exactly one chosen token.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::sample::{Sampler, Sampling, logprob};
use crate::session::Session;
#[cfg(feature = "chat")]
use crate::text::{ChatOptions, Message};
use crate::text::{Detokenizer, StopFilter, StopMatch, Text};

/// What one chosen token adds to the text.
///
/// ```
/// use gem_runtime::{Result, Sampling, Session};
///
/// /// An answer, and how probable the model found it.
/// fn answer(session: &mut Session, prompt: &str) -> Result<(String, f32)> {
///     let (mut text, mut sum) = (String::new(), 0.0);
///     for piece in session.generate(prompt, Sampling::default()) {
///         let piece = piece?;
///         text += &piece.text;
///         sum += piece.logprob;
///     }
///     Ok((text, sum))
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Text that is certain now: empty while a character or a possible stop string is incomplete.
    pub text: String,
    /// Id of the token that the text belongs to.
    pub token: u32,
    /// Natural logarithm of its probability before any sampling option.
    pub logprob: f32,
}

/// Why an answer ended.
///
/// ```
/// assert_eq!(gem_runtime::Finish::Length.name(), "length");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model chose a token that ends a text; it is the last piece's.
    End,
    /// A stop string came up.
    Stop,
    /// As many tokens as were asked for.
    Length,
    /// The session has no room for more.
    Context,
    /// Its [`Cancel`](crate::Cancel) handle stopped it, in the prompt or later; [`Session::position`] says how many tokens
    /// the session took, and text that a stop string might have begun with is not told.
    Cancelled,
}

impl Finish {
    /// Name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Context => "context",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Session {
    /// Continues a text. In a session that holds nothing the prompt is the start of a text, with the special tokens that
    /// belong there; otherwise it is appended to what the session holds. The session ends up holding the prompt and all
    /// chosen tokens but the last. With `max_tokens` 0 nothing is chosen, and the session stays as it is.
    ///
    /// Whatever goes wrong is the first piece: [`Error::Empty`] for an empty prompt, [`Error::Context`] for one that is
    /// too long, [`Error::Options`], [`Error::Text`], [`Error::Task`]. [`Error::Logits`] may come at any piece.
    pub fn generate(&mut self, prompt: &str, sampling: Sampling) -> Generation<'_> {
        let start = sampling.check().and_then(|()| self.prompt(prompt));
        Generation::new(self, start, sampling)
    }

    /// Answers a conversation. Of what the session holds, the common start with this conversation is kept, so that
    /// every turn of a growing conversation costs only what is new; the rest is forgotten. Settings that are out of range
    /// leave the session as it was.
    ///
    /// What goes wrong is the first piece, as in [`Session::generate`].
    ///
    /// ```
    /// use gem_runtime::text::Message;
    /// use gem_runtime::{Result, Sampling, Session};
    ///
    /// fn ask(session: &mut Session, conversation: &mut Vec<Message>, question: &str) -> Result<()> {
    ///     conversation.push(Message::user(question));
    ///     let mut answer = String::new();
    ///     for piece in session.chat(conversation, Sampling::default()) {
    ///         answer += &piece?.text;
    ///     }
    ///     conversation.push(Message::assistant(answer));
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "chat")]
    pub fn chat(&mut self, messages: &[Message], sampling: Sampling) -> Generation<'_> {
        self.chat_with(messages, &ChatOptions::default(), sampling)
    }

    /// [`Session::chat`] with a date, a template by its name, or variables of the template.
    ///
    /// What goes wrong is the first piece, as in [`Session::generate`].
    #[cfg(feature = "chat")]
    pub fn chat_with(
        &mut self,
        messages: &[Message],
        options: &ChatOptions,
        sampling: Sampling,
    ) -> Generation<'_> {
        let checked = sampling.check();
        let start = checked.and_then(|()| self.conversation(messages, options));
        Generation::new(self, start, sampling)
    }

    /// Which messages to leave out so that a conversation fits, with room for an answer of `room` tokens, or for one
    /// token where that is too much: the oldest turns after the system's messages, as few as will do. A turn is a
    /// message of the user with what follows it; the last turn always stays. Empty where everything fits.
    ///
    /// A caller that keeps a conversation drains the range from it, and says so to its user.
    ///
    /// # Errors
    /// [`Error::Context`] when the last turn alone does not fit, and as of [`Text::encode_chat`].
    #[cfg(feature = "chat")]
    pub fn fit_chat(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        room: u32,
    ) -> Result<std::ops::Range<usize>> {
        let text = self.engine().text()?;
        let begin = messages.iter().take_while(|m| m.role() == "system").count();
        let later = (begin + 1..messages.len()).filter(|at| messages[*at].role() == "user");
        let turns: Vec<usize> = [begin].into_iter().chain(later).collect();
        let tokens = |end: usize| -> Result<u64> {
            let kept = [&messages[..begin], &messages[end..]].concat();
            Ok(text.encode_chat(&kept, options)?.len() as u64)
        };
        let last = turns.len() - 1;
        let least = tokens(turns[last])?;
        let limit = u64::from(self.context());
        if least > limit {
            return Err(Error::Context {
                needed: least,
                limit: self.context(),
            });
        }
        // The last token of an answer is not held.
        let most = limit - (u64::from(room).saturating_sub(1)).min(limit - least);
        if tokens(begin)? <= most {
            return Ok(begin..begin);
        }
        // The more turns are left out, the fewer tokens are left.
        let (mut fits, mut fails) = (last, 0);
        while fits - fails > 1 {
            let middle = usize::midpoint(fits, fails);
            if tokens(turns[middle])? <= most {
                fits = middle;
            } else {
                fails = middle;
            }
        }
        Ok(begin..turns[fits])
    }

    fn prompt(&self, prompt: &str) -> Result<Start> {
        let text = Arc::clone(self.engine().shared_text()?);
        if prompt.is_empty() {
            return Err(Error::Empty);
        }
        let tokenizer = text.tokenizer();
        let input = if self.position() == 0 {
            tokenizer.encode(prompt)?
        } else {
            tokenizer.encode_plain(prompt)?
        };
        Ok(Start { text, input })
    }

    #[cfg(feature = "chat")]
    fn conversation(&mut self, messages: &[Message], options: &ChatOptions) -> Result<Start> {
        let text = Arc::clone(self.engine().shared_text()?);
        let mut input = text.encode_chat(messages, options)?;
        let held = self.tokens().iter().zip(&input);
        let common = held.take_while(|(a, b)| a == b).count();
        // At least one token must be new: its logits begin the answer.
        let kept = common.min(input.len().saturating_sub(1));
        let room = input.len() as u64 <= u64::from(self.context());
        if room {
            self.truncate(kept as u32);
            input.drain(..kept);
        } else {
            return Err(Error::Context {
                needed: input.len() as u64,
                limit: self.context(),
            });
        }
        Ok(Start { text, input })
    }
}

/// Where an answer begins.
struct Start {
    text: Arc<Text>,
    input: Vec<u32>,
}

/// An answer in the making: an iterator over its pieces.
///
/// ```
/// use gem_runtime::{Result, Sampling, Session};
///
/// /// An answer as it comes, with what the prompt cost.
/// fn stream(session: &mut Session, prompt: &str) -> Result<()> {
///     let mut answer = session.generate(prompt, Sampling::default());
///     for piece in &mut answer {
///         print!("{}", piece?.text);
///     }
///     println!("\n{} tokens read; ended by {:?}", answer.prompt_tokens(), answer.finish());
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Generation<'s> {
    session: &'s mut Session,
    state: State,
    /// Tokens that the first step computes.
    prompt: u32,
}

#[derive(Debug)]
enum State {
    Running(Box<Run>),
    Failed(Option<Error>),
    Finished(Finish),
}

/// What an answer needs beside its session.
#[derive(Debug)]
struct Run {
    text: Arc<Text>,
    sampler: Sampler,
    stream: Detokenizer,
    stops: StopFilter,
    /// The sequence so far, for the repetition penalty.
    history: Vec<u32>,
    /// What the session has not seen yet.
    input: Vec<u32>,
    left: u32,
}

impl<'s> Generation<'s> {
    fn new(session: &'s mut Session, start: Result<Start>, sampling: Sampling) -> Self {
        // What is no prompt has none; one that is longer than a session is refused by its first step.
        let tokens = start.as_ref().map_or(0, |start| start.input.len());
        let prompt = u32::try_from(tokens).unwrap_or(u32::MAX);
        let state = match start.and_then(|start| Run::new(session, start, sampling)) {
            Ok(run) if run.left == 0 => State::Finished(Finish::Length),
            Ok(run) => State::Running(Box::new(run)),
            Err(e) => State::Failed(Some(e)),
        };
        Self {
            session,
            state,
            prompt,
        }
    }

    /// Tokens that the session computes before the first piece: those of the prompt, without what it held already.
    #[must_use]
    pub const fn prompt_tokens(&self) -> u32 {
        self.prompt
    }

    /// Why the answer ended; `None` before its end, and after an error.
    #[must_use]
    pub const fn finish(&self) -> Option<Finish> {
        match self.state {
            State::Finished(finish) => Some(finish),
            _ => None,
        }
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        let run = match &mut self.state {
            State::Running(run) => run,
            State::Failed(error) => return error.take().map(Err),
            State::Finished(_) => return None,
        };
        match run.step(self.session) {
            Ok((piece, None)) => Some(Ok(piece)),
            Ok((piece, Some(finish))) => {
                self.state = State::Finished(finish);
                Some(Ok(piece))
            }
            Err(Error::Cancelled { .. }) => {
                self.state = State::Finished(Finish::Cancelled);
                None
            }
            Err(e) => {
                self.state = State::Failed(None);
                Some(Err(e))
            }
        }
    }
}

impl core::iter::FusedIterator for Generation<'_> {}

impl Run {
    fn new(session: &Session, start: Start, sampling: Sampling) -> Result<Self> {
        let Start { text, input } = start;
        let history = [session.tokens(), &input[..]].concat();
        Ok(Self {
            stream: Detokenizer::new(text.tokenizer(), &history),
            text,
            stops: StopFilter::new(&sampling.stop),
            left: sampling.max_tokens,
            sampler: Sampler::new(sampling)?,
            history,
            input,
        })
    }

    /// Chooses one token.
    fn step(&mut self, session: &mut Session) -> Result<(Piece, Option<Finish>)> {
        let logits = session.forward(&self.input)?;
        let token = self.sampler.next(logits, &self.history)?;
        let logprob = logprob(logits, token)?;
        self.history.push(token);
        self.input.clear();
        self.input.push(token);
        self.left -= 1;
        let (text, finish) = self.read(token, session)?;
        let piece = Piece {
            text,
            token,
            logprob,
        };
        Ok((piece, finish))
    }

    /// The text that is certain with one more token, and whether it is the last one.
    fn read(&mut self, token: u32, session: &Session) -> Result<(String, Option<Finish>)> {
        if session.engine().info().eos.contains(&token) || self.text.eos().contains(&token) {
            return Ok((self.stops.finish(), Some(Finish::End)));
        }
        let new = self.stream.push(token)?;
        let mut text = match self.stops.push(&new) {
            StopMatch::Stop(text) => return Ok((text, Some(Finish::Stop))),
            StopMatch::More(text) => text,
        };
        let finish = if self.left == 0 {
            Finish::Length
        } else if session.position() >= session.context() {
            Finish::Context
        } else {
            return Ok((text, None));
        };
        text.push_str(&self.stops.finish());
        Ok((text, Some(finish)))
    }
}
