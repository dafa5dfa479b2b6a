//! Files of a user in a folder that is replaced -> the same files in the new folder, before it takes the old one's place.
//!
//! They become hard links, so that at every moment the folder at the path has them, whether the old or the new one is
//! there, and removing either loses nothing.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::Path;

/// Gives what is at `from` the name `to` too: files linked, or copied where there are no hard links; folders made anew.
/// Sockets and pipes, which belong to running programs, stay behind.
///
/// # Errors
/// From the system.
pub fn link(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    let kind = meta.file_type();
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)
    } else if kind.is_dir() {
        fs::create_dir(to)?;
        for item in fs::read_dir(from)? {
            let name = item?.file_name();
            link(&from.join(&name), &to.join(&name))?;
        }
        // Root may write for somebody else; whoever is not root owns the folder already.
        let _ = chown(to, Some(meta.uid()), Some(meta.gid()));
        fs::set_permissions(to, meta.permissions())
    } else if kind.is_file() {
        match fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            Err(_) => fs::copy(from, to).map(drop),
        }
    } else {
        Ok(())
    }
}
