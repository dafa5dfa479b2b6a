//! A command that starts others -> one that ends with us, and takes them along, however we end.
//!
//! A signal reaches a process, not its children: a killed gemc would leave cargo and its compilers at work. So the command
//! runs in a process group of its own beside a shell that reads a pipe from us. The pipe closes when this process ends,
//! by whatever signal, and then the shell kills the group.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

/// Where every system with a toolchain has a shell.
const SHELL: &str = "/bin/sh";

/// Waits for the pipe's end in the background, with no hold on the command's output; meanwhile runs the command.
const SCRIPT: &str = r#"
exec 3<&0 </dev/null
(read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 &
exec 3<&-
"$@"
"#;

/// What a shell says of a command that is not there, or is none.
const NOT_FOUND: i32 = 127;
const NO_PROGRAM: i32 = 126;

/// Runs a command to its end; its standard input is empty.
///
/// # Errors
/// When it cannot be started.
pub fn output(command: &Command) -> io::Result<Output> {
    let mut guarded = Command::new(SHELL);
    guarded
        .args(["-c", SCRIPT, SHELL])
        .arg(command.get_program())
        .args(command.get_args())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(name, value),
            None => guarded.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        guarded.current_dir(folder);
    }
    let mut child = guarded.spawn()?;
    // Held until the command has ended; closing it ends the shell that waits for that.
    let alive = child.stdin.take();
    let output = child.wait_with_output()?;
    drop(alive);
    match output.status.code() {
        Some(NOT_FOUND) => Err(io::ErrorKind::NotFound.into()),
        Some(NO_PROGRAM) => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_runs_as_if_alone() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "cat; echo \"$GUARDED $1\"; echo no >&2; exit 3",
            "sh",
            "a 'b'",
        ]);
        command.env("GUARDED", "yes").current_dir("/");
        let ended = output(&command).expect("it starts");
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.stdout, b"yes a 'b'\n");
        assert_eq!(ended.stderr, b"no\n");
        let missing = output(&Command::new("no-such-program")).expect_err("missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
