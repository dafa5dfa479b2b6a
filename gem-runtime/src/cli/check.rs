//! `--check`: an engine -> whether its weights are what was built, in one line.
//!
//! What comes before has checked the rest: the header, that the weights are this program's, the CPU, the tokenizer.

use std::io::Write;
use std::time::Instant;

use serde_json::json;

use super::run::{Failure, line};
use crate::model::Engine;
use crate::text::ChatTemplate;

/// Reads all weights and templates; says so when they are sound.
pub(super) fn check(engine: &Engine, as_json: bool, to: &mut impl Write) -> Result<(), Failure> {
    let weights = engine.weights();
    let started = Instant::now();
    weights.verify()?;
    let seconds = started.elapsed().as_secs_f64();
    let file = weights.file().unwrap_or("weights");
    let bytes = weights.file_bytes();
    let tokenizer = engine.text().is_ok();
    if let Ok(text) = engine.text() {
        text.chat_templates()
            .iter()
            .try_for_each(ChatTemplate::check)?;
    }
    if as_json {
        let found = json!({
            "file": file,
            "bytes": bytes,
            "intact": true,
            "tokenizer": tokenizer,
            "target": engine.info().target,
            "seconds": seconds,
        });
        return line(to, &found.to_string());
    }
    let texts = if tokenizer {
        "tokenizer sound"
    } else {
        "no tokenizer beside it"
    };
    line(
        to,
        &format!(
            "{file}: {bytes} bytes, intact, checked in {seconds:.3} s; {texts}; kernels of {}",
            engine.info().target
        ),
    )
}
