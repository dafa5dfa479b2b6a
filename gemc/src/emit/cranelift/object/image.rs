//! Fields to the bytes of structures as C lays them out on any 64-bit target, with the places where a linker puts
//! pointers.

use gemc_kernels::ir::KernelId;

/// What a pointer points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A byte of the constants.
    Constant(u32),
    /// A byte of the tables.
    Table(u32),
    /// A kernel's code.
    Kernel(KernelId),
}

/// Bytes in the making; every field is aligned at its size.
#[derive(Debug, Default)]
pub(super) struct Image {
    bytes: Vec<u8>,
    pointers: Vec<(u32, Address)>,
}

impl Image {
    /// Alignment of the first byte, and of structures.
    pub(super) const ALIGNMENT: u64 = 8;

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Offsets of pointers, ascending.
    pub(super) fn pointers(&self) -> &[(u32, Address)] {
        &self.pointers
    }

    /// Where the next byte goes.
    fn end(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("tables of a program are small")
    }

    /// Pads to a multiple of `to`; where that is.
    pub(super) fn align(&mut self, to: usize) -> u32 {
        let padded = self.bytes.len().next_multiple_of(to);
        self.bytes.resize(padded, 0);
        self.end()
    }

    /// Appends bytes without alignment; where they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> u32 {
        let at = self.end();
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// A `uint32_t`.
    pub(super) fn word(&mut self, word: u32) {
        self.align(4);
        self.raw(&word.to_le_bytes());
    }

    /// A `uint64_t`.
    pub(super) fn wide(&mut self, wide: u64) {
        self.align(8);
        self.raw(&wide.to_le_bytes());
    }

    /// A pointer.
    pub(super) fn pointer(&mut self, to: Option<Address>) {
        self.wide(0);
        if let Some(address) = to {
            let at = self.end() - 8;
            self.pointers.push((at, address));
        }
    }
}
