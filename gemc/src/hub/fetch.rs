//! A file of the hub -> its blob: taken up where an earlier run or a failed connection left it, and hashed as it comes.

use std::fs::{self, File as Open, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;

use gem_runtime::hex;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use ureq::http::StatusCode;

use super::HubError;
use super::client::{Answer, Client};
use super::listing::{Asked, File, is_busy, is_hash, refusal};
use super::store::{Store, failed};
use crate::progress::Progress;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// Fetches a file unless its blob is there; gives how many bytes came.
pub(super) fn blob(
    client: &Client,
    store: &Store,
    repository: &str,
    url: &str,
    file: &File,
    progress: &dyn Progress,
) -> Result<u64, HubError> {
    if store.has(file) {
        return Ok(0);
    }
    // Held until the file is closed. Whoever held it before may have fetched the same.
    let _lock = store.lock(&file.hash)?;
    if store.has(file) {
        return Ok(0);
    }
    let mut partial = Partial::open(store.partial(&file.hash), file)?;
    let before = partial.length;
    let patience = client.patience();
    let (mut failures, mut pause) = (0, patience.pause);
    while partial.length < file.size {
        let had = partial.length;
        let what = match client.get(url, had) {
            Ok(answer) => match partial.take(answer, progress)? {
                Taken::Rest => break,
                Taken::Part(what) => what,
                Taken::Refusal(answer) => {
                    let asked = Asked::File(&file.name);
                    return Err(refusal(client, &answer, repository, url, &asked));
                }
            },
            Err(what) => what,
        };
        // What brings something may go on for ever.
        if partial.length > had {
            (failures, pause) = (0, patience.pause);
        }
        failures += 1;
        if failures >= patience.tries {
            let url = url.to_owned();
            return Err(HubError::Connection { url, what });
        }
        sleep(pause);
        pause *= 2;
    }
    let came = partial.length.saturating_sub(before);
    partial.finish(&store.blob(&file.hash))?;
    Ok(came)
}

/// The beginning of a file.
struct Partial<'a> {
    file: &'a File,
    path: PathBuf,
    open: Open,
    length: u64,
    hash: Hash,
}

/// What came of an answer.
enum Taken {
    /// All that was missing.
    Rest,
    /// Less, and why.
    Part(String),
    /// Another answer than the file.
    Refusal(Answer),
}

impl<'a> Partial<'a> {
    /// What there is, hashed.
    fn open(path: PathBuf, file: &'a File) -> Result<Self, HubError> {
        let open = || {
            let mut options = OpenOptions::new();
            let open = options
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)?;
            let mut length = open.metadata()?.len();
            if length > file.size {
                open.set_len(0)?;
                length = 0;
            }
            let mut hash = Hash::of(file);
            io::copy(&mut (&open).take(length), &mut hash)?;
            Ok((open, length, hash))
        };
        let (open, length, hash) = open().map_err(failed(&path))?;
        Ok(Self {
            file,
            path,
            open,
            length,
            hash,
        })
    }

    /// Adds an answer's bytes.
    fn take(&mut self, answer: Answer, progress: &dyn Progress) -> Result<Taken, HubError> {
        if is_busy(answer.status) {
            return Ok(Taken::Part(format!(
                "the hub answers {}",
                answer.status.as_u16()
            )));
        }
        let begins = match answer.status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => begin(&answer).unwrap_or(u64::MAX),
            // It does not know the bytes that are asked for: what is here is of something else.
            StatusCode::RANGE_NOT_SATISFIABLE => u64::MAX,
            _ => return Ok(Taken::Refusal(answer)),
        };
        if answer
            .hash
            .as_ref()
            .is_some_and(|hash| is_hash(hash) && *hash != self.file.hash)
        {
            return Err(self.wrong("has another hash than the listing says".to_owned()));
        }
        if begins != self.length {
            self.restart()?;
        }
        if begins > self.length {
            return Ok(Taken::Part(
                "gives another part than was asked for".to_owned(),
            ));
        }
        self.read(answer.body, progress)
    }

    fn read(
        &mut self,
        mut body: Box<dyn Read>,
        progress: &dyn Progress,
    ) -> Result<Taken, HubError> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let bytes = match body.read(&mut chunk) {
                Ok(0) if self.length == self.file.size => return Ok(Taken::Rest),
                Ok(0) => return Ok(Taken::Part("the connection ended early".to_owned())),
                Ok(n) => &chunk[..n],
                Err(error) => return Ok(Taken::Part(error.to_string())),
            };
            if self.length + bytes.len() as u64 > self.file.size {
                let _ = fs::remove_file(&self.path);
                return Err(self.wrong(format!(
                    "gives more than the {} bytes of the listing",
                    self.file.size
                )));
            }
            let missing = self.file.size - self.length;
            let failed = |e| HubError::writing(self.path.clone(), &self.file.name, missing, e);
            self.open.write_all(bytes).map_err(failed)?;
            self.hash.update(bytes);
            self.length += bytes.len() as u64;
            progress.advance(bytes.len() as u64);
        }
    }

    /// Forgets what there is.
    fn restart(&mut self) -> Result<(), HubError> {
        use std::io::Seek as _;
        let mut forget = || {
            self.open.set_len(0)?;
            self.open.rewind()
        };
        forget().map_err(failed(&self.path))?;
        (self.length, self.hash) = (0, Hash::of(self.file));
        Ok(())
    }

    /// Gives the file its name, if its hash is right.
    fn finish(self, place: &Path) -> Result<(), HubError> {
        let found = self.hash.finish();
        if found != self.file.hash {
            let _ = fs::remove_file(&self.path);
            return Err(HubError::Damaged {
                file: self.file.name.clone(),
                expected: self.file.hash.clone(),
                found,
            });
        }
        let place = || {
            self.open.sync_all()?;
            fs::rename(&self.path, place)
        };
        place().map_err(failed(&self.path))
    }

    fn wrong(&self, what: String) -> HubError {
        HubError::Answer {
            url: self.file.name.clone(),
            what,
        }
    }
}

/// First byte of a part, `bytes BEGIN-END/TOTAL`.
fn begin(answer: &Answer) -> Option<u64> {
    let range = answer.headers.get("content-range")?.to_str().ok()?;
    range
        .strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .parse()
        .ok()
}

/// The hash that names a blob.
enum Hash {
    /// Of what LFS keeps.
    Sha256(Sha256),
    /// Of what git keeps.
    Sha1(Sha1),
}

impl Hash {
    fn of(file: &File) -> Self {
        match file.hash.len() {
            64 => Self::Sha256(Sha256::new()),
            _ => Self::Sha1(Sha1::new().chain_update(format!("blob {}\0", file.size))),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => hex(&hash.finalize()),
            Self::Sha1(hash) => hex(&hash.finalize()),
        }
    }
}

impl io::Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
