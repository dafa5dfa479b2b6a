//! One filetest: a program in text form with commands in its remarks, and what each must print below it.
//!
//! A line `; test NAME` is a command, `; = LINE` below it a line of its output. Other remarks may set the memory that
//! `; test run` starts from, see [`Setup`].

mod setup;

pub use setup::Setup;

use gemc_kernels::ir::Program;
use gemc_kernels::ir::text::{parse, print};
use gemc_kernels::ir::verify::{Verified, verify};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::needs;

/// Marks a line of expected output.
const EXPECTED: &str = "; = ";

/// How a file compares with what its commands print.
#[derive(Debug)]
pub enum Outcome {
    /// The file holds what was found.
    Same,
    /// The file holds something else than what was found.
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
        let program = parsed.clone().map_err(|e| e.to_string());
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

/// The program of a file with `; test run`, and the settings it runs with; nothing for other files and for those whose
/// program is refused.
///
/// # Errors
/// A setting that is not understood.
pub fn runnable(text: &str) -> Result<Option<(Verified, Setup)>, String> {
    let mut setup = Setup::default();
    for line in text.lines() {
        setup.read(line).map_err(|e| format!("{line}: {e}"))?;
    }
    let program = parse(text).ok().filter(|_| text.contains("; test run"));
    let verified = program.and_then(|program| verify(program).ok());
    Ok(verified.map(|verified| (verified, setup)))
}

/// Every filetest, sorted, by its path below the folder of filetests.
///
/// # Errors
/// When the folder cannot be read.
pub fn files() -> std::io::Result<Vec<(String, PathBuf)>> {
    let root = needs::repository("tests/filetests");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let named = |path: PathBuf| {
        let name = path
            .strip_prefix(&root)
            .unwrap_or(&path)
            .display()
            .to_string();
        (name, path)
    };
    Ok(files.into_iter().map(named).collect())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "gemk") {
            files.push(path);
        }
    }
    Ok(())
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
        let ranges = verified.ranges(gemc_kernels::ir::KernelId::from_index(i));
        for (v, (def, range)) in kernel.values.iter().zip(ranges).enumerate() {
            if let (Some(name), Some(range)) = (&def.name, range) {
                let _ = writeln!(out, "{} v{v} {name}: {range}", kernel.name);
            }
        }
    }
    out
}
