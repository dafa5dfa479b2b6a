//! Sizes -> zeroed memory aligned at 64 bytes: arenas, key/value memories, weights that are read in one piece.
//!
//! Sizes are checked before anything is reserved. The alignment is made by hand inside an allocation of the allocator's
//! own alignment, because a system allocator hands out zeroed memory of a larger alignment by writing zeros: a
//! key/value memory sized for the whole context would become resident before it is used.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;
use core::slice;

use crate::error::{Error, Result};

/// Alignment of every buffer, in bytes.
pub const BUFFER_ALIGN: usize = 64;

/// Alignment that allocators give without extra work.
const NATURAL_ALIGN: usize = 16;

/// Zeroed memory, aligned at [`BUFFER_ALIGN`].
///
/// ```
/// use gem_runtime::memory::{BUFFER_ALIGN, Buffer};
///
/// let buffer = Buffer::zeroed(1000)?;
/// assert_eq!((buffer.len(), buffer.as_ptr().addr() % BUFFER_ALIGN), (1000, 0));
/// assert!(Buffer::zeroed(u64::MAX).is_err());
/// # Ok::<(), gem_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Buffer {
    base: NonNull<u8>,
    layout: Layout,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a buffer owns its memory and has no interior mutability; access follows the borrow of the buffer.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Reserves memory.
    ///
    /// # Errors
    /// [`Error::Memory`] when the size overflows or the allocator refuses.
    pub fn zeroed(bytes: u64) -> Result<Self> {
        let refused = Error::Memory { bytes };
        let Ok(len) = usize::try_from(bytes) else {
            return Err(refused);
        };
        let layout = len
            .max(1)
            .checked_add(BUFFER_ALIGN - NATURAL_ALIGN)
            .and_then(|size| Layout::from_size_align(size, NATURAL_ALIGN).ok());
        let Some(layout) = layout else {
            return Err(refused);
        };
        // SAFETY: the layout's size is not zero.
        let Some(base) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            return Err(refused);
        };
        // SAFETY: `base` is 16-aligned, so the next 64-aligned address is at most 48 bytes on, which are included.
        let start = unsafe { base.add(base.as_ptr().align_offset(BUFFER_ALIGN)) };
        Ok(Self {
            base,
            layout,
            start,
            len,
        })
    }

    /// Reserves `count` items of `bytes_each`.
    ///
    /// # Errors
    /// [`Error::Memory`] when the size overflows or the allocator refuses.
    pub fn zeroed_items(count: u64, bytes_each: u64) -> Result<Self> {
        match count.checked_mul(bytes_each) {
            Some(bytes) => Self::zeroed(bytes),
            None => Err(Error::Memory { bytes: u64::MAX }),
        }
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte, for reading.
    #[must_use]
    pub const fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// The first byte, for writing.
    pub const fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// All bytes.
    #[must_use]
    pub const fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` is valid for `len` initialised bytes (zeroed at first), borrowed with `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// All bytes, for writing.
    pub const fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed mutably with `self`.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: `base` came from the allocator with this layout and is freed once.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zeroed_aligned_and_separate() {
        let mut buffers: Vec<Buffer> = [0, 1, 63, 64, 4097]
            .map(|bytes| Buffer::zeroed(bytes).expect("small"))
            .into();
        for (i, buffer) in buffers.iter_mut().enumerate() {
            assert_eq!(buffer.as_ptr() as usize % BUFFER_ALIGN, 0);
            assert!(buffer.as_slice().iter().all(|b| *b == 0));
            buffer.as_mut_slice().fill(i as u8 + 1);
        }
        for (i, buffer) in buffers.iter().enumerate() {
            assert!(buffer.as_slice().iter().all(|b| *b == i as u8 + 1));
        }
    }

    #[test]
    fn absurd_sizes_are_errors() {
        for bytes in [u64::MAX, i64::MAX as u64, 1 << 62] {
            assert!(matches!(Buffer::zeroed(bytes), Err(Error::Memory { .. })));
        }
        assert!(Buffer::zeroed_items(1 << 40, 1 << 40).is_err());
    }
}
