//! Conversations as C has them: messages, how they are written, and what of them fits.

use std::ffi::{c_char, c_int};

use super::failure::{Failure, exclusive, list, report, shared, string};
use super::session::TextSession;
use crate::c::Status;
use crate::text::{ChatOptions, ChatVariables, Date, Message};

/// `gem_message`: one turn of a conversation.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// `system`, `user` or `assistant`.
    pub role: *const c_char,
    /// Text of the message, UTF-8, ending in 0; null where `fields` have it.
    pub content: *const c_char,
    /// What else the message has, as a JSON object; null for nothing.
    pub fields: *const c_char,
}

/// `gem_date`: see [`Date`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DateFields {
    /// 1 to 9999.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
}

/// `gem_chat_options`: see [`ChatOptions`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ChatChoice {
    /// Date that a template may ask for; null for none.
    pub date: *const DateFields,
    /// Null: the one called `default`.
    pub chat_template: *const c_char,
    /// Variables of the template, as a JSON object; null for none.
    pub variables: *const c_char,
}

/// Finds out which messages to leave out so that a conversation fits, as `Session::fit_chat` does.
///
/// # Safety
/// As `gem_text.h` says: `session` is open, `turns` are `n` turns, `chat` is null or options, `begin` and `count` take
/// numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_chat_fit(
    session: *const TextSession,
    turns: *const Turn,
    n: usize,
    chat: *const ChatChoice,
    room: u32,
    begin: *mut usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let fit = || unsafe {
        let (begin, count) = (exclusive(begin)?, exclusive(count)?);
        let messages = messages(turns, n)?;
        let session = &shared(session)?.session;
        let dropped = session.fit_chat(&messages, &options(chat)?, room)?;
        (*begin, *count) = (dropped.start, dropped.len());
        Ok(())
    };
    report(fit())
}

/// # Safety
/// `turns` are `n` turns with strings.
pub(super) unsafe fn messages(turns: *const Turn, n: usize) -> Result<Vec<Message>, Failure> {
    // SAFETY: the caller's promise.
    let turns = unsafe { list(turns, n)? }.iter();
    let message = |turn: &Turn| {
        // SAFETY: the caller's promise.
        let role = unsafe { string(turn.role)? };
        // SAFETY: the caller's promise.
        let (content, fields) = unsafe { (optional(turn.content)?, optional(turn.fields)?) };
        match fields {
            None => Ok(Message::new(
                role,
                content.ok_or(Failure::Status(Status::Null))?,
            )),
            Some(fields) => Ok(Message::of_fields(role, content, fields)?),
        }
    };
    turns.map(message).collect()
}

/// # Safety
/// `chat` is null or options, with null or what they should have.
pub(super) unsafe fn options(chat: *const ChatChoice) -> Result<ChatOptions, Failure> {
    // SAFETY: the caller's promise.
    let Some(chat) = (unsafe { chat.as_ref() }) else {
        return Ok(ChatOptions::default());
    };
    // SAFETY: the caller's promise.
    let date = match unsafe { chat.date.as_ref() } {
        None => None,
        Some(date) => {
            let day = Date::new(date.year, date.month, date.day)?;
            Some(day.at(date.hour, date.minute, date.second)?)
        }
    };
    // SAFETY: the caller's promise.
    let (template, json) = unsafe { (optional(chat.chat_template)?, optional(chat.variables)?) };
    let mut variables = ChatVariables::default();
    if let Some(json) = json {
        variables.set_all(json)?;
    }
    Ok(ChatOptions {
        date,
        template: template.map(str::to_owned),
        variables,
    })
}

/// A string that may be missing.
///
/// # Safety
/// It is null or a string that lives as long as it is used.
unsafe fn optional<'a>(text: *const c_char) -> Result<Option<&'a str>, Failure> {
    match text.is_null() {
        true => Ok(None),
        // SAFETY: the caller's promise.
        false => Ok(Some(unsafe { string(text)? })),
    }
}
