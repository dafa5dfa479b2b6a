//! What was measured for a plan -> a file that the next run with the same model and text begins with: each line a measurement,
//! written when it is made. A run that was killed loses what it was at, and a plan of another size measures nothing anew.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

/// Digits of a line's checksum.
const CHECK: usize = 8;

/// Measurements by their names.
#[derive(Debug, Default)]
pub struct Journal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<String, f64>,
    file: Option<BufWriter<File>>,
}

impl Journal {
    /// The one in a file, which is made if need be. Where that cannot be written, nothing is kept.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let text = fs::read(path).unwrap_or_default();
        let (known, whole) = parse(&text);
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            // What a killed run did not finish, and all behind it.
            file.set_len(whole as u64)?;
            Ok::<_, std::io::Error>(BufWriter::new(file))
        };
        let file = open().ok();
        Self {
            state: Mutex::new(State { known, file }),
        }
    }

    /// What was measured under a name, or what `measure` does now.
    ///
    /// # Errors
    /// Those of `measure`.
    pub fn get<E>(&self, name: &str, measure: impl FnOnce() -> Result<f64, E>) -> Result<f64, E> {
        if let Some(known) = self.state().known.get(name) {
            return Ok(*known);
        }
        let value = measure()?;
        let mut state = self.state();
        let line = format!("{name} {:016x}", value.to_bits());
        let written = state
            .file
            .as_mut()
            .map(|file| writeln!(file, "{line} {}", check(&line)));
        if let Some(Err(_)) = written {
            state.file = None;
        }
        state.known.insert(name.to_owned(), value);
        Ok(value)
    }

    /// Hands to the system what was measured so far.
    pub fn flush(&self) {
        if let Some(file) = &mut self.state().file {
            // What is lost is measured again.
            let _ = file.flush();
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(line: &str) -> String {
    let mut digits = gem_runtime::hex(&Sha256::digest(line));
    digits.truncate(CHECK);
    digits
}

/// The measurements of a file, as far as it is whole, and the bytes of them.
fn parse(text: &[u8]) -> (HashMap<String, f64>, usize) {
    let mut known = HashMap::new();
    let mut whole = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let read = || {
            let (line, sum) = std::str::from_utf8(line)
                .ok()?
                .strip_suffix('\n')?
                .rsplit_once(' ')?;
            let (name, value) = line.rsplit_once(' ')?;
            let value = u64::from_str_radix(value, 16)
                .ok()
                .filter(|_| sum == check(line))?;
            Some((name.to_owned(), f64::from_bits(value)))
        };
        let Some((name, value)) = read() else { break };
        known.insert(name, value);
        whole += line.len();
    }
    (known, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_not_measured_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let never = || -> Result<f64, ()> { Err(()) };
        let journal = Journal::open(&path);
        assert_eq!(journal.get("error u1 N4", || Ok::<_, ()>(0.1)), Ok(0.1));
        assert_eq!(journal.get("error u1 N4", never), Ok(0.1));
        assert_eq!(journal.get("kl g2 N3", || Ok::<_, ()>(1e-300)), Ok(1e-300));
        drop(journal);
        let text = fs::read(&path).expect("written");
        // Killed in the middle of the second line, or the line was changed.
        let mut changed = text.clone();
        changed[text.len() - 12] ^= 1;
        for damaged in [&text[..text.len() - 3], &changed] {
            fs::write(&path, damaged).expect("space");
            let again = Journal::open(&path);
            assert_eq!(again.get("error u1 N4", never), Ok(0.1));
            assert_eq!(again.get("kl g2 N3", never), Err(()));
            assert_eq!(again.get("kl g2 N3", || Ok::<_, ()>(2.0)), Ok(2.0));
            drop(again);
            assert_eq!(Journal::open(&path).get("kl g2 N3", never), Ok(2.0));
        }
        let nowhere = Journal::open(&folder.path().join("none/journal"));
        assert_eq!(nowhere.get("x", || Ok::<_, ()>(1.0)), Ok(1.0));
        assert_eq!(nowhere.get("x", never), Ok(1.0));
    }
}
