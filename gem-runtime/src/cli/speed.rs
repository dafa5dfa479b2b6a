//! Answers as they come -> a line that tells how fast they came and in how much memory.
//!
//! Only the model's own time counts: not that of whoever takes the text.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::generate::{Generation, Piece};
use crate::session::MemoryUse;

/// What the answers so far took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Speed {
    answers: u32,
    /// Tokens of prompts that were computed, and what that took with the first token of each answer.
    prompt: (u64, Duration),
    /// From text to the first tokens.
    first: Duration,
    /// Tokens after the first ones.
    decoded: (u64, Duration),
}

/// An answer whose pieces are timed.
pub(super) struct Timed<'a, 's> {
    answer: Generation<'s>,
    /// What reading the prompt took, until the first piece has come.
    begun: Option<Duration>,
    speed: &'a mut Speed,
}

impl Speed {
    /// Begins an answer.
    pub(super) fn time<'a, 's>(
        &'a mut self,
        begin: impl FnOnce() -> Generation<'s>,
    ) -> Timed<'a, 's> {
        let started = Instant::now();
        let answer = begin();
        Timed {
            answer,
            begun: Some(started.elapsed()),
            speed: self,
        }
    }

    fn first(&mut self, prompt: u32, begun: Duration, took: Duration) {
        self.answers += 1;
        self.prompt.0 += u64::from(prompt);
        self.prompt.1 += took;
        self.first += begun + took;
    }

    /// What to tell, in so much memory; nothing where nothing was generated.
    pub(super) fn told(&self, weights: u64, session: MemoryUse) -> Option<String> {
        (self.answers > 0).then(|| {
            let memory = Memory {
                weights,
                session,
                peak: peak(),
            };
            format!("{self}; {memory}")
        })
    }
}

impl<'s> Timed<'_, 's> {
    /// The answer itself.
    pub(super) const fn answer(&self) -> &Generation<'s> {
        &self.answer
    }
}

impl Iterator for Timed<'_, '_> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        let started = Instant::now();
        let piece = self.answer.next()?;
        let took = started.elapsed();
        if piece.is_ok() {
            match self.begun.take() {
                Some(begun) => self.speed.first(self.answer.prompt_tokens(), begun, took),
                None => {
                    self.speed.decoded.0 += 1;
                    self.speed.decoded.1 += took;
                }
            }
        }
        Some(piece)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generated = self.decoded.0 + u64::from(self.answers);
        write!(
            f,
            "prompt {}; generated {generated} tokens",
            rate(self.prompt)
        )?;
        if self.decoded.0 > 0 {
            write!(f, ", {}", per_second(self.decoded))?;
        }
        let first = 1e3 * self.first.as_secs_f64() / f64::from(self.answers.max(1));
        write!(f, "; first token after {first:.1} ms")?;
        match self.answers {
            1 => Ok(()),
            answers => write!(f, " (mean of {answers} answers)"),
        }
    }
}

fn rate(measured: (u64, Duration)) -> String {
    format!("{} tokens, {}", measured.0, per_second(measured))
}

fn per_second((tokens, took): (u64, Duration)) -> String {
    // A clock may stand still for as long as a toy takes.
    let seconds = took.as_secs_f64().max(1e-9);
    format!("{:.1} tokens/s", tokens as f64 / seconds)
}

/// Bytes that are held.
struct Memory {
    weights: u64,
    session: MemoryUse,
    /// Of the process, at most so far; where the system tells.
    peak: Option<u64>,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "memory {:.1} MB weights, {:.1} MB keys and values, {:.1} MB scratch",
            megabytes(self.weights),
            megabytes(self.session.kv),
            megabytes(self.session.arena)
        )?;
        match self.peak {
            Some(peak) => write!(f, ", process at most {:.1} MB", megabytes(peak)),
            None => Ok(()),
        }
    }
}

/// The most that this process had in memory at once, mapped files included; Linux tells.
fn peak() -> Option<u64> {
    peak_in(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kilobytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rates_waiting_and_memory() {
        let millis = Duration::from_millis;
        let mut speed = Speed::default();
        let session = MemoryUse {
            kv: 2_000_000,
            arena: 300_000,
        };
        assert_eq!(speed.told(1, session), None, "nothing was generated");
        speed.first(10, millis(5), millis(20));
        let one = "prompt 10 tokens, 500.0 tokens/s; generated 1 tokens; first token after 25.0 ms";
        assert_eq!(speed.to_string(), one);
        speed.decoded = (40, millis(500));
        speed.first(2, millis(1), millis(4));
        let told = speed.told(21_900_000, session).expect("there are answers");
        let expected = "prompt 12 tokens, 500.0 tokens/s; generated 42 tokens, 80.0 tokens/s; first token after \
                        15.0 ms (mean of 2 answers); memory 21.9 MB weights, 2.0 MB keys and values, 0.3 MB scratch";
        assert!(told.starts_with(expected), "{told}");
        if cfg!(target_os = "linux") {
            assert!(told.contains(", process at most "), "{told}");
        }
    }

    #[test]
    fn the_peak_is_read_in_kilobytes() {
        assert_eq!(peak_in("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(peak_in("Name:\tx\n"), None);
    }
}
