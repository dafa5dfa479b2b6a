//! Text of a whole small crate, the same bytes anywhere, and every way an output folder can be in the way.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use gem_runtime::simd::Level;
use gem_runtime::{ModelInfo, Name, Task};

use super::*;
use crate::cache::CacheError;

fn toy() -> Package {
    Package {
        info: ModelInfo {
            name: "Toy \"one\"".into(),
            task: Task::CausalLm,
            target: "portable".into(),
            level: Level::Portable,
            vocab_size: 11,
            hidden_size: 8,
            max_positions: 20,
            domains: vec![Name::from("law"), Name::from("stem")].into(),
            labels: vec![].into(),
            embedding: 0,
            conventions: gem_runtime::Conventions::PLAIN,
            bits_per_weight: 4.25,
            weight_bytes: 44,
            plan_hash: [0x3f; 32],
            layout: 7,
            bos: Some(1),
            eos: vec![2].into(),
        },
        sources: vec![
            ("src/kernels.rs".to_owned(), "// kernels\n".to_owned()),
            ("src/program.rs".to_owned(), "// tables\n".to_owned()),
        ],
        better: Vec::new(),
        kit: None,
        texts: vec![("tokenizer.json".to_owned(), b"{}".to_vec())],
        licenses: vec![("LICENSE".to_owned(), "Free.\n".to_owned())],
        runtime: Runtime::Embedded,
        inputs: BTreeMap::from([("model.safetensors".to_owned(), hash_bytes(b"weights"))]),
        locked: None,
    }
}

fn write_toy(dir: &Path) -> Result<Manifest, PackageError> {
    write(
        Destination::new(dir, EditedFiles::Refused)?,
        &toy(),
        |file| file.write_all(b"weights").map_err(PackageError::io(dir)),
    )
}

fn tree(dir: &Path) -> Files {
    let mut files = Files::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for item in fs::read_dir(folder).expect("a folder") {
            let path = item.expect("an item").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path
                    .strip_prefix(dir)
                    .expect("inside")
                    .display()
                    .to_string();
                files.insert(name, fs::read(path).expect("a file"));
            }
        }
    }
    files
}

#[test]
fn the_crate_reads_well() {
    let files = render(&toy()).expect("well formed");
    let text = |path: &str| String::from_utf8(files[path].clone()).expect("text");
    insta::assert_snapshot!("readme", text("README.md"));
    for (path, file) in &files {
        let ours = !path.starts_with("gem-runtime/");
        let marked = file.windows(10).any(|bytes| bytes == b"@generated");
        assert!(
            marked || !(ours && path.ends_with(".rs")),
            "{path} has no mark"
        );
    }
    insta::assert_snapshot!("cargo_toml", text("Cargo.toml"));
    insta::assert_snapshot!("lib_rs", text("src/lib.rs"));
    insta::assert_snapshot!("main_rs", text("src/main.rs"));
}

#[test]
fn better_programs_stand_in_modules_and_are_tried_first() {
    let sources = [("src/kernels.rs", "// k\n"), ("src/program.rs", "// p\n")];
    let sources = sources.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let better = BetterProgram {
        target: "aarch64-dotprod".to_owned(),
        level: Level::NeonDotprod,
        module: "aarch64_dotprod".to_owned(),
        sources: super::sources::in_module("aarch64_dotprod", sources.to_vec()),
    };
    let mut package = toy();
    package.info.level = Level::Neon;
    package.info.target = "aarch64".into();
    package.better = vec![better];
    let files = render(&package).expect("well formed");
    for file in ["kernels", "program"] {
        assert!(files.contains_key(&format!("src/aarch64_dotprod/{file}.rs")));
        assert!(files.contains_key(&format!("src/{file}.rs")));
    }
    let text = String::from_utf8(files["src/lib.rs"].clone()).expect("text");
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    // Facts about the model have a level, too: that of the crate's own program.
    assert!(at("level: Level::Neon,") < at("level: Level::NeonDotprod,"));
    assert!(at("&aarch64_dotprod::program::PROGRAM") < at("&program::PROGRAM"));
    assert!(text.contains("mod aarch64_dotprod {"));
}

#[test]
fn the_same_package_gives_the_same_bytes_at_any_depth() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (near, far) = (root.path().join("a"), root.path().join("b/c/d/e"));
    let manifest = write_toy(&near).expect("an empty place");
    write_toy(&far).expect("an empty place");
    let files = tree(&near);
    assert_eq!(files, tree(&far));
    assert_eq!(Manifest::read(&near.join(MANIFEST)), Some(manifest.clone()));
    for (path, hash) in &manifest.outputs {
        assert_eq!(hash, &hash_bytes(&files[path]), "{path}");
    }
    assert_eq!(files.len(), manifest.outputs.len() + 1);
    assert_eq!(manifest.licenses["LICENSE"], "Free.\n");
    assert_eq!(files["licenses/LICENSE"], b"Free.\n");
    assert!(files.contains_key("gem-runtime/src/lib.rs"));
    let here = root.path().display().to_string();
    for (path, bytes) in &files {
        assert!(!String::from_utf8_lossy(bytes).contains(&here), "{path}");
    }
    let beside: Vec<_> = fs::read_dir(root.path())
        .expect("a folder")
        .map(|item| item.expect("an item").file_name())
        .collect();
    assert_eq!(beside.len(), 2, "only `a` and `b`: {beside:?}");
}

