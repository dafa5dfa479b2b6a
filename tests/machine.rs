//! C compilers for this machine and others, and what runs their programs here.

use std::path::Path;
use std::process::Command;

use gemc::package::{Linkage, Toolchain};
use gemc::target::Target;

use crate::needs::skipped;

/// A compiler and, for another machine, what runs its programs.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Name of the target that its code is for.
    pub target: &'static str,
    /// Command of the C compiler for the machine.
    pub compiler: &'static str,
    /// Flags of the linker.
    pub link: &'static [&'static str],
    /// Program and arguments before the program's; nothing where it runs by itself.
    pub runner: &'static [&'static str],
}

/// This machine; of x86-64, one with AVX2.
pub const NATIVE: Machine = Machine {
    target: if cfg!(target_arch = "aarch64") {
        "aarch64"
    } else {
        "x86-64-v3"
    },
    compiler: "cc",
    link: &[],
    runner: &[],
};

/// The emulated CPUs have exactly the instructions of the targets.
pub const ARM: [Machine; 2] = [
    Machine {
        target: "aarch64",
        compiler: "aarch64-linux-gnu-gcc",
        link: &["-static"],
        runner: &["qemu-aarch64-static", "-cpu", "cortex-a72"],
    },
    Machine {
        target: "aarch64-dotprod",
        compiler: "aarch64-linux-gnu-gcc",
        link: &["-static"],
        runner: &["qemu-aarch64-static", "-cpu", "cortex-a76"],
    },
];

impl Machine {
    /// Whether programs can be made and run; says what is missing, which fails a test that must run.
    ///
    /// # Panics
    /// When something is missing and `GEM_REQUIRE=all`.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let emulated = !self.runner.is_empty();
        if !emulated && !Target::find(self.target).is_ok_and(|t| t.runs_here()) {
            skipped(self.target).expect("GEM_REQUIRE is not set");
            return false;
        }
        let tools = [Some(&self.compiler), self.runner.first()];
        for tool in tools.into_iter().flatten() {
            if Command::new(tool).arg("--version").output().is_err() {
                skipped(tool).expect("GEM_REQUIRE is not set");
                return false;
            }
        }
        true
    }

    /// Makes cargo compile for the machine and run what it compiled, where it is foreign: with a compiler that has the
    /// standard library for it, and programs that need nothing else.
    ///
    /// # Panics
    /// When there is none and `GEM_REQUIRE=all`.
    #[must_use]
    pub fn cargo(&self, mut command: Command) -> Option<Command> {
        if self.runner.is_empty() {
            return Some(command);
        }
        let target = Target::find(self.target).expect("an embedded target");
        let toolchain = match Toolchain::find(target.rust_triple().as_deref(), Linkage::Static) {
            Ok(toolchain) => toolchain,
            Err(missing) => {
                skipped(&missing.to_string()).expect("GEM_REQUIRE is not set");
                return None;
            }
        };
        let variable = |name: &str| {
            let triple = toolchain.triple.to_uppercase().replace('-', "_");
            format!("CARGO_TARGET_{triple}_{name}")
        };
        command
            .args(["--target", &toolchain.triple])
            .env("RUSTC", &toolchain.rustc.program)
            .env(variable("LINKER"), self.compiler)
            .env(variable("RUNNER"), self.runner.join(" "))
            .env(variable("RUSTFLAGS"), "-Ctarget-feature=+crt-static");
        Some(command)
    }

    /// The command that runs a program of the machine, emulated where it is foreign.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        match self.runner {
            [] => Command::new(program),
            [runner, arguments @ ..] => {
                let mut command = Command::new(runner);
                command.args(arguments).arg(program);
                command
            }
        }
    }
}
