//! Arguments -> what a kit measures.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::team::MOST_THREADS;

/// Text of `--help`; `NAME` is the program's.
pub(super) const HELP: &str = "\
Measures this machine with the model that this program carries.

Usage: NAME [options]

  --sustained [MIN]  work for MIN minutes (10), and compare the first minute with the last
  --threads LIST     thread counts, separated by commas; 1, and one for each fast core unless given
  -p N               tokens of the prompt (256, or what the model has room for)
  -n N               tokens after it (32, or what the model has room for)
  --runs N           runs of each (5)
  -o FOLDER          where the results go (results), as NAME.json and TARGET.toml
  -h, --help         this text
";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Thread counts; the usual ones unless given.
    pub threads: Option<Vec<u32>>,
    pub prefill: Option<u32>,
    pub decode: Option<u32>,
    pub runs: u32,
    /// Minutes of work without a pause.
    pub sustained: Option<u32>,
    pub output: PathBuf,
}

/// The options; `None` where help is asked for.
///
/// # Errors
/// In words.
pub(super) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<Options>, String> {
    use lexopt::prelude::{Long, Short};
    let mut options = Options {
        threads: None,
        prefill: None,
        decode: None,
        runs: 5,
        sustained: None,
        output: "results".into(),
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("sustained") => {
                let minutes = parser.optional_value();
                // A number that stands alone is the option's, too: there are no other arguments.
                let minutes = minutes.or_else(|| parser.try_raw_args()?.next_if(is_number));
                options.sustained = Some(match minutes {
                    Some(text) => whole("--sustained", &text, 1, 24 * 60)?,
                    None => 10,
                });
            }
            Long("threads") => {
                let text = parser.value().map_err(|e| e.to_string())?;
                let text = text.to_string_lossy().into_owned();
                let counts = text.split(',');
                let counts = counts.map(|n| whole("--threads", n.as_ref(), 1, MOST_THREADS as u32));
                let mut counts = counts.collect::<Result<Vec<_>, _>>()?;
                counts.sort_unstable();
                counts.dedup();
                options.threads = Some(counts);
            }
            Short('p') => options.prefill = Some(number(&mut parser, "-p", 1, u32::MAX)?),
            Short('n') => options.decode = Some(number(&mut parser, "-n", 0, u32::MAX)?),
            Long("runs") => options.runs = number(&mut parser, "--runs", 1, 1000)?,
            Short('o') => options.output = parser.value().map_err(|e| e.to_string())?.into(),
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(Some(options))
}

fn is_number(text: &std::ffi::OsStr) -> bool {
    let text = text.to_string_lossy();
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn number(parser: &mut lexopt::Parser, name: &str, least: u32, most: u32) -> Result<u32, String> {
    whole(
        name,
        &parser.value().map_err(|e| e.to_string())?,
        least,
        most,
    )
}

fn whole(name: &str, text: &std::ffi::OsStr, least: u32, most: u32) -> Result<u32, String> {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| {
            let text = text.to_string_lossy();
            format!("{name} is {text}; allowed are whole numbers from {least} to {most}")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Option<Options>, String> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn arguments_are_read_and_wrong_ones_are_named() {
        let usual = of(&[]).expect("fine").expect("no help");
        assert_eq!((usual.runs, usual.sustained), (5, None));
        let found = of(&[
            "--sustained",
            "--threads",
            "1,4",
            "-p",
            "9",
            "-n",
            "0",
            "-o",
            "x",
        ]);
        let found = found.expect("fine").expect("no help");
        assert_eq!(found.sustained, Some(10));
        assert_eq!(found.threads, Some(vec![1, 4]));
        assert_eq!((found.prefill, found.decode), (Some(9), Some(0)));
        assert_eq!(found.output, PathBuf::from("x"));
        for minutes in [&["--sustained", "3"][..], &["--sustained=3"]] {
            let found = of(minutes).expect("fine").expect("no help");
            assert_eq!(found.sustained, Some(3));
        }
        assert_eq!(of(&["--runs", "2", "--help"]), Ok(None));
        for (arguments, says) in [
            (
                &["--sustained", "0"][..],
                "--sustained is 0; allowed are whole numbers from 1 to 1440",
            ),
            (
                &["--threads", "1,x"],
                "--threads is x; allowed are whole numbers from 1 to 1024",
            ),
            (&["--threads", ""], "--threads is ; allowed"),
            (&["-p", "0"], "-p is 0; allowed are whole numbers from 1"),
            (&["--fast"], "--fast"),
            (&["extra"], "extra"),
            (&["-n"], "-n"),
        ] {
            let told = of(arguments).expect_err("wrong");
            assert!(told.contains(says), "{told}");
        }
    }
}
