//! `gemc patch` and `gemc apply`: weights that were shipped, and one module that was trained further.

use serde_json::Value;

use super::*;

/// Where modules stand differs: MLPs in every layer with SCAR, LoRAs in some layers, MLPs at the end of a classifier.
const MODELS: [&str; 3] = [
    "lm-all-8mlp-top3-always-domainscar",
    "lm-some-2lora-top2-fallback-domainscar",
    "cls-final-2mlp-top1-fallback",
];

pub(super) fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/checkpoints")
        .join(name)
}

/// A run that must succeed; what it prints with `--json`.
pub(super) fn done(folder: &Path, arguments: &[&str]) -> Value {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// A run that must fail; what it says.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    told(&output)
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let command = &mut gemc(arguments);
    let command = command
        .current_dir(folder)
        .env("GEMC_CACHE", folder.join("cache"));
    command.output().expect("it starts")
}

/// Copies a checkpoint, with another bit of the mantissa of every value that is chosen by its tensor's name, and by its row
/// where one is given.
pub(super) fn trained(from: &Path, to: &Path, chosen: impl Fn(&str) -> Option<Option<usize>>) {
    fs::create_dir_all(to).expect("created");
    for (path, bytes) in files(from) {
        let path = to.join(path.strip_prefix(from).expect("in it"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, bytes).expect("written");
    }
    let weights = to.join("model.safetensors");
    let mut bytes = fs::read(&weights).expect("there");
    let length = u64::from_le_bytes(*bytes.first_chunk().expect("a length")) as usize;
    let head: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
    for (name, tensor) in head.as_object().expect("tensors") {
        let Some(row) = chosen(name) else {
            continue;
        };
        let number = |value: &Value| value.as_u64().expect("a number") as usize;
        let (offsets, shape) = (&tensor["data_offsets"], &tensor["shape"]);
        let (start, end) = (number(&offsets[0]), number(&offsets[1]));
        let own = match row {
            None => start..end,
            Some(row) => {
                let each = (end - start) / number(&shape[0]);
                start + row * each..start + (row + 1) * each
            }
        };
        let width = match tensor["dtype"].as_str() {
            Some("F32") => 4,
            _ => 2,
        };
        for value in bytes[8 + length..][own].chunks_exact_mut(width) {
            value[width - 2] ^= 0x20;
        }
    }
    fs::write(weights, bytes).expect("written");
}

/// Chooses all of a module but its rows in routers.
pub(super) fn of_module(module: usize) -> impl Fn(&str) -> Option<Option<usize>> {
    let part = format!("modules.{module}.");
    move |name| name.contains(&part).then_some(None)
}

/// The names of a checkpoint's modules.
fn domains(of: &Path) -> Vec<String> {
    let config = fs::read(of.join("config.json")).expect("there");
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    let domains = config["domains"].as_array().expect("a routed model");
    domains
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

/// A plan of a checkpoint with its moments, and the weights built from both, in `base/model.gemw`.
fn shipped(folder: &Path, of: &Path) {
    let of = of.to_str().expect("UTF-8");
    let plan = [
        "plan",
        of,
        "--effort",
        "low",
        "--rounding",
        "feedback",
        "--keep-moments",
        "--json",
    ];
    done(folder, &plan);
    done(
        folder,
        &["build", of, "--plan", "plan.toml", "-o", "base", "--json"],
    );
}

/// The command that makes a patch of what is in `new`.
fn patch_of<'a>(module: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let patch = [
        "patch",
        "base/model.gemw",
        "new",
        "--plan",
        "plan.toml",
        "--module",
        module,
    ];
    [&patch, more].concat()
}

pub(super) fn weights(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join(file)).expect("there")
}

#[test]
fn patched_weights_are_those_that_would_be_built() {
    for model in MODELS {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (folder, base) = (root.path(), checkpoint(model));
        shipped(folder, &base);
        let name = &domains(&base)[1];
        let chosen = |name: &str| match name.ends_with("router.weight") {
            true => Some(Some(1)),
            false => of_module(1)(name),
        };
        trained(&base, &folder.join("new"), chosen);
        let patch = patch_of(name, &[]);
        let made = done(folder, &[&patch[..], &["-o", "a.gemp", "--json"]].concat());
        let built = [
            "build",
            "new",
            "--plan",
            "plan.toml",
            "--patched",
            name,
            "-o",
            "full",
        ];
        done(folder, &built);
        let apply = [
            "apply",
            "base/model.gemw",
            "a.gemp",
            "-o",
            "out.gemw",
            "--undo",
            "undo.gemp",
        ];
        done(folder, &apply);
        assert_eq!(
            weights(folder, "out.gemw"),
            weights(folder, "full/model.gemw"),
            "{model}"
        );
        assert_ne!(
            weights(folder, "out.gemw"),
            weights(folder, "base/model.gemw"),
            "{model}"
        );
        assert!(
            made["bytes"].as_u64() < made["base_bytes"].as_u64(),
            "{made}"
        );
        done(
            folder,
            &["apply", "out.gemw", "undo.gemp", "-o", "back.gemw"],
        );
        assert_eq!(
            weights(folder, "back.gemw"),
            weights(folder, "base/model.gemw"),
            "{model}"
        );
        let listed = done(folder, &["apply", "out.gemw", "a.gemp", "--list", "--json"]);
        assert_eq!(listed["patches"][0]["state"], "applied", "{model}");
        let twice = refused(folder, &["apply", "out.gemw", "a.gemp", "-o", "out.gemw"]);
        assert!(twice.contains("is applied"), "{twice}");
        // What gemc did not write is not replaced.
        fs::write(folder.join("diary.txt"), "of mine").expect("written");
        let kept = refused(
            folder,
            &["apply", "base/model.gemw", "a.gemp", "-o", "diary.txt"],
        );
        assert!(kept.contains("diary.txt"), "{kept}");
        assert_eq!(weights(folder, "diary.txt"), b"of mine");
    }
}

