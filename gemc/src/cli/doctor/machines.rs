//! Rust targets -> what making programs for them needs: the standard library, a linker, C libraries, an emulator. What is
//! missing is told as `gemc build` tells it.

use std::collections::BTreeSet;

use super::Check;
use crate::package::glibc_version;
use crate::package::toolchain::{
    Linker, Missing, Rustc, library_missing, linker_missing, musl, static_missing,
};
use crate::target::Target;

/// For this machine, then for those of the embedded targets.
pub fn checks(compilers: &[Rustc]) -> Vec<Check> {
    let host = compilers.first().map(Rustc::host).unwrap_or_default();
    let others = Target::all();
    let others: BTreeSet<String> = others.iter().filter_map(Target::rust_triple).collect();
    let here = (!host.is_empty()).then(|| host.to_owned());
    let triples = here.into_iter().chain(others);
    triples
        .flat_map(|triple| of_triple(&triple, host, compilers))
        .collect()
}

/// For one target: what it is, whether it runs here, whether its costs are known, and what its programs need.
pub fn checks_for(target: &Target, compilers: &[Rustc]) -> Vec<Check> {
    let host = compilers.first().map(Rustc::host).unwrap_or_default();
    let lacks = target.missing_here();
    let here = match (target.is_native(), lacks.is_empty()) {
        (true, true) => "runs here".to_owned(),
        (true, false) => format!("does not run here: this machine lacks {}", lacks.join(", ")),
        (false, _) => "does not run here: it is for another machine".to_owned(),
    };
    let name = &target.name;
    let mut checks = vec![
        Check::new(
            &format!("target {name}"),
            Some(format!("{}; {here}", target.description)),
            &format!("--target {name}"),
            "",
        ),
        Check::new(
            &format!("costs of {name}"),
            target.costs.as_ref().map(|costs| {
                let formats: Vec<&str> = costs.weights.keys().map(String::as_str).collect();
                let formats = formats.join(", ");
                match costs.projected {
                    true => format!(
                        "projected, of {formats}; on the device `gemc targets {name} --measure` measures them"
                    ),
                    false => format!("measured, of {formats}"),
                }
            }),
            "gemc plan --latency",
            &format!(
                "on the device: gemc targets {name} --measure > {name}.toml, and --target ./{name}.toml"
            ),
        ),
    ];
    let triple = target.rust_triple();
    let triple = triple.as_deref().unwrap_or(host);
    if !triple.is_empty() {
        checks.extend(of_triple(triple, host, compilers));
    }
    checks
}

fn check(found: Option<String>, needed_for: &str, missing: Missing) -> Check {
    Check::new(&missing.what, found, needed_for, &missing.mend)
}

/// What programs for a Rust target need.
fn of_triple(triple: &str, host: &str, compilers: &[Rustc]) -> Vec<Check> {
    let mut checks = vec![library(
        triple,
        compilers,
        &format!("gemc build --bin, gemc runtime for {triple}"),
    )];
    if let Some(linker) = Linker::of(triple, host) {
        let needed_for = format!("linking programs for {triple}");
        let missing = linker_missing(triple, &linker);
        checks.push(check(linker.found(), &needed_for, missing));
        if triple.contains("-linux-gnu") {
            checks.extend(c_library(triple, &linker));
            checks.push(static_c_library(triple, host, &linker));
        }
    }
    if triple.contains("-linux-gnu") {
        let needed_for =
            "gemc build --bin --static where there is no libc.a; target files with this triple";
        checks.push(library(&musl(triple), compilers, needed_for));
    }
    if triple == "aarch64-unknown-linux-gnu" && host != triple {
        checks.push(Check::program(
            "qemu-aarch64-static",
            "--version",
            "running programs for aarch64 here, as tests do",
            "apt-get install qemu-user-static",
        ));
    }
    checks
}

fn library(triple: &str, compilers: &[Rustc], needed_for: &str) -> Check {
    let with = compilers.iter().find(|rustc| rustc.has_library(triple));
    let found = with.map(|rustc| format!("of {} ({})", rustc.name(), rustc.program.display()));
    check(found, needed_for, library_missing(triple))
}

/// The glibc that programs are linked with, which may be newer than what they need.
fn c_library(triple: &str, linker: &Linker) -> Option<Check> {
    let version = glibc_version(&linker.library("libc.so.6")?)?;
    Some(Check::new(
        &format!("glibc for {triple}"),
        Some(version),
        "programs need at most this version, with --static none; gemc build --bin says which",
        "",
    ))
}

fn static_c_library(triple: &str, host: &str, linker: &Linker) -> Check {
    let found = linker.library("libc.a").and_then(|path| {
        // GCC tells paths with many steps up.
        let path = path.canonicalize().ok()?;
        Some(path.display().to_string())
    });
    let needed_for = format!("gemc build --bin --static for {triple}");
    check(found, &needed_for, static_missing(triple, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_machine_has_nothing() {
        let compilers = Rustc::all().expect("this test was compiled by one");
        let checks = of_triple("riscv99-unknown-none", compilers[0].host(), &compilers);
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].found, None);
        let mend = checks[0].mend.as_deref();
        assert!(mend.is_some_and(|m| m.contains("rustup target add riscv99-unknown-none")));
    }

    #[test]
    fn this_machine_makes_programs_for_itself() {
        let compilers = Rustc::all().expect("this test was compiled by one");
        let host = compilers[0].host();
        let checks = of_triple(host, host, &compilers);
        assert!(checks[0].found.is_some(), "{checks:?}");
        let linker = checks.iter().find(|c| c.what.contains("the linker for"));
        assert!(linker.is_none_or(|linker| linker.found.is_some()));
    }
}
