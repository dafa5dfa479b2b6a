//! A folder of files -> a seal over their contents and the key they were made for; and back: whether the folder is whole.
//!
//! Invariant: a folder is whole only if it holds exactly the files it was sealed with, byte for byte, under its own key.
//! Another key's files, another version's, cut or added ones make it something to be made anew.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use gem_runtime::file::Checksum;
use gem_runtime::regular;
use memmap2::Mmap;

/// Name of the seal in its folder.
pub const SEAL: &str = "seal";

/// Seals what is in a folder now.
///
/// # Errors
/// From the system.
pub fn seal(dir: &Path, key: &str) -> io::Result<()> {
    let text = contents(dir, key)?;
    fs::write(dir.join(SEAL), text)
}

/// Whether a folder is as it was when it was sealed under this key. Reads all of it.
#[must_use]
pub fn is_sealed(dir: &Path, key: &str) -> bool {
    const LONGEST: u64 = 1 << 20;
    let Ok(seal) = regular::read_text(&dir.join(SEAL), LONGEST) else {
        return false;
    };
    contents(dir, key).is_ok_and(|now| now.as_bytes() == seal)
}

/// The seal's text: the key, then a line for every file.
fn contents(dir: &Path, key: &str) -> io::Result<String> {
    let mut names = Vec::new();
    for item in fs::read_dir(dir)? {
        let name = item?.file_name();
        if name != SEAL {
            names.push(name);
        }
    }
    names.sort();
    let mut text = format!("gemc {key}\n");
    for name in names {
        let (bytes, sum) = size_and_checksum(&dir.join(&name))?;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{sum:016x} {bytes} {}", name.to_string_lossy());
    }
    Ok(text)
}

fn size_and_checksum(path: &Path) -> io::Result<(u64, u64)> {
    let file = regular::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Ok((0, Checksum::of(&[])));
    }
    // SAFETY: the mapping is read-only, seen as bytes alone and dropped here; were the file changed meanwhile, the sum
    // would be another one and nothing else.
    let map = unsafe { Mmap::map(&file) }?;
    Ok((bytes, Checksum::of(&map)))
}
