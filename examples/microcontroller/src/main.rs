//! A routed classifier on a microcontroller without an operating system; on a computer, the same answers.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod answers;
#[cfg(target_os = "none")]
mod board;

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    let mut text = String::new();
    match answers::write(&mut text) {
        Ok(()) => {
            print!("{text}");
            std::process::ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("{fault}");
            std::process::ExitCode::FAILURE
        }
    }
}
