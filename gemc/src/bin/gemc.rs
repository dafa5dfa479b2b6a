//! The `gemc` command. Everything is in the library, where it can be tested.

fn main() -> std::process::ExitCode {
    gemc::cli::main()
}
