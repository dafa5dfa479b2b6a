//! `pull` against a server on this machine that plays the hub: redirects to storage, ranges, hashes, tokens, faults.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gem_runtime::hex;
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::progress::Silent;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of the model that the server has.
#[derive(Clone)]
struct Kept {
    bytes: Vec<u8>,
    lfs: bool,
}

impl Kept {
    fn hash(&self) -> String {
        match self.lfs {
            true => hex(&Sha256::digest(&self.bytes)),
            false => {
                let head = format!("blob {}\0", self.bytes.len());
                hex(&Sha1::new()
                    .chain_update(head)
                    .chain_update(&self.bytes)
                    .finalize())
            }
        }
    }
}

/// What the server does beside what it should.
#[derive(Clone, Default)]
struct Faults {
    /// Answers of storage that end after so many bytes, one after the other.
    cut: Vec<usize>,
    /// Storage ignores ranges.
    no_ranges: bool,
    /// Storage gives other bytes.
    damaged: bool,
    /// So many answers say that the hub is busy.
    busy: usize,
    /// Status, code and message for everything.
    refusal: Option<(u16, &'static str, &'static str)>,
    /// The redirect to storage goes round.
    loops: bool,
}

/// The hub, and storage at another address of it.
struct Hub {
    address: String,
    state: Arc<Mutex<State>>,
}

struct State {
    files: HashMap<String, Kept>,
    faults: Faults,
    storage: String,
    /// What was asked for: which server, path, token, range.
    asked: Vec<(&'static str, String, Option<String>, Option<String>)>,
}

impl Hub {
    fn of(files: &[(&str, &[u8], bool)]) -> Self {
        let files = files.iter().map(|(name, bytes, lfs)| {
            let kept = Kept {
                bytes: bytes.to_vec(),
                lfs: *lfs,
            };
            ((*name).to_owned(), kept)
        });
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (hub, storage) = (listen(), listen());
        let address =
            |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new(State {
            files: files.collect(),
            faults: Faults::default(),
            storage: address(&storage),
            asked: Vec::new(),
        }));
        let address = address(&hub);
        serve(hub, "hub", state.clone());
        serve(storage, "storage", state.clone());
        Self { address, state }
    }

    fn with(self, faults: Faults) -> Self {
        self.state.lock().expect("nobody panicked").faults = faults;
        self
    }

    fn access(&self) -> Access {
        Access {
            endpoint: self.address.clone(),
            token: Some("hf_secret".to_owned()),
            patience: Patience {
                tries: 3,
                pause: Duration::from_millis(1),
                silence: Duration::from_secs(5),
            },
            proxies: false,
        }
    }

    fn pull(&self, cache: &Path, name: &str) -> Result<Pulled, HubError> {
        let name = HubName::parse(Path::new(name)).expect("a name");
        pull(
            &name,
            self.access(),
            &HubCache::at(cache.to_owned()),
            &Silent,
        )
    }

    fn fails(&self, name: &str) -> String {
        let cache = tempfile::tempdir().expect("a folder");
        let error = self.pull(cache.path(), name).expect_err("refused");
        let snapshots = cache.path().join("models--org--name/snapshots");
        assert!(!snapshots.exists(), "nothing half is left");
        error.to_string()
    }

    /// Ranges that storage was asked for.
    fn ranges(&self) -> Vec<Option<String>> {
        let state = self.state.lock().expect("nobody panicked");
        let storage = state.asked.iter().filter(|asked| asked.0 == "storage");
        storage.map(|asked| asked.3.clone()).collect()
    }
}

fn serve(listener: TcpListener, which: &'static str, state: Arc<Mutex<State>>) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever asks may be gone.
            let _ = answer(stream, which, &state);
        }
    });
}

