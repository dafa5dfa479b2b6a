//! Linkers and standard libraries that are there or not, for each kind of target.

use super::*;

const ARM: &str = "aarch64-unknown-linux-gnu";
const X86: &str = "x86_64-unknown-linux-gnu";

#[test]
fn static_programs_take_glibc_then_musl() {
    let of = |triple, libc, musl| static_triple(triple, || libc, || musl).expect("Linux");
    assert_eq!(of(ARM, true, true).as_deref(), Some(ARM));
    let musl = "aarch64-unknown-linux-musl";
    assert_eq!(of(ARM, false, true).as_deref(), Some(musl));
    assert_eq!(of(ARM, false, false), None);
    assert_eq!(of(musl, false, false).as_deref(), Some(musl));
    let refused = static_triple("aarch64-apple-darwin", || true, || true);
    assert!(matches!(refused, Err(PackageError::NoStatic { .. })));
}

#[test]
fn what_is_missing_comes_with_its_commands() {
    let library = library_missing(ARM).mend;
    assert!(library.contains("rustup target add aarch64-unknown-linux-gnu"));
    assert!(library.contains("libstd-rust-web-dev:arm64"), "{library}");
    let musl = library_missing("aarch64-unknown-linux-musl").mend;
    assert!(!musl.contains("Debian"), "which has none: {musl}");
    let linker = Linker::of(X86, ARM).expect("known");
    assert_eq!(linker.program, "x86_64-linux-gnu-gcc");
    let linker = linker_missing(X86, &linker).mend;
    assert!(linker.contains("apt-get install gcc-x86-64-linux-gnu"));
    assert!(linker.contains("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER"));
    assert_eq!(Linker::of(X86, X86).expect("known").program, "cc");
    assert!(
        static_missing(ARM, X86)
            .mend
            .contains("libc6-dev-arm64-cross")
    );
    assert!(static_missing(X86, X86).mend.contains("install libc6-dev "));
    assert_eq!(Linker::of("aarch64-apple-ios", X86), None);
}

#[test]
fn android_has_tools_of_its_own() {
    const ANDROID: &str = "aarch64-linux-android";
    let name = "aarch64-linux-android21-clang";
    assert_eq!(android_linker(ANDROID, None), name);
    let of_folder = android_linker(ANDROID, Some("/ndk".into()));
    let of_folder = of_folder.to_string_lossy();
    assert!(of_folder.starts_with("/ndk/toolchains/llvm/prebuilt/"));
    assert!(
        of_folder.ends_with(&format!("-x86_64/bin/{name}")),
        "{of_folder}"
    );
    let linker = Linker {
        program: format!("/ndk/bin/{name}").into(),
        choice: Choice::Ours,
    };
    assert_eq!(linker.strip(), "/ndk/bin/llvm-strip");
    // An Arm machine with Linux is no phone.
    let linker = Linker::of(ANDROID, ARM).expect("known");
    let missing = linker_missing(ANDROID, &linker).mend;
    assert!(
        missing.contains("NDK") && !missing.contains("apt-get"),
        "{missing}"
    );
    let library = library_missing(ANDROID).mend;
    assert!(library.contains("rustup target add aarch64-linux-android"));
    assert!(!library.contains("Debian"), "which has none: {library}");
}

#[test]
fn an_old_compiler_is_no_candidate() {
    let of = |release: &str| Rustc {
        program: "rustc".into(),
        version: format!("rustc {release}\nhost: {X86}\nrelease: {release}\n"),
    };
    assert!(of("1.95.0").is_recent() && of("2.0.0-nightly").is_recent());
    assert!(!of("1.63.0").is_recent() && !of("").is_recent());
    assert_eq!(of("1.95.0").host(), X86);
}
