//! The functions of `include/gem_text.h`: text, chat, labels and threads for linked objects.
//!
//! Thin: each function turns pointers into values, calls a session, and turns what came back into a status; words of the
//! last error are kept per thread. Pointers are the caller's promise, as the header says.

mod chat;
mod failure;
mod generate;
mod sampling;
mod session;

pub use chat::{ChatChoice, DateFields, Turn, gem_chat_fit};
pub use failure::gem_last_error;
pub use generate::*;
pub use sampling::*;
pub use session::*;