fn occupied(dir: &Path) -> String {
    match write_toy(dir) {
        Err(PackageError::Occupied { file, .. }) => file,
        other => panic!("expected an error, got {other:?}"),
    }
}

#[test]
fn a_previous_package_is_replaced_and_nothing_else() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let dir = root.path().join("out");
    fs::create_dir(&dir).expect("a new folder");
    write_toy(&dir).expect("an empty folder");
    fs::create_dir(dir.join("bin")).expect("space");
    fs::write(dir.join("bin/toy-one"), "the program").expect("space");
    fs::remove_file(dir.join("tokenizer.json")).expect("there");
    write_toy(&dir).expect("a package");
    assert!(dir.join("tokenizer.json").exists() && !dir.join("bin").exists());
    for mine in ["src/notes.txt", "bin/script", "gem-runtime/src/mine/empty"] {
        let path = dir.join(mine);
        fs::create_dir_all(path.parent().expect("below")).expect("space");
        fs::write(&path, "mine").expect("space");
        assert_eq!(occupied(&dir), mine);
        assert_eq!(fs::read(&path).expect("there"), b"mine");
        fs::remove_file(&path).expect("there");
        let _ = fs::remove_dir(dir.join("bin"));
    }
    // An empty folder is somebody's, too.
    assert_eq!(occupied(&dir), "gem-runtime/src/mine");
    assert!(dir.join("gem-runtime/src/mine").exists());

    let other = root.path().join("other");
    fs::create_dir(&other).expect("a new folder");
    fs::write(other.join(MANIFEST), "{\"tool\": \"else\"}").expect("space");
    assert_eq!(occupied(&other), MANIFEST);
    let folders = root.path().join("folders");
    fs::create_dir_all(folders.join("empty")).expect("space");
    assert_eq!(occupied(&folders), "empty");
}

#[test]
fn what_was_edited_is_not_replaced_unless_asked_for() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let dir = root.path().join("out");
    write_toy(&dir).expect("a new folder");
    let program = dir.join("src/program.rs");
    fs::write(dir.join("src/lib.rs"), "// mine").expect("generated");
    fs::remove_file(&program).expect("there");
    std::os::unix::fs::symlink("lib.rs", &program).expect("space");
    for edited in [EditedFiles::Refused, EditedFiles::RefusedWithLock] {
        match Destination::new(&dir, edited) {
            Err(PackageError::EditedFiles { files, .. }) => {
                assert_eq!(files, "src/lib.rs, src/program.rs");
            }
            other => panic!("expected an error, got {other:?}"),
        }
    }
    assert_eq!(fs::read(dir.join("src/lib.rs")).expect("there"), b"// mine");
    let to = Destination::new(&dir, EditedFiles::Overwritten).expect("asked for");
    write(to, &toy(), |_| Ok::<(), PackageError>(())).expect("space");
    assert_ne!(fs::read(dir.join("src/lib.rs")).expect("there"), b"// mine");
    assert!(!program.is_symlink());
}

#[test]
fn what_other_tools_put_there_stays() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let dir = root.path().join("out");
    let put = |path: &str| {
        let full = dir.join(path);
        fs::create_dir_all(full.parent().expect("below")).expect("space");
        fs::write(full, path).expect("space");
    };
    let stays = |path: &str| fs::read_to_string(dir.join(path)).is_ok_and(|text| text == path);
    // A repository that is still empty.
    let first = [".git/objects/ab/cd", ".gitignore", ".DS_Store"];
    first.iter().for_each(|path| put(path));
    write_toy(&dir).expect("nothing of anybody's content");
    let later = [
        ".cargo/config.toml",
        "src/.lib.rs.swp",
        "src/lib.rs~",
        "src/#lib.rs#",
        "target/release/toy",
    ];
    later.iter().for_each(|path| put(path));
    write_toy(&dir).expect("a package");
    for path in first.iter().chain(&later) {
        assert!(stays(path), "{path}");
    }
    assert_eq!(fs::read_dir(root.path()).expect("a folder").count(), 1);
    // Cargo's lock file: its changes stay as long as the generated one is the same.
    let lock = dir.join("Cargo.lock");
    fs::write(&lock, "# cargo's").expect("space");
    write_toy(&dir).expect("no edit of somebody's");
    assert_eq!(fs::read(&lock).expect("there"), b"# cargo's");
    assert!(Destination::new(&dir, EditedFiles::RefusedWithLock).is_err());
    let mut package = toy();
    package.runtime = Runtime::Version("9.9.9".to_owned());
    let to = Destination::new(&dir, EditedFiles::Refused).expect("a package");
    write(to, &package, |_| Ok::<(), PackageError>(())).expect("space");
    assert_ne!(fs::read(&lock).expect("there"), b"# cargo's");
}

