//! `gemc completions`: the command -> a script with which a shell completes its verbs and options.

use std::io::{self, Write as _};

use clap_complete::{Shell, generate};

use super::{Failure, Outcome, Run, Ui, command};

/// Write a script that completes verbs and options, for a shell to load
#[derive(clap::Args, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl Run for Completions {
    fn run(self, _ui: &Ui) -> Result<Outcome, Failure> {
        // The generator panics where its output fails; memory does not.
        let mut script = Vec::new();
        generate(self.shell, &mut command(), "gemc", &mut script);
        let mut out = io::stdout().lock();
        out.write_all(&script)?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}
