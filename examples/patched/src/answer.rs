//! A prompt -> its continuation, piece by piece.

use std::error::Error;
use std::io;

use gem_runtime::{Engine, Model as _, Sampling, SessionOptions};

/// Tokens of an answer, at most.
pub const LONGEST: u32 = 40;

/// Continues a prompt by one model, whatever becomes the newest meanwhile: the session shares what it began with.
///
/// # Errors
/// Those of the model (an empty prompt, one that is too long) and those of `tell`.
pub fn answer(
    engine: &Engine,
    prompt: &str,
    mut tell: impl FnMut(&str) -> io::Result<()>,
) -> Result<(), Box<dyn Error>> {
    let mut session = engine.session(SessionOptions::default())?;
    let sampling = Sampling {
        max_tokens: LONGEST,
        ..Sampling::default()
    };
    for piece in session.generate(prompt, sampling) {
        tell(&piece?.text)?;
    }
    Ok(())
}
