//! Progress of long operations. Libraries report it through [`Progress`]; only the command draws it.

/// Receives progress. Calls come in order: any number of `start`, each followed by its `advance`s.
///
/// ```
/// use gemc::progress::Progress;
///
/// struct Lines;
///
/// impl Progress for Lines {
///     fn start(&self, what: &str, total: u64) {
///         eprintln!("{what}, {total} units");
///     }
///
///     fn advance(&self, _: u64) {}
/// }
/// ```
pub trait Progress: Sync {
    /// A piece of work of `total` units begins and replaces the one before; 0: the length is unknown.
    fn start(&self, what: &str, total: u64);

    /// So many more units are done.
    fn advance(&self, units: u64);

    /// Something that is no error but costs time, which whoever waits may want to change.
    fn note(&self, _line: &str) {}
}

/// Progress that nobody sees.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: u64) {}

    fn advance(&self, _: u64) {}
}
