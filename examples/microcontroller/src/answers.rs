//! Texts -> their labels and scores, a line each: the same on a computer and on a board, to the bit.

use core::fmt::{self, Write};

use classifier::Model;
use gem_runtime::{Model as _, SessionOptions};

/// What is classified: token ids, which for this model are bytes.
const TEXTS: [&str; 3] = [
    "a shooter with many levels",
    "a library that reads tables",
    "the quick brown fox",
];

/// Why there are no answers.
pub enum Fault {
    /// The model's.
    Model(gem_runtime::Error),
    /// Lines could not be written.
    Output,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => error.fmt(f),
            Self::Output => f.write_str("the output failed"),
        }
    }
}

impl From<gem_runtime::Error> for Fault {
    fn from(error: gem_runtime::Error) -> Self {
        Self::Model(error)
    }
}

impl From<fmt::Error> for Fault {
    fn from(_: fmt::Error) -> Self {
        Self::Output
    }
}

/// Writes a line for each text: the label, and the bits of every score; then the session's memory.
///
/// # Errors
/// When the weights do not fit the program, memory ends, or `out` fails.
pub fn write(out: &mut impl Write) -> Result<(), Fault> {
    let model = Model::embedded()?;
    let mut session = model.session(SessionOptions::default())?;
    for text in TEXTS {
        let ids: alloc::vec::Vec<u32> = text.bytes().map(u32::from).collect();
        let scores = session.classify_ids(&ids)?;
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let label = best.and_then(|i| model.engine().info().labels.get(i));
        write!(out, "{text}: {}", label.map_or("-", |label| label))?;
        for score in scores {
            write!(out, " {:08x}", score.to_bits())?;
        }
        writeln!(out)?;
    }
    let memory = session.memory();
    writeln!(out, "{} bytes of memory", memory.kv + memory.arena)?;
    Ok(())
}