/// A folder that appears while the new one is written is not lost either.
#[test]
fn what_comes_meanwhile_is_not_lost() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let dir = root.path().join("out");
    write_toy(&dir).expect("a new folder");
    let to = Destination::new(&dir, EditedFiles::Refused).expect("a package");
    let late = write(to, &toy(), |_| {
        fs::write(dir.join("notes.txt"), "mine").map_err(PackageError::io(&dir))
    });
    assert!(matches!(late, Err(PackageError::Occupied { .. })));
    assert_eq!(fs::read(dir.join("notes.txt")).expect("there"), b"mine");
}

#[test]
fn a_failed_or_killed_run_leaves_nothing_that_looks_whole() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let dir = root.path().join("out");
    let fail = || {
        write(
            Destination::new(&dir, EditedFiles::Refused)?,
            &toy(),
            |_| Err::<(), PackageError>(CacheError::NoFolder.into()),
        )
    };
    let failed = fail();
    assert!(failed.is_err());
    assert_eq!(fs::read_dir(root.path()).expect("a folder").count(), 0);

    let partial = root.path().join(".out.gemc-partial");
    fs::create_dir_all(partial.join("src")).expect("as left by a killed run");
    let old = root.path().join(".out.gemc-old");
    write_toy(&old).expect("as if renamed by a killed run");
    let failed = fail();
    assert!(failed.is_err());
    assert!(dir.join(MANIFEST).exists(), "the old package is back");
    assert!(!partial.exists() && !old.exists());
    write_toy(&dir).expect("a package");
    assert_eq!(fs::read_dir(root.path()).expect("a folder").count(), 1);
}

#[test]
fn names_become_crate_names() {
    for (model, expected) in [
        ("gem-lm", "gem-lm"),
        ("Gem LM (4 bits)", "gem-lm-4-bits"),
        ("7b", "model-7b"),
        ("", "model"),
        ("\u{65e5}\u{672c}", "model"),
        ("fn", "model-fn"),
        ("std", "model-std"),
        ("../../etc", "etc"),
        ("a__b", "a-b"),
    ] {
        assert_eq!(cargo::crate_name(model), expected);
    }
}

#[test]
fn a_name_is_no_code_and_turns_no_line() {
    let mut package = toy();
    package.info.name = "a\u{202e}b\u{2066}\n```\nfn f() {".into();
    let files = render(&package).expect("well formed");
    let lib = String::from_utf8(files["src/lib.rs"].clone()).expect("text");
    let said = lib.lines().nth(1).expect("behind the mark");
    assert!(said.starts_with("//! ab'''fn f() {: "), "{lib}");
    // rustc refuses these in comments and literals alike.
    assert!(
        !lib.contains(['\u{202e}', '\u{2066}', '`'][..2].as_ref()),
        "{lib}"
    );
    assert!(lib.contains("\\u{202e}"), "the name itself is whole: {lib}");
}

#[test]
fn two_files_of_one_path_are_refused() {
    let mut package = toy();
    package.texts.push(("src/lib.rs".to_owned(), Vec::new()));
    assert!(matches!(
        render(&package),
        Err(PackageError::Clash { path }) if path == "src/lib.rs"
    ));
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut package = toy();
    package.texts.push(("../outside".to_owned(), Vec::new()));
    let to = Destination::new(&root.path().join("out"), EditedFiles::Refused).expect("new");
    let result = write(to, &package, |_| Ok::<(), PackageError>(()));
    assert!(matches!(result, Err(PackageError::Outside { .. })));
}

/// Cargo accepts the lock file as it is. `GEM_BLESS=1` writes it anew from the workspace's.
#[test]
fn the_lock_file_is_up_to_date() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let dir = root.path().join("toy");
    write_toy(&dir).expect("an empty place");
    let name = toy().crate_name();
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bless = std::env::var_os("GEM_BLESS").is_some_and(|v| v == "1");
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["update", "--workspace", "--offline"])
        .current_dir(&dir);
    if bless {
        fs::copy(own.join("../Cargo.lock"), dir.join("Cargo.lock")).expect("the workspace's");
    } else {
        command.arg("--locked");
    }
    let output = command.output().expect("cargo runs this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\nrun with GEM_BLESS=1");
    let made = fs::read_to_string(dir.join("Cargo.lock")).expect("cargo's");
    if bless {
        let text = lock::without_crate(&made, &name);
        fs::write(own.join("src/package/generated.lock"), text).expect("space");
    } else {
        assert_eq!(made, lock::lock(&name, &Runtime::Embedded));
    }
}
