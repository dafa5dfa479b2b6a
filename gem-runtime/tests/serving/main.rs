//! From text to text: tokenizers, generation, classification, the protocol and the command, over programs written by
//! hand.
#![cfg(all(feature = "chat", feature = "threads"))]

mod chat;
mod classify;
#[cfg(feature = "cli")]
mod cli;
mod embed;
mod files;
mod generate;
mod protocol;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod script;
mod stream;
mod tokenizer;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../toy/mod.rs"]
mod toy;
