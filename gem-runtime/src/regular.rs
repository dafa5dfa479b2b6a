//! A path -> an open file that can be read to its end: a regular file that holds what its name says.
//!
//! Opening a pipe waits for somebody who writes, and opening a device may do anything: both are refused before they are
//! opened. A pointer of git-LFS stands for a file that is not there, and is refused too.

use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::path::Path;

/// How a pointer of git-LFS begins, by its specification; it is shorter than 1024 bytes.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v";
const LONGEST_POINTER: u64 = 1024;
/// What some editors write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Opens a regular file for reading, without ever waiting for anybody.
///
/// # Errors
/// Those of the system. In words, see [`why`]: for what is no regular file, a link that leads nowhere, and a pointer of
/// git-LFS.
///
/// ```
/// assert!(gem_runtime::regular::open("no/such/file".as_ref()).is_err());
/// // A folder, a pipe or a device is refused at once, too.
/// assert!(gem_runtime::regular::open(".".as_ref()).is_err());
/// ```
pub fn open(path: &Path) -> io::Result<File> {
    check(fs::metadata(path).map_err(|e| named(path, e))?.file_type())?;
    let mut file = File::open(path)?;
    // It may have been replaced meanwhile.
    let meta = file.metadata()?;
    check(meta.file_type())?;
    if meta.len() < LONGEST_POINTER {
        refuse_pointer(&mut file)?;
    }
    Ok(file)
}

/// Whether anything has this name, be it a link that leads nowhere.
#[must_use]
pub fn is_there(path: &Path) -> bool {
    !fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound)
}

/// Reads a text of at most so many bytes, without the byte order mark that it may begin with.
///
/// # Errors
/// As of [`open`], and in words when it is longer.
pub fn read_text(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(in_words(format!("is longer than {most} bytes")));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(in_words("is UTF-16 text; allowed: UTF-8"));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// A text without the byte order mark that it may begin with.
#[must_use]
pub fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Why a file cannot be read, as what is said of it: "is a folder ..." or "cannot be read: ...".
#[must_use]
pub fn why(error: &io::Error) -> String {
    match error.get_ref() {
        Some(words) => words.to_string(),
        None => format!("cannot be read: {error}"),
    }
}

/// Not of kind `NotFound`, so that nobody takes it for a file that is not there.
fn in_words(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, what.into())
}

/// The system says of a link that leads nowhere what it says where there is no link.
fn named(path: &Path, error: io::Error) -> io::Error {
    match fs::read_link(path) {
        Ok(target) if error.kind() == ErrorKind::NotFound => in_words(format!(
            "is a link to {}, which does not exist",
            target.display()
        )),
        _ => error,
    }
}

fn check(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_dir() {
        "a folder"
    } else {
        special(kind)
    };
    Err(in_words(format!("is {what}; allowed: a regular file")))
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn special(_: FileType) -> &'static str {
    "not a regular file"
}

fn refuse_pointer(file: &mut File) -> io::Result<()> {
    let mut head = Vec::with_capacity(POINTER.len());
    file.take(POINTER.len() as u64).read_to_end(&mut head)?;
    if head == POINTER {
        return Err(in_words(
            "is a git-LFS pointer, not the file that it stands for: run `git lfs pull`",
        ));
    }
    file.rewind()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(path: &Path) -> String {
        open(path).expect_err("refused").to_string()
    }

    #[test]
    fn only_files_that_hold_what_they_should_are_opened() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| root.path().join(name);
        let put = |name: &str, bytes: &[u8]| fs::write(at(name), bytes).expect("space");
        put("good", b"version https");
        let mut bytes = Vec::new();
        let mut file = open(&at("good")).expect("a file");
        file.read_to_end(&mut bytes).expect("readable");
        assert_eq!(bytes, b"version https", "from its first byte");
        put(
            "pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        );
        assert!(words(&at("pointer")).contains("git lfs pull"));
        assert!(words(root.path()).contains("is a folder"));
        assert!(!is_there(&at("absent")));
        let absent = open(&at("absent")).expect_err("absent");
        assert!(why(&absent).starts_with("cannot be read: "));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_is_waited_for_and_links_lead_somewhere() {
        use std::os::unix::{fs::symlink, net::UnixListener};
        let root = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| root.path().join(name);
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        if made.is_ok_and(|status| status.success()) {
            assert!(words(&at("pipe")).contains("is a pipe"));
        } else {
            println!("SKIPPED: needs mkfifo");
        }
        let _listener = UnixListener::bind(at("socket")).expect("a socket");
        assert!(words(&at("socket")).contains("is a socket"));
        assert!(words(Path::new("/dev/zero")).contains("is a device"));
        symlink("gone/away", at("link")).expect("a link");
        assert!(words(&at("link")).contains("is a link to gone/away, which does not exist"));
        assert!(is_there(&at("link")));
        fs::write(at("file"), "x").expect("space");
        symlink("file", at("good")).expect("a link");
        assert!(open(&at("good")).is_ok());
    }

    #[test]
    fn texts_are_bounded_and_lose_their_mark() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let path = root.path().join("text");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("space");
            read_text(&path, 5).map_err(|e| e.to_string())
        };
        assert_eq!(read(b"\xef\xbb\xbf{}"), Ok(b"{}".to_vec()));
        assert_eq!(read(b"{    "), Ok(b"{    ".to_vec()));
        assert!(read(b"123456").is_err_and(|e| e.contains("longer than 5 bytes")));
        assert!(read(b"\xff\xfe{\0").is_err_and(|e| e.contains("UTF-16")));
        assert_eq!(unmarked(b"\xef\xbb\xbfa"), b"a");
    }
}
