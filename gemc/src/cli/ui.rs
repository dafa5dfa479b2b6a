//! The terminal, or whatever stands in its place: results to standard output, notes and progress to standard error.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::progress::Progress;

/// How plain progress lines follow each other at the fastest.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Where the command speaks.
#[derive(Debug)]
pub struct Ui {
    moving: bool,
    rich: bool,
    work: Mutex<Option<Work>>,
}

/// What is going on.
#[derive(Debug)]
enum Work {
    Bar(ProgressBar),
    Plain(Plain),
}

/// Progress as lines.
#[derive(Debug)]
struct Plain {
    what: String,
    total: u64,
    done: u64,
    begun: Instant,
    told: Instant,
}

impl Ui {
    /// Of this process, by what standard error is and what the user's variables say.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(io::stderr().is_terminal(), |name| std::env::var_os(name))
    }

    /// Lines are redrawn on a terminal that can do so. Findings are coloured there, unless `NO_COLOR` is set
    /// (https://no-color.org) or `CLICOLOR` is 0.
    fn of(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let capable = match variable("TERM") {
            Some(term) => !term.is_empty() && term != "dumb",
            None => cfg!(windows),
        };
        let unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty())
            || variable("CLICOLOR").is_some_and(|value| value == "0");
        Self {
            moving: terminal && capable,
            rich: terminal && capable && !unwanted,
            work: Mutex::new(None),
        }
    }

    /// Whether standard error shows colours, and somebody wants them.
    #[must_use]
    pub fn rich(&self) -> bool {
        self.rich
    }

    /// Writes a line to standard error, after clearing a bar.
    pub fn note(&self, line: &str) {
        self.finish();
        // When standard error is gone there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Writes the result to standard output: as one JSON value, or as a person reads it.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn result<T: Serialize + std::fmt::Display>(
        &self,
        json: bool,
        value: &T,
    ) -> io::Result<()> {
        self.finish();
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer(&mut out, value)?;
            writeln!(out)?;
        } else {
            let text = value.to_string();
            writeln!(out, "{}", text.trim_end())?;
        }
        out.flush()
    }

    /// Ends what is going on.
    pub fn finish(&self) {
        if let Some(Work::Bar(bar)) = self.work().take() {
            bar.finish_and_clear();
        }
    }

    /// A poisoned lock holds nothing but progress.
    fn work(&self) -> std::sync::MutexGuard<'_, Option<Work>> {
        self.work
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Ui {
    fn start(&self, what: &str, total: u64) {
        self.finish();
        let work = if self.moving {
            Work::Bar(bar(what, total))
        } else {
            let _ = writeln!(io::stderr().lock(), "{what}");
            let now = Instant::now();
            Work::Plain(Plain {
                what: what.to_owned(),
                total,
                done: 0,
                begun: now,
                told: now,
            })
        };
        *self.work() = Some(work);
    }

    fn advance(&self, units: u64) {
        match self.work().as_mut() {
            Some(Work::Bar(bar)) => bar.inc(units),
            Some(Work::Plain(plain)) => {
                if let Some(line) = plain.advance(units, Instant::now()) {
                    let _ = writeln!(io::stderr().lock(), "{line}");
                }
            }
            None => {}
        }
    }

    fn note(&self, line: &str) {
        Self::note(self, line);
    }
}

fn bar(what: &str, total: u64) -> ProgressBar {
    let (bar, template) = match total {
        0 => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
        n => (
            ProgressBar::new(n),
            "{msg} {wide_bar} {percent:>3} % {eta} left",
        ),
    };
    bar.set_message(what.to_owned());
    // The bar ticks on a thread of its own, and would panic for want of one.
    let tried = std::thread::Builder::new().spawn(|| ());
    if tried.is_ok_and(|thread| thread.join().is_ok()) {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Plain {
    /// A line when it is time for one.
    fn advance(&mut self, units: u64, now: Instant) -> Option<String> {
        self.done += units;
        // Once all is done, what follows tells it.
        if now.duration_since(self.told) < PLAIN_EVERY || self.done >= self.total {
            return None;
        }
        self.told = now;
        let share = (self.done as f64 / self.total as f64).clamp(1e-9, 1.0);
        let left = now.duration_since(self.begun).as_secs_f64() * (1.0 / share - 1.0);
        let percent = (100.0 * share) as u32;
        Some(format!(
            "{}: {percent} %, about {left:.0} s left",
            self.what
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_progress_speaks_at_intervals_and_estimates() {
        let begun = Instant::now();
        let mut plain = Plain {
            what: "work".to_owned(),
            total: 100,
            done: 0,
            begun,
            told: begun,
        };
        assert_eq!(plain.advance(10, begun + Duration::from_secs(1)), None);
        let line = plain.advance(15, begun + Duration::from_secs(10));
        assert_eq!(line.as_deref(), Some("work: 25 %, about 30 s left"));
        assert_eq!(plain.advance(1, begun + Duration::from_secs(11)), None);
        assert_eq!(
            plain.advance(74, begun + Duration::from_secs(30)),
            None,
            "the end"
        );
    }

    #[test]
    fn colours_are_for_terminals_that_have_them_and_users_who_want_them() {
        let ui = |terminal, variables: &[(&str, &str)]| {
            let value = |name: &str| {
                let found = variables.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let ui = Ui::of(terminal, value);
            (ui.moving, ui.rich)
        };
        let term = ("TERM", "xterm-256color");
        assert_eq!(ui(true, &[term]), (true, true));
        assert_eq!(ui(false, &[term, ("CLICOLOR_FORCE", "1")]), (false, false));
        assert_eq!(ui(true, &[("TERM", "dumb")]), (false, false));
        assert_eq!(ui(true, &[("TERM", "")]), (false, false));
        assert_eq!(ui(true, &[term, ("NO_COLOR", "1")]), (true, false));
        assert_eq!(ui(true, &[term, ("NO_COLOR", "")]), (true, true));
        assert_eq!(ui(true, &[term, ("CLICOLOR", "0")]), (true, false));
    }
}
