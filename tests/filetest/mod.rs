//! One filetest: a program in text form with commands in its remarks, and what each must print below it.
//!
//! A line `; test NAME` is a command, `; = LINE` below it a line of its output. Other remarks may set the memory that
//! `; test run` starts from, see [`Setup`].

mod setup;

pub use setup::Setup;

use gemc::kernel::Program;
use gemc::kernel::text::{parse, print};
use gemc::kernel::verify::{Verified, verify};
use std::fmt::Write;

/// Marks a line of expected output.
const EXPECTED: &str = "; = ";

/// How a file compares with what its commands print.
#[derive(Debug)]
pub enum Outcome {
    /// As expected.
    Same,
    /// Not as expected.
    Differs {
        /// The file with the new output.
        new: String,
        /// What changed, line by line.
        diff: String,
    },
}

/// Whether differences are to be written instead of reported.
#[must_use]
pub fn blessed() -> bool {
    std::env::var_os("GEM_BLESS").is_some_and(|v| v == "1")
}

/// Runs the commands of a file.
///
/// # Errors
/// A command or setting that is not understood, a file without commands, or text that does not survive printing.
pub fn outcome(text: &str) -> Result<Outcome, String> {
    // Lines of errors are counted without expected output, so that they do not depend on it.
    let source: Vec<&str> = text
        .lines()
        .filter(|l| !l.starts_with(EXPECTED.trim_end()))
        .collect();
    let parsed = parse(&source.join("\n"));
    if let Ok(program) = &parsed {
        round_trip(program)?;
    }
    let mut setup = Setup::default();
    let (mut new, mut diff) = (String::new(), String::new());
    let mut commands = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let _ = writeln!(new, "{line}");
        let Some(command) = line.strip_prefix("; test ") else {
            setup.read(line).map_err(|e| format!("{line}: {e}"))?;
            continue;
        };
        commands += 1;
        let mut old = Vec::new();
        while let Some(expected) = lines
            .peek()
            .and_then(|l| l.strip_prefix(EXPECTED.trim_end()))
        {
            old.push(expected.strip_prefix(' ').unwrap_or(expected).to_owned());
            lines.next();
        }
        let program = parsed
            .as_ref()
            .map(Clone::clone)
            .map_err(ToString::to_string);
        let output: Vec<String> = run(command, program, &setup)?
            .lines()
            .map(|l| l.trim_end().to_owned())
            .collect();
        for line in &output {
            let _ = writeln!(new, "{}", format!("{EXPECTED}{line}").trim_end());
        }
        if output != old {
            let _ = writeln!(diff, "; test {command}");
            differences(&old, &output, &mut diff);
        }
    }
    if commands == 0 {
        return Err("no `; test` command".to_owned());
    }
    Ok(if diff.is_empty() {
        Outcome::Same
    } else {
        Outcome::Differs { new, diff }
    })
}

fn round_trip(program: &Program) -> Result<(), String> {
    let printed = print(program);
    match parse(&printed) {
        Ok(again) if again == *program => Ok(()),
        Ok(_) => Err(format!(
            "the printed program reads back differently:\n{printed}"
        )),
        Err(error) => Err(format!(
            "the printed program does not parse: {error}\n{printed}"
        )),
    }
}

/// Lines that left and came, without those at both ends that stayed.
fn differences(old: &[String], new: &[String], out: &mut String) {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same..], &new[same..]);
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    for line in &old[..old.len() - tail] {
        let _ = writeln!(out, "- {line}");
    }
    for line in &new[..new.len() - tail] {
        let _ = writeln!(out, "+ {line}");
    }
}

/// What a command prints.
fn run(command: &str, program: Result<Program, String>, setup: &Setup) -> Result<String, String> {
    if command == "parse" {
        return Ok(program.map_or_else(|e| e, |_| "ok".to_owned()));
    }
    let program = match program {
        Ok(program) => program,
        Err(error) => return Ok(error),
    };
    if command == "print" {
        return Ok(print(&program));
    }
    let verified = match verify(program) {
        Ok(verified) => verified,
        Err(errors) => {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            return Ok(lines.join("\n"));
        }
    };
    match command {
        "verify" => Ok("ok".to_owned()),
        "ranges" => Ok(ranges(&verified)),
        "run" => setup.run(&verified),
        _ => Err("expected parse, print, verify, ranges or run".to_owned()),
    }
}

/// What the verifier knows of each named value.
fn ranges(verified: &Verified) -> String {
    let mut out = String::new();
    for (i, kernel) in verified.program().kernels.iter().enumerate() {
        let info = verified.info(gemc::kernel::KernelId::from_index(i));
        for (v, (def, range)) in kernel.values.iter().zip(&info.ranges).enumerate() {
            if let (Some(name), Some(range)) = (&def.name, range) {
                let _ = writeln!(out, "{} v{v} {name}: {range}", kernel.name);
            }
        }
    }
    out
}
