//! Text form of programs: what [`print()`] writes, [`parse()`] reads back to the same program.
//!
//! One statement a line; the syntax is in `docs/kernel-ir.md`. Identifiers are the ids of the program itself, so a
//! line of a dump names the same value as an error or a line of generated code. The parser checks form only (ids are
//! complete, names and numbers fit); what programs mean is [`super::verify`]'s.

mod format;
mod items;
mod lex;
mod op;
mod parse;
mod print;
mod stmt;
#[cfg(test)]
mod tests;

pub use parse::{ParseError, parse};
pub use print::{function_to_string, kernel_to_string, print};

/// Longest text that is read, in bytes.
pub const MAX_TEXT: usize = 64 << 20;

/// Reads any bytes as a program; if it is one, its text must read back as the same program, and the verifier must
/// come to a conclusion.
///
/// # Panics
/// When printing and parsing disagree: the defect that fuzzing looks for.
pub fn fuzz_kernel_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(program) = parse(text) else { return };
    let printed = print(&program);
    match parse(&printed) {
        Ok(again) => assert_eq!(again, program, "parse(print(p)) differs from p"),
        Err(error) => unreachable!("printed text does not parse: {error}\n{printed}"),
    }
    drop(super::verify::verify(program));
}
