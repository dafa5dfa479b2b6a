//! Text, conversations and labels out of a session, piece by piece through a function of the caller.

use std::ffi::{c_char, c_int, c_void};

use super::chat::{ChatChoice, Turn, messages, options};
use super::failure::{Failure, exclusive, report, shared, string};
use super::sampling::{Choice, sampling};
use super::session::TextSession;
use crate::c::Status;
use crate::generate::{Generation, Piece};

/// `gem_piece`: what one chosen token adds to the text.
#[repr(C)]
#[derive(Debug)]
pub struct TextPiece {
    /// The text, with a zero byte behind it.
    pub text: *const c_char,
    /// Length of the text, in bytes.
    pub bytes: usize,
    /// Id of the token that the text belongs to.
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// Called for every piece; anything but 0 ends the generation.
pub type EachPiece = unsafe extern "C" fn(user: *mut c_void, piece: *const TextPiece) -> c_int;

/// Called for every label, best first; anything but 0 ends the list.
pub type EachLabel =
    unsafe extern "C" fn(user: *mut c_void, label: *const c_char, score: f32) -> c_int;

/// Continues a text.
///
/// # Safety
/// As `gem_text.h` says: `session` is open, `prompt` a string, `each` a function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_generate(
    session: *mut TextSession,
    prompt: *const c_char,
    choice: *const Choice,
    each: Option<EachPiece>,
    user: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    let generate = || unsafe {
        let each = function(each)?;
        let session = exclusive(session)?;
        let prompt = string(prompt)?;
        let sampling = sampling(shared(choice)?)?;
        pieces(session.session.generate(prompt, sampling), each, user)
    };
    report(generate())
}

/// Answers a conversation.
///
/// # Safety
/// As `gem_text.h` says: `session` is open, `turns` are `n` turns, `each` is a function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_chat(
    session: *mut TextSession,
    turns: *const Turn,
    n: usize,
    choice: *const Choice,
    each: Option<EachPiece>,
    user: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { gem_chat_with(session, turns, n, std::ptr::null(), choice, each, user) }
}

/// Answers a conversation, written with options; null for none.
///
/// # Safety
/// As [`gem_chat`]; `chat` is null or options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_chat_with(
    session: *mut TextSession,
    turns: *const Turn,
    n: usize,
    chat: *const ChatChoice,
    choice: *const Choice,
    each: Option<EachPiece>,
    user: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    let answer = || unsafe {
        let each = function(each)?;
        let session = exclusive(session)?;
        let sampling = sampling(shared(choice)?)?;
        let messages = messages(turns, n)?;
        let options = options(chat)?;
        let answer = session.session.chat_with(&messages, &options, sampling);
        pieces(answer, each, user)
    };
    report(answer())
}

/// A function that must be there; asked for first, so that a call without it changes nothing.
fn function<F>(each: Option<F>) -> Result<F, Failure> {
    each.ok_or(Failure::Status(Status::Null))
}

/// # Safety
/// `each` may be called with `user`.
unsafe fn pieces(
    generation: Generation<'_>,
    each: EachPiece,
    user: *mut c_void,
) -> Result<(), Failure> {
    for piece in generation {
        let Piece {
            text,
            token,
            logprob,
        } = piece?;
        let bytes = text.len();
        let text = [text.as_bytes(), &[0]].concat();
        let piece = TextPiece {
            text: text.as_ptr().cast(),
            bytes,
            token,
            logprob,
        };
        // SAFETY: the caller's promise.
        if unsafe { each(user, &raw const piece) } != 0 {
            return Err(Failure::Status(Status::Stopped));
        }
    }
    Ok(())
}

/// Labels of a text.
///
/// # Safety
/// As `gem_text.h` says: `session` is open, `text` a string, `each` a function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_classify(
    session: *mut TextSession,
    text: *const c_char,
    each: Option<EachLabel>,
    user: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    let classify = || unsafe {
        let session = exclusive(session)?;
        let each = function(each)?;
        for label in session.session.classify(string(text)?)? {
            let name = [label.label.as_bytes(), &[0]].concat();
            if each(user, name.as_ptr().cast(), label.score) != 0 {
                return Err(Failure::Status(Status::Stopped));
            }
        }
        Ok(())
    };
    report(classify())
}