#[test]
fn what_is_not_of_the_module_is_refused_by_name() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (folder, base) = (root.path(), checkpoint(MODELS[0]));
    shipped(folder, &base);
    let name = &domains(&base)[1];
    let patch = patch_of(name, &["-o", "a.gemp"]);
    let new = folder.join("new");
    trained(&base, &new, |name| {
        name.contains("layers.1.general.up").then_some(None)
    });
    let told = refused(folder, &patch);
    assert!(
        told.contains("tensor model.layers.1.general.up_proj.weight"),
        "{told}"
    );
    trained(&base, &new, of_module(2));
    let told = refused(folder, &patch);
    assert!(told.contains("modules.2."), "{told}");
    trained(&base, &new, |name| {
        name.ends_with("0.router.weight").then_some(Some(2))
    });
    let told = refused(folder, &patch);
    assert!(
        told.contains("row 2 of tensor model.layers.0.router.weight"),
        "{told}"
    );
    trained(&base, &new, |_| None);
    let told = refused(folder, &patch);
    assert!(told.contains("nothing to patch"), "{told}");
    let config = new.join("config.json");
    let text = fs::read_to_string(&config).expect("there");
    fs::write(&config, text + "\n").expect("written");
    assert!(refused(folder, &patch).contains("config.json"));
    // A plan of the old checkpoint is for the old checkpoint, but for its module.
    trained(&base, &new, of_module(1));
    let told = refused(
        folder,
        &["build", "new", "--plan", "plan.toml", "-o", "full"],
    );
    assert!(told.contains("another checkpoint"), "{told}");
    fs::remove_file(folder.join("plan.moments")).expect("there");
    let told = refused(folder, &patch);
    assert!(told.contains("--keep-moments"), "{told}");
    assert!(!folder.join("a.gemp").exists());
}

#[test]
fn moments_are_compared_with_their_digest() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (folder, base) = (root.path(), checkpoint(MODELS[2]));
    shipped(folder, &base);
    let name = &domains(&base)[1];
    trained(&base, &folder.join("new"), of_module(1));
    let patch = patch_of(name, &["-o", "a.gemp"]);
    let path = folder.join("plan.moments");
    let mut moments = fs::read(&path).expect("there");
    let last = moments.len() - 3;
    moments[last] ^= 1;
    fs::write(&path, &moments).expect("written");
    let told = refused(folder, &patch);
    assert!(told.contains("its digest differs"), "{told}");
    moments[last] ^= 1;
    fs::write(&path, &moments).expect("written");
    done(folder, &patch);
}

/// Texts of a word each, in a folder as checkpoints have them.
fn words(folder: &Path) {
    let texts = folder.join("texts");
    fs::create_dir_all(&texts).expect("created");
    let lines: String = (0..300)
        .map(|i| format!("{{\"text\": \"word{i} {}\"}}\n", i * 7919))
        .collect();
    fs::write(texts.join("law.jsonl"), lines).expect("written");
}

#[test]
fn texts_that_the_module_serves_nothing_of_are_answered_as_before() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (folder, base) = (root.path(), checkpoint(MODELS[0]));
    shipped(folder, &base);
    words(folder);
    let name = &domains(&base)[1];
    trained(&base, &folder.join("new"), of_module(1));
    let patch = patch_of(name, &[]);
    let more = ["--texts", "texts", "-o", "a.gemp", "--json"];
    let made = done(folder, &[&patch[..], &more].concat());
    let of = |what: &str| made["routes"][0][what].as_u64().expect("a count");
    assert!(of("without") > 0 && of("served") > 0, "{made}");
    assert_eq!(of("equal"), of("without"), "{made}");
}

#[test]
fn a_module_that_takes_more_than_it_may_is_not_written() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (folder, base) = (root.path(), checkpoint(MODELS[0]));
    shipped(folder, &base);
    words(folder);
    let name = &domains(&base)[1];
    trained(&base, &folder.join("new"), |name| {
        name.ends_with("router.weight").then_some(Some(1))
    });
    let patch = patch_of(name, &[]);
    let more = [
        "--texts",
        "texts",
        "-o",
        "a.gemp",
        "--json",
        "--most-taken",
        "0",
    ];
    let output = run(folder, &[&patch[..], &more].concat());
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    let made: Value = serde_json::from_slice(&output.stdout).expect("one value");
    assert!(made["routes"][0]["taken"].as_u64() > Some(0), "{made}");
    assert!(!folder.join("a.gemp").exists());
    let most = ["--texts", "texts", "-o", "a.gemp", "--most-taken", "1"];
    done(folder, &[&patch[..], &most].concat());
    assert!(folder.join("a.gemp").exists());
}

#[test]
fn a_patch_for_a_machine_that_is_not_here_is_made_without_comparing_routing() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (folder, base) = (root.path(), checkpoint(MODELS[2]));
    shipped(folder, &base);
    let name = &domains(&base)[1];
    trained(&base, &folder.join("new"), of_module(1));
    let other = if cfg!(target_arch = "aarch64") {
        "x86-64-v3"
    } else {
        "pi4"
    };
    let patch = patch_of(name, &["--target", other]);
    let made = run(folder, &[&patch[..], &["-o", "a.gemp"]].concat());
    assert!(made.status.success(), "{}", told(&made));
    assert!(
        told(&made).contains("routing was not compared"),
        "{}",
        told(&made)
    );
    refused(
        folder,
        &[&patch[..], &["-o", "b.gemp", "--most-taken", "1"]].concat(),
    );
}
