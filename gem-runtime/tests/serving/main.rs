//! From text to text: tokenizers, generation, classification, the protocol and the command, over programs written by
//! hand.
#![cfg(all(feature = "chat", feature = "threads"))]

mod chat;
mod classify;
#[cfg(feature = "cli")]
mod cli;
mod generate;
mod protocol;
mod script;
mod stream;
mod tokenizer;
#[path = "../toy/mod.rs"]
mod toy;
