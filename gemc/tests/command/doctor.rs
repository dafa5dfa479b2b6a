//! What `gemc doctor` knows, and what a build for another machine says in the same words.

use super::*;

#[test]
fn the_doctor_knows_what_is_here() {
    let output = gemc(&["doctor", "--json"]).output().expect("it starts");
    assert!(output.status.success(), "{}", told(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one value");
    let checks = found["checks"].as_array().expect("a list");
    let check = |what: &str| {
        let named = checks
            .iter()
            .find(|c| c["what"].as_str().is_some_and(|w| w.contains(what)));
        named.unwrap_or_else(|| panic!("no {what}"))
    };
    assert!(check("cargo")["found"].is_string(), "tests are run by it");
    assert!(
        check("targets that run here")["found"]
            .as_str()
            .is_some_and(|f| f.contains("portable"))
    );
    check("standard library for aarch64-unknown-linux-gnu");
    let none = gemc(&["doctor", "--json"])
        .env("PATH", "")
        .output()
        .expect("it starts");
    let found: serde_json::Value = serde_json::from_slice(&none.stdout).expect("one value");
    let checks = found["checks"].as_array().expect("a list");
    let cargo = checks
        .iter()
        .find(|c| c["what"] == "cargo")
        .expect("a line");
    assert!(cargo["found"].is_null() && cargo["mend"].is_string());
}

#[test]
fn the_doctor_knows_each_target() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let rustc = bare_compiler(root.path());
    let ask = |arguments: &[&str]| {
        let mut command = gemc(&[&["doctor"], arguments].concat());
        command
            .env("RUSTC", &rustc)
            .env("GEMC_CACHE", root.path().join("cache"))
            .env_remove("ANDROID_NDK_HOME")
            .env_remove("CARGO_TARGET_AARCH64_LINUX_ANDROID_LINKER");
        command.output().expect("it starts")
    };
    let (pi, pixel) = ("aarch64-unknown-linux-gnu", "aarch64-linux-android");
    for (name, triple, other) in [
        ("pi4", pi, pixel),
        ("pi5", pi, pixel),
        ("pixel6", pixel, pi),
    ] {
        let output = ask(&["--target", name]);
        assert!(output.status.success(), "{}", told(&output));
        let text = String::from_utf8(output.stdout).expect("a text");
        for words in [
            &format!("target {name}: "),
            &format!("rustup target add {triple}"),
            &format!("costs of {name}: projected, of B8"),
            &format!("gemc targets {name} --measure"),
        ] {
            assert!(text.contains(words), "`{words}` in {text}");
        }
        assert!(!text.contains(other), "of {name} alone: {text}");
        assert_eq!(
            text.contains("ANDROID_NDK_HOME"),
            name == "pixel6",
            "{text}"
        );
    }
    let list = gemc(&["targets"]).output().expect("it starts");
    let list = String::from_utf8(list.stdout).expect("a text");
    for name in ["pi4 ", "pi5 ", "pixel6 "] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{list}");
    }
    let unknown = ask(&["--target", "pixle6"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(told(&unknown).contains("did you mean `pixel6`?"));
}

/// A compiler that has no standard library for anything.
fn bare_compiler(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("rustc");
    let script = "#!/bin/sh\n\
                  case $1 in\n\
                  -vV) echo 'rustc 1.95.0'; echo 'host: x86_64-unknown-linux-gnu'; echo 'release: 1.95.0' ;;\n\
                  *) echo /no/such/folder ;;\n\
                  esac\n";
    fs::write(&path, script).expect("space");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path
}

#[test]
fn what_a_foreign_program_lacks_is_told_before_any_work_as_the_doctor_tells_it() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (out, rustc) = (root.path().join("out"), bare_compiler(root.path()));
    let ask = |arguments: &[&str]| {
        let mut command = gemc(arguments);
        command
            .env("RUSTC", &rustc)
            .env("PATH", root.path())
            .env("GEMC_CACHE", root.path().join("cache"))
            .env_remove("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER");
        command.output().expect("it starts")
    };
    let output = out.to_str().expect("a plain path");
    let doctor = ask(&["doctor"]);
    let doctor = String::from_utf8(doctor.stdout).expect("a text");
    let arm = ["--target", "aarch64", "-o", output];
    for verb in [
        &["build", CHECKPOINT, "--bin"][..],
        &["build", CHECKPOINT, "--bin", "--static"],
        &["runtime"],
    ] {
        let refused = ask(&[verb, &arm[..]].concat());
        let told = told(&refused);
        assert_eq!(refused.status.code(), Some(1), "{told}");
        for command in [
            "rustup target add aarch64-unknown-linux-gnu",
            "libstd-rust-web-dev:arm64",
            "apt-get install gcc-aarch64-linux-gnu",
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
        ] {
            assert!(told.contains(command), "{command} in {told}");
        }
        let mends = told.lines().filter(|line| line.starts_with("         "));
        let mends: Vec<&str> = mends.collect();
        assert_eq!(mends.len(), 2, "{told}");
        for mend in mends {
            assert!(doctor.contains(mend), "`{mend}` in {doctor}");
        }
        assert!(!out.exists());
    }
    assert!(doctor.contains("libc.a"), "{doctor}");
    assert!(doctor.contains("linux-musl"), "{doctor}");
}

#[test]
fn static_is_said_of_programs() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let out = root.path().join("out");
    let output = out.to_str().expect("a plain path");
    for more in [&["--static"][..], &["--static", "--bin", "--format", "obj"]] {
        let arguments = [&["build", CHECKPOINT, "-o", output], more].concat();
        let refused = gemc(&arguments).output().expect("it starts");
        assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    }
    assert!(!out.exists());
}
