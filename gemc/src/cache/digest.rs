//! A file -> the SHA-256 of its contents, remembered for as long as the file's size and times stay the same.
//!
//! A file that changed in the last seconds may change again within one tick of its clock: its digest is not remembered.

use std::fs::{self, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use gem_runtime::regular;
use sha2::{Digest as _, Sha256};

use super::{Cache, Key};

const KIND: &str = "digests";

/// Older than any file system's clock ticks.
const SETTLED: Duration = Duration::from_secs(3);

impl Cache {
    /// SHA-256 of a file, read only when nobody remembers it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn digest(&self, path: &Path) -> io::Result<Key> {
        let before = fs::metadata(path)?;
        let key = identity(&path.canonicalize()?, &before);
        if let Some(known) = self.find(KIND, &key)
            && let Ok(digest) = Key::try_from(&known[..])
        {
            return Ok(digest);
        }
        let digest = digest_of(path)?;
        if settled(&before) && identity(&path.canonicalize()?, &fs::metadata(path)?) == key {
            // Without it, the file is read again next time.
            let _ = self.store(KIND, &key, |sink| sink.write_all(&digest));
        }
        Ok(digest)
    }
}

fn identity(path: &Path, meta: &Metadata) -> Key {
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(meta.len().to_le_bytes());
    hash.update(format!("{:?}", meta.modified().ok()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // The time of the last change of any kind cannot be set back by hand.
        hash.update(format!(
            "{} {} {}",
            meta.ino(),
            meta.ctime(),
            meta.ctime_nsec()
        ));
    }
    hash.finalize().into()
}

fn settled(meta: &Metadata) -> bool {
    let Ok(modified) = meta.modified() else {
        return false;
    };
    let age = SystemTime::now().duration_since(modified);
    age.is_ok_and(|age| age > SETTLED)
}

/// SHA-256 of a file, which is not held in memory.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of(path: &Path) -> io::Result<Key> {
    let mut file = regular::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..read]);
    }
}
