//! `examples/microcontroller`: a routed classifier without an operating system, on an emulated Cortex-M4, answers as it does here.

use super::patch_app::{copied, repository};
use super::*;

const TRIPLE: &str = "thumbv7em-none-eabihf";

/// A Rust compiler with its library's text, of which a library for the board is built, as Debian has it.
fn compiler() -> Option<PathBuf> {
    let debian = PathBuf::from("/usr/bin/rustc");
    let version = Command::new(&debian).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let text = format!("/usr/src/rustc-{}", version.split_whitespace().nth(1)?);
    Path::new(&text).exists().then_some(debian)
}

/// The linker that comes with Rust, else one that is installed.
fn linker() -> Option<PathBuf> {
    let root = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let root = PathBuf::from(String::from_utf8_lossy(&root.stdout).trim());
    let host = format!(
        "lib/rustlib/{}-unknown-linux-gnu/bin/rust-lld",
        std::env::consts::ARCH
    );
    let known = [root.join(host), PathBuf::from("/usr/bin/ld.lld")];
    known.into_iter().find(|path| path.exists())
}

fn emulator() -> Option<()> {
    Command::new("qemu-system-arm")
        .arg("--version")
        .output()
        .ok()
        .map(|_| ())
}

/// A command in the example's folder, and what it printed.
fn printed(command: &mut Command, folder: &Path) -> String {
    let output = command
        .current_dir(folder)
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("board-target"),
        )
        .env_remove("RUSTFLAGS")
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_board_without_an_operating_system_answers_as_this_machine_does() {
    let (Some(rustc), Some(linker), Some(())) = (compiler(), linker(), emulator()) else {
        let all = std::env::var_os("GEM_REQUIRE").is_some_and(|all| all == "all");
        assert!(
            !all,
            "needs rustc-web, rust-web-src, qemu-system-arm and a linker, and GEM_REQUIRE=all"
        );
        println!("SKIPPED: needs what builds for {TRIPLE} and runs it");
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().join("microcontroller");
    copied(
        &repository("examples/microcontroller/src"),
        &folder.join("src"),
    );
    for name in [
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "memory.x",
        ".cargo/config.toml",
    ] {
        let to = folder.join(name);
        fs::create_dir_all(to.parent().expect("a folder")).expect("space");
        fs::copy(repository("examples/microcontroller").join(name), to).expect("space");
    }
    let checkpoint = repository("examples/checkpoints/cls-final-2domains-top2-fallback");
    let built = gemc(&["build", "--target", "portable", "--bits", "4.25", "-o"])
        .arg(folder.join("classifier"))
        .arg(&checkpoint)
        .output()
        .expect("it starts");
    assert!(built.status.success(), "{}", told(&built));
    let run = ["run", "--release", "--quiet"];
    let here = printed(Command::new("cargo").args(run), &folder);
    let board = printed(
        Command::new("cargo")
            .args(run)
            .args(["-Zbuild-std=core,alloc", "--target", TRIPLE])
            .env("RUSTC", rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER", linker),
        &folder,
    );
    assert_eq!(here.lines().count(), 4, "{here}");
    assert_eq!(board, here);
}