fn answer(stream: TcpStream, which: &'static str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().expect("a request")?;
    let path = first.split(' ').nth(1).expect("a path").to_owned();
    let (mut token, mut range) = (None, None);
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                token = Some(value.to_owned())
            }
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                range = Some(value.to_owned())
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut state = state.lock().expect("nobody panicked");
    state
        .asked
        .push((which, path.clone(), token, range.clone()));
    let (status, headers, body, cut) = match which {
        "hub" => hub(&mut state, &path),
        _ => storage(&mut state, &path, range.as_deref()),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    )?;
    stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])
}

type Sent = (u16, String, Vec<u8>, Option<usize>);

fn hub(state: &mut State, path: &str) -> Sent {
    if let Some((status, code, message)) = state.faults.refusal {
        return (
            status,
            format!("x-error-code: {code}\r\nx-error-message: {message}\r\n"),
            vec![],
            None,
        );
    }
    if state.faults.busy > 0 {
        state.faults.busy -= 1;
        return (503, String::new(), vec![], None);
    }
    if let Some(rest) = path.strip_prefix("/api/models/org/name/revision/") {
        return match rest {
            "main?blobs=true" | "refs%2Fpr%2F1?blobs=true" | "v1?blobs=true" => {
                (200, String::new(), listing(state), None)
            }
            _ => (
                404,
                "x-error-code: RevisionNotFound\r\n".to_owned(),
                vec![],
                None,
            ),
        };
    }
    // A model that was renamed.
    if path.starts_with("/api/models/org/old/") {
        let location = path.replace("/old/", "/name/");
        return (307, format!("location: {location}\r\n"), vec![], None);
    }
    let name = path
        .split_once(&format!("/resolve/{COMMIT}/"))
        .map_or("", |(_, name)| name);
    let Some(file) = state.files.get(name) else {
        return (
            404,
            "x-error-code: EntryNotFound\r\n".to_owned(),
            vec![],
            None,
        );
    };
    let hash = file.hash();
    if state.faults.loops {
        return (302, format!("location: {path}\r\n"), vec![], None);
    }
    match file.lfs {
        true => {
            let headers = format!(
                "x-linked-etag: \"{hash}\"\r\nlocation: {}/{name}?signed=1\r\n",
                state.storage
            );
            (302, headers, vec![], None)
        }
        false => (
            200,
            format!("etag: \"{hash}\"\r\n"),
            file.bytes.clone(),
            None,
        ),
    }
}

fn listing(state: &State) -> Vec<u8> {
    let siblings = state.files.iter().map(|(name, file)| match file.lfs {
        true => json!({"rfilename": name, "size": file.bytes.len(), "blobId": "a".repeat(40),
                       "lfs": {"sha256": file.hash(), "size": file.bytes.len(), "pointerSize": 134}}),
        false => json!({"rfilename": name, "size": file.bytes.len(), "blobId": file.hash()}),
    });
    json!({"id": "org/name", "sha": COMMIT, "siblings": siblings.collect::<Vec<_>>()})
        .to_string()
        .into_bytes()
}

fn storage(state: &mut State, path: &str, range: Option<&str>) -> Sent {
    let name = path.trim_start_matches('/').trim_end_matches("?signed=1");
    let mut bytes = state.files[name].bytes.clone();
    if state.faults.damaged {
        bytes[0] ^= 1;
    }
    let cut = match state.faults.cut.is_empty() {
        true => None,
        false => Some(state.faults.cut.remove(0)),
    };
    let from = range.and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    // Its own name for the contents.
    let tag = "etag: \"0-of-storage\"\r\n";
    match from.filter(|_| !state.faults.no_ranges) {
        None => (200, tag.to_owned(), bytes, cut),
        Some(from) if from >= bytes.len() => (416, tag.to_owned(), vec![], None),
        Some(from) => {
            let range = format!(
                "{tag}content-range: bytes {from}-{}/{}\r\n",
                bytes.len() - 1,
                bytes.len()
            );
            (206, range, bytes[from..].to_vec(), cut)
        }
    }
}

