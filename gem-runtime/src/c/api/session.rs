//! A program with its weights and tokenizer, and sessions of it.

use std::ffi::{CString, c_char, c_int};
use std::path::Path;

use super::failure::{Failure, exclusive, report, shared, string};
use crate::c::{LinkedProgram, ProgramTable, Status};
use crate::model::{Engine, Model as _};
use crate::session::{Session, SessionOptions};

/// A program with weights and tokenizer.
#[derive(Debug)]
pub struct Text {
    pub(super) engine: Engine,
    /// Where the model's makers want an answer to end.
    pub(super) stops: Stops,
}

/// Texts as C has them.
#[derive(Debug)]
pub(super) struct Stops {
    pointers: Vec<*const c_char>,
    /// What they point to.
    _texts: Vec<CString>,
}

impl Stops {
    /// A text with a zero byte in it cannot be told in C, and is left out.
    fn new(stops: &[String]) -> Self {
        let texts: Vec<CString> = stops
            .iter()
            .filter_map(|stop| CString::new(stop.as_str()).ok())
            .collect();
        Self {
            pointers: texts.iter().map(|text| text.as_ptr()).collect(),
            _texts: texts,
        }
    }

    /// The list, for as long as this lives.
    pub(super) fn list(&self) -> (*const *const c_char, u32) {
        let count = u32::try_from(self.pointers.len()).unwrap_or(0);
        (self.pointers.as_ptr(), count)
    }
}

/// A sequence with its threads.
#[derive(Debug)]
pub struct TextSession {
    pub(super) session: Session,
}

/// Joins a program with the weights at a path, and with the tokenizer beside them.
///
/// # Safety
/// As `gem_text.h` says: `program` is an object's table, `path` a string, `text` takes a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_text_open(
    text: *mut *mut Text,
    program: *const ProgramTable,
    path: *const c_char,
) -> c_int {
    // SAFETY: the caller's promise.
    let open = || unsafe {
        let out = exclusive(text)?;
        if program.is_null() {
            return Err(Failure::Status(Status::Null));
        }
        let program = LinkedProgram::new(program)?;
        let info = program.info().clone();
        let path = Path::new(string(path)?);
        let engine = Engine::open(info, Box::new(program), path)?;
        let own = engine.text().map(|text| text.sampling().stop.as_slice());
        let stops = Stops::new(own.unwrap_or_default());
        *out = Box::into_raw(Box::new(Text { engine, stops }));
        Ok(())
    };
    report(open())
}

/// Compares a model's weights with their digests.
///
/// # Safety
/// `text` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_text_check(text: *const Text) -> c_int {
    // SAFETY: the caller's promise.
    let check = || unsafe { Ok(shared(text)?.engine.weights().verify()?) };
    report(check())
}

/// Lets a model go; sessions keep what they use of it.
///
/// # Safety
/// `text` is null, or came from [`gem_text_open`] and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_text_close(text: *mut Text) {
    if !text.is_null() {
        // SAFETY: it was a box, and the caller gives it back.
        drop(unsafe { Box::from_raw(text) });
    }
}

/// Starts a session; 0 stands for the default context and for all threads.
///
/// # Safety
/// `session` takes a pointer; `text` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_session_open(
    session: *mut *mut TextSession,
    text: *const Text,
    context: u32,
    threads: u32,
) -> c_int {
    // SAFETY: the caller's promise.
    let open = || unsafe {
        let out = exclusive(session)?;
        let engine = &shared(text)?.engine;
        let options = SessionOptions {
            context: (context > 0).then_some(context),
            threads: (threads > 0).then_some(threads as usize),
        };
        let session = engine.session(options)?;
        let session = TextSession { session };
        *out = Box::into_raw(Box::new(session));
        Ok(())
    };
    report(open())
}

/// Ends a session.
///
/// # Safety
/// `session` is null, or came from [`gem_session_open`] and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_session_close(session: *mut TextSession) {
    if !session.is_null() {
        // SAFETY: it was a box, and the caller gives it back.
        drop(unsafe { Box::from_raw(session) });
    }
}

/// Keys and values since the session began that f16 could not hold.
///
/// # Safety
/// `session` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_session_saturated(session: *const TextSession) -> u64 {
    // SAFETY: the caller's promise.
    let session = unsafe { session.as_ref() };
    session.map_or(0, |s| {
        s.session.saturated().iter().map(|layer| layer.values).sum()
    })
}

/// Forgets all tokens.
///
/// # Safety
/// `session` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_session_reset(session: *mut TextSession) {
    // SAFETY: the caller's promise.
    if let Some(session) = unsafe { session.as_mut() } {
        session.session.reset();
    }
}

/// Tokens a session holds.
///
/// # Safety
/// `session` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_session_position(session: *const TextSession) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { session.as_ref() }.map_or(0, |session| session.session.position())
}
