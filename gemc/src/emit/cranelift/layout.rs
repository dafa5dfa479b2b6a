//! Where the runtime's structures keep what, as machine code of any 64-bit target sees it. The runtime pins the same
//! numbers (`gem_runtime::abi`), and a test here compares them with this compiler's.

/// Bytes of a pointer.
pub(super) const POINTER_BYTES: u32 = 8;

/// Offsets in a context.
pub(super) const CTX: Ctx = Ctx {
    weights: 0,
    arena: 8,
    kv: 16,
    rows: 24,
    outputs: 32,
    tables: 40,
    n_rows: 48,
    n_slots: 52,
    n_outputs: 56,
    context: 60,
};

/// See [`CTX`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ctx {
    pub(super) weights: i32,
    pub(super) arena: i32,
    pub(super) kv: i32,
    pub(super) rows: i32,
    pub(super) outputs: i32,
    pub(super) tables: i32,
    pub(super) n_rows: i32,
    pub(super) n_slots: i32,
    pub(super) n_outputs: i32,
    pub(super) context: i32,
}

/// Bytes of a table, whose first field is a pointer to its entries.
pub(super) const TABLE_BYTES: u32 = 16;
/// Bytes of an entry, whose first field is a pointer to the kernel.
pub(super) const ENTRY_BYTES: u32 = 16;
/// Where an entry keeps the pointer to its arguments.
pub(super) const ENTRY_ARGS: i32 = 8;

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;
    use gem_runtime::abi;
    use std::mem::offset_of;

    #[test]
    fn offsets_are_those_of_the_runtime() {
        let at = |offset: usize| i32::try_from(offset).unwrap();
        let found = Ctx {
            weights: at(offset_of!(abi::Ctx, weights)),
            arena: at(offset_of!(abi::Ctx, arena)),
            kv: at(offset_of!(abi::Ctx, kv)),
            rows: at(offset_of!(abi::Ctx, rows)),
            outputs: at(offset_of!(abi::Ctx, outputs)),
            tables: at(offset_of!(abi::Ctx, tables)),
            n_rows: at(offset_of!(abi::Ctx, n_rows)),
            n_slots: at(offset_of!(abi::Ctx, n_slots)),
            n_outputs: at(offset_of!(abi::Ctx, n_outputs)),
            context: at(offset_of!(abi::Ctx, context)),
        };
        assert_eq!(found, CTX);
        assert_eq!(size_of::<abi::Table>(), TABLE_BYTES as usize);
        assert_eq!(size_of::<abi::Entry>(), ENTRY_BYTES as usize);
        assert_eq!(offset_of!(abi::Table, entries), 0);
        assert_eq!(offset_of!(abi::Entry, kernel), 0);
        assert_eq!(at(offset_of!(abi::Entry, args)), ENTRY_ARGS);
        assert_eq!(size_of::<*const u8>(), POINTER_BYTES as usize);
    }
}