fn weights() -> Vec<u8> {
    (0..40_000u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

/// A model of one file of weights, with files that nobody reads.
fn model() -> Hub {
    Hub::of(&[
        ("config.json", b"{}", false),
        ("model.safetensors", &weights(), true),
        ("pytorch_model.bin", b"the same again", true),
        ("tokenizer.json", b"{ }", true),
        ("LICENSE", b"free", false),
        ("additional_chat_templates/tools.jinja", b"x", false),
        ("onnx/model.onnx", b"and again", true),
        ("../../escaped.json", b"{}", false),
    ])
}

#[test]
fn what_is_read_is_fetched_once_and_found() {
    let (hub, cache) = (model(), tempfile::tempdir().expect("a folder"));
    let pulled = hub.pull(cache.path(), "org/name").expect("all is there");
    let mut files = pulled.files.clone();
    files.sort();
    let read = [
        "LICENSE",
        "additional_chat_templates/tools.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ];
    assert_eq!(files, read);
    assert_eq!(
        (pulled.fetched, pulled.commit.as_str()),
        (pulled.bytes, COMMIT)
    );
    let found = HubCache::at(cache.path().to_owned())
        .find(&HubName::parse(Path::new("org/name")).expect("a name"))
        .expect("found");
    assert_eq!(found.path, pulled.path);
    let folder = cache.path().join("models--org--name");
    for (name, bytes) in [
        ("model.safetensors", weights()),
        ("additional_chat_templates/tools.jinja", b"x".to_vec()),
    ] {
        let path = pulled.path.join(name);
        let target = std::fs::read_link(&path).expect("a link");
        assert!(target.is_relative(), "the cache can be moved");
        assert_eq!(std::fs::read(&path).expect("leads to a blob"), bytes);
    }
    assert_eq!(
        std::fs::read_to_string(folder.join("refs/main")).expect("there"),
        COMMIT
    );
    let again = hub.pull(cache.path(), "org/name").expect("as before");
    assert_eq!((again.fetched, again.path), (0, pulled.path));
    assert_eq!(hub.ranges().len(), 2, "two files of LFS, once");
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let (hub, cache) = (model(), tempfile::tempdir().expect("a folder"));
    hub.pull(cache.path(), "org/name").expect("all is there");
    let state = hub.state.lock().expect("nobody panicked");
    for (which, path, token, _) in &state.asked {
        let expected = (*which == "hub").then_some("Bearer hf_secret");
        assert_eq!(token.as_deref(), expected, "{which} {path}");
    }
    assert!(state.asked.iter().any(|asked| asked.0 == "storage"));
    assert!(!format!("{:?}", hub.access()).contains("secret"));
}

#[test]
fn what_broke_off_goes_on() {
    let faults = Faults {
        cut: vec![3, 100_000, 0],
        busy: 2,
        ..Faults::default()
    };
    let (hub, cache) = (model().with(faults), tempfile::tempdir().expect("a folder"));
    let pulled = hub.pull(cache.path(), "org/name").expect("in pieces");
    assert_eq!(
        std::fs::read(pulled.path.join("model.safetensors")).expect("whole"),
        weights()
    );
    let ranges = hub.ranges();
    assert!(
        ranges
            .iter()
            .flatten()
            .any(|range| range == "bytes=100000-"),
        "{ranges:?}"
    );
}

#[test]
fn an_earlier_run_is_taken_up_or_forgotten() {
    let hash = hex(&Sha256::digest(weights()));
    for (left, faults, whole) in [
        (weights()[..50_000].to_vec(), Faults::default(), true),
        // Storage that gives the whole again.
        (
            weights()[..50_000].to_vec(),
            Faults {
                no_ranges: true,
                ..Faults::default()
            },
            true,
        ),
        // All came, and the run ended before the file got its name.
        (weights(), Faults::default(), true),
        // More than there can be.
        (vec![7; 500_000], Faults::default(), true),
        // Something else: the hash tells, and the next run begins anew.
        (vec![7; 50_000], Faults::default(), false),
    ] {
        let (hub, cache) = (model().with(faults), tempfile::tempdir().expect("a folder"));
        let blobs = cache.path().join("models--org--name/blobs");
        std::fs::create_dir_all(&blobs).expect("space");
        let partial = blobs.join(format!("{hash}.incomplete"));
        std::fs::write(&partial, &left).expect("space");
        let first = hub.pull(cache.path(), "org/name");
        if !whole {
            let told = first.expect_err("damaged").to_string();
            assert!(
                told.contains("model.safetensors: was damaged on its way"),
                "{told}"
            );
            assert!(
                !partial.exists() && !cache.path().join("models--org--name/refs/main").exists()
            );
        }
        let pulled = hub.pull(cache.path(), "org/name").expect("now");
        assert_eq!(
            std::fs::read(pulled.path.join("model.safetensors")).expect("whole"),
            weights()
        );
        assert!(!partial.exists());
    }
}

#[test]
fn a_connection_that_brings_nothing_is_given_up() {
    let faults = Faults {
        cut: vec![9, 0, 0, 0, 0, 0, 0, 0],
        ..Faults::default()
    };
    let hub = Hub::of(&[
        ("config.json", b"{}", false),
        ("model.safetensors", &weights(), true),
    ])
    .with(faults);
    let cache = tempfile::tempdir().expect("a folder");
    let told = hub
        .pull(cache.path(), "org/name")
        .expect_err("given up")
        .to_string();
    assert!(
        told.contains("the next `gemc pull` goes on from there"),
        "{told}"
    );
    let partial = cache.path().join(format!(
        "models--org--name/blobs/{}.incomplete",
        hex(&Sha256::digest(weights()))
    ));
    assert_eq!(std::fs::read(&partial).expect("kept"), &weights()[..9]);
    hub.state.lock().expect("nobody panicked").faults = Faults::default();
    let pulled = hub.pull(cache.path(), "org/name").expect("goes on");
    assert_eq!(pulled.fetched, weights().len() as u64 - 9);
}

#[test]
fn damage_and_refusals_are_told() {
    let faulty = |faults: Faults| model().with(faults).fails("org/name");
    let damaged = faulty(Faults {
        damaged: true,
        ..Faults::default()
    });
    assert!(
        damaged.contains("its hash is") && damaged.contains("fetch it again"),
        "{damaged}"
    );
    let loops = faulty(Faults {
        loops: true,
        ..Faults::default()
    });
    assert!(loops.contains("more than 10 other addresses"), "{loops}");
    let busy = faulty(Faults {
        busy: 100,
        ..Faults::default()
    });
    assert!(busy.contains("503"), "{busy}");
    for (status, code, message, words) in [
        (401, "GatedRepo", "", "accept its conditions"),
        (403, "GatedRepo", "", "/org/name, then set HF_TOKEN"),
        (
            404,
            "RepoNotFound",
            "",
            "has no such model, or it is private",
        ),
        (
            401,
            "RepoNotFound",
            "",
            "has no such model, or it is private",
        ),
        (
            401,
            "",
            "Invalid credentials",
            "refuses the token in HF_TOKEN or in the token file (Invalid credentials)",
        ),
        (418, "", "tea", "the hub answers 418 tea"),
    ] {
        let told = faulty(Faults {
            refusal: Some((status, code, message)),
            ..Faults::default()
        });
        assert!(told.contains(words) && !told.contains("secret"), "{told}");
    }
    assert!(
        model()
            .fails("org/name@gone")
            .contains("has no revision gone; allowed: a branch")
    );
    assert!(
        model()
            .fails("org/name/x.gguf")
            .contains("has no file x.gguf")
    );
    let nobody = Access {
        endpoint: "http://127.0.0.1:1".to_owned(),
        ..model().access()
    };
    let cache = tempfile::tempdir().expect("a folder");
    let name = HubName::parse(Path::new("org/name")).expect("a name");
    let error = pull(
        &name,
        nobody,
        &HubCache::at(cache.path().to_owned()),
        &Silent,
    )
    .expect_err("nobody is there");
    assert!(matches!(error, HubError::Connection { .. }), "{error}");
}

#[test]
fn revisions_and_renamed_models() {
    let (hub, cache) = (model(), tempfile::tempdir().expect("a folder"));
    let refs = cache.path().join("models--org--name/refs");
    hub.pull(cache.path(), "org/name@refs/pr/1")
        .expect("a revision");
    assert!(refs.join("refs/pr/1").is_file() && !refs.join("main").exists());
    hub.pull(cache.path(), "org/name@v1").expect("a tag");
    assert!(refs.join("v1").is_file());
    let old = hub.pull(cache.path(), "org/old");
    assert!(old.expect("found under its new name").path.exists());
}

#[test]
fn shards_are_those_of_the_index() {
    let index = json!({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}).to_string();
    let files = |last: &'static str| {
        Hub::of(&[
            ("config.json", b"{}", false),
            ("model.safetensors.index.json", index.as_bytes(), false),
            ("model-00001-of-00002.safetensors", b"one", true),
            (last, b"two", true),
            ("model-00003-of-00002.safetensors", b"a stranger", true),
            ("modules.json", b"[]", false),
            ("1_Pooling/config.json", b"{}", false),
            ("2_Dense/model.safetensors", b"dense", true),
            ("sentence_bert_config.json", b"{}", false),
            ("config_sentence_transformers.json", b"{}", false),
        ])
    };
    let cache = tempfile::tempdir().expect("a folder");
    let pulled = files("model-00002-of-00002.safetensors")
        .pull(cache.path(), "org/name")
        .expect("all");
    assert_eq!(pulled.files.len(), 9, "{:?}", pulled.files);
    assert!(
        !pulled
            .files
            .contains(&"model-00003-of-00002.safetensors".to_owned())
    );
    let told = files("other.safetensors").fails("org/name");
    assert!(
        told.contains("names model-00002-of-00002.safetensors, which is not there"),
        "{told}"
    );
}

#[test]
fn of_several_gguf_files_one_is_named() {
    let several: &[(&str, &[u8], bool)] = &[
        ("README.md", b"", false),
        ("config.json", b"{}", false),
        ("m-Q4_0.gguf", b"GGUF4", true),
        ("m-Q8_0.gguf", b"GGUF8", true),
    ];
    let told = Hub::of(several).fails("org/name");
    assert!(
        told.contains("gemc pull org/name/m-Q") && told.contains("m-Q8_0.gguf (0.0 GB)"),
        "{told}"
    );
    let cache = tempfile::tempdir().expect("a folder");
    let pulled = Hub::of(several)
        .pull(cache.path(), "org/name/m-Q8_0.gguf")
        .expect("one");
    assert_eq!(std::fs::read(&pulled.path).expect("the file"), b"GGUF8");
    assert!(
        !pulled.files.contains(&"config.json".to_owned()),
        "it would hide the file"
    );
    let one = &several[..3];
    assert!(Hub::of(one).pull(cache.path(), "org/name").is_ok());
    let told = Hub::of(&[("pytorch_model.bin", b"x", true)]).fails("org/name");
    assert!(
        told.contains("but pytorch_model.bin, which gemc does not read"),
        "{told}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_nothing_gets_a_name() {
    let (hub, cache) = (model(), tempfile::tempdir().expect("a folder"));
    let blobs = cache.path().join("models--org--name/blobs");
    std::fs::create_dir_all(&blobs).expect("space");
    let partial = blobs.join(format!("{}.incomplete", hex(&Sha256::digest(weights()))));
    std::os::unix::fs::symlink("/dev/full", partial).expect("a link");
    let told = hub
        .pull(cache.path(), "org/name")
        .expect_err("full")
        .to_string();
    assert!(
        told.contains("the disk is full: 160000 bytes of model.safetensors"),
        "{told}"
    );
    assert!(!cache.path().join("models--org--name/snapshots").exists());
}
