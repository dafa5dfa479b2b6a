//! Licence texts of a checkpoint, as a program has them.

use crate::info::Name;

/// A licence text that came with a checkpoint.
///
/// ```
/// use gem_runtime::License;
///
/// const MIT: License = License::new("LICENSE", "MIT");
/// assert_eq!((&*MIT.file, &*MIT.text), ("LICENSE", "MIT"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    /// The file that it is from, by its name in the checkpoint's folder.
    pub file: Name,
    /// What it says; of a `README.md`, the line of its front matter that names the licence.
    pub text: Name,
}

impl License {
    /// A text that is part of the program.
    #[must_use]
    pub const fn new(file: &'static str, text: &'static str) -> Self {
        Self {
            file: Name::Borrowed(file),
            text: Name::Borrowed(text),
        }
    }
}
