//! What generated kernels use besides vector operations: regions of memory, scalar loads and helpers, and the
//! constructors of the phase table.
//!
//! gemc's verifier proves every access in range before a kernel is emitted; with debug assertions each one is checked
//! again here.

use core::marker::PhantomData;

pub use crate::__repeat as repeat;
pub use crate::__strips as strips;
pub use crate::abi::call_table;
use crate::abi::{ARG_UNIT, Ctx, Entry, Items, KernelFn, Phase};

/// `repeat!(row in ROWS, 8, { body })`: the body for `row` of 0, 1 and so on below `ROWS`, a constant of at most 8, each a
/// literal. Loops over few vectors in an array must be written out for the vectors to stay in registers, and at
/// `opt-level = "s"` the compiler does not do that by itself.
#[doc(hidden)]
#[macro_export]
macro_rules! __repeat {
    ($i:ident in $n:expr, 1, $body:block) => { $crate::__repeat!(@ $i, $n, $body, 0) };
    ($i:ident in $n:expr, 2, $body:block) => { $crate::__repeat!(@ $i, $n, $body, 0 1) };
    ($i:ident in $n:expr, 3, $body:block) => { $crate::__repeat!(@ $i, $n, $body, 0 1 2) };
    ($i:ident in $n:expr, 4, $body:block) => { $crate::__repeat!(@ $i, $n, $body, 0 1 2 3) };
    ($i:ident in $n:expr, 5, $body:block) => { $crate::__repeat!(@ $i, $n, $body, 0 1 2 3 4) };
    ($i:ident in $n:expr, 6, $body:block) => { $crate::__repeat!(@ $i, $n, $body, 0 1 2 3 4 5) };
    ($i:ident in $n:expr, 7, $body:block) => { $crate::__repeat!(@ $i, $n, $body, 0 1 2 3 4 5 6) };
    ($i:ident in $n:expr, 8, $body:block) => { $crate::__repeat!(@ $i, $n, $body, 0 1 2 3 4 5 6 7) };
    (@ $i:ident, $n:expr, $body:block, $($k:literal)*) => {
        $(
            if const { $k < $n } {
                let $i: usize = $k;
                $body
            }
        )*
    };
    ($i:ident in $n:expr, $most:literal, $body:block) => {
        $crate::__repeat!(@ $i, $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        let mut rest: usize = 16;
        while rest < $n {
            let $i: usize = rest;
            $body
            rest += 1;
        }
    };
}

/// `strips!(first in end, ROWS = 8, { body })`: the body for every strip of 8 numbers below `end`, its first number in
/// `first` and the constant `ROWS` being 8; then for every number that is left, with `ROWS` being 1.
#[doc(hidden)]
#[macro_export]
macro_rules! __strips {
    ($first:ident in $end:expr, $rows:ident = $n:literal, $body:block) => {
        let (end, mut next): (i32, i32) = ($end, 0);
        {
            const $rows: usize = $n;
            while next + $n <= end {
                let $first = next;
                $body
                next += $n;
            }
        }
        {
            const $rows: usize = 1;
            while next < end {
                let $first = next;
                $body
                next += 1;
            }
        }
    };
}

/// A region of memory whose indices count elements `E`, whatever is read or written there.
#[derive(Debug)]
pub struct Region<E> {
    base: *mut u8,
    /// Bytes that may be used.
    #[cfg(debug_assertions)]
    bytes: usize,
    element: PhantomData<E>,
}

impl<E> Clone for Region<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Region<E> {}

impl<E> Region<E> {
    /// `len` elements from `base`.
    ///
    /// # Safety
    /// They must be live while the region is used.
    #[inline(always)]
    #[cfg_attr(
        not(debug_assertions),
        expect(unused_variables, reason = "only checks of accesses need the length")
    )]
    unsafe fn new(base: *mut u8, len: usize) -> Self {
        Self {
            base,
            #[cfg(debug_assertions)]
            bytes: len * size_of::<E>(),
            element: PhantomData,
        }
    }

    /// A region of the weight file.
    ///
    /// # Safety
    /// `ctx` must be live, and `len` elements lie in the file from `64 * offset` on. It may only be read.
    #[must_use]
    #[inline(always)]
    pub unsafe fn weights(ctx: *const Ctx, offset: u32, len: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self::new(
                (*ctx).weights.add(offset as usize * ARG_UNIT).cast_mut(),
                len,
            )
        }
    }

    /// A region of the step's scratch memory.
    ///
    /// # Safety
    /// `ctx` must be live, and `len` elements lie in the arena from `64 * offset` on.
    #[must_use]
    #[inline(always)]
    pub unsafe fn arena(ctx: *const Ctx, offset: u32, len: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::new((*ctx).arena.add(offset as usize * ARG_UNIT), len) }
    }

    /// The step's rows, four words each.
    ///
    /// # Safety
    /// `ctx` must be live, `E` 32 bits wide. It may only be read.
    #[must_use]
    #[inline(always)]
    pub unsafe fn rows(ctx: *const Ctx) -> Self {
        // SAFETY: the caller's promise; the context has as many rows as it says.
        unsafe { Self::new((*ctx).rows.cast_mut().cast(), 4 * (*ctx).n_rows as usize) }
    }

    /// Indices of the rows whose logits are wanted.
    ///
    /// # Safety
    /// `ctx` must be live, `E` 32 bits wide. It may only be read.
    #[must_use]
    #[inline(always)]
    pub unsafe fn outputs(ctx: *const Ctx) -> Self {
        // SAFETY: the caller's promise; the context has as many outputs as it says.
        unsafe { Self::new((*ctx).outputs.cast_mut().cast(), (*ctx).n_outputs as usize) }
    }

    /// Memory from `base` on, of a length that the caller's proof knows.
    ///
    /// # Safety
    /// What is read and written through it must be live.
    #[must_use]
    #[inline(always)]
    pub unsafe fn endless(base: *mut u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::new(base, isize::MAX as usize / size_of::<E>()) }
    }

    /// Where `BYTES` bytes at element `index` are read.
    ///
    /// # Safety
    /// They must lie in the region.
    #[must_use]
    #[inline(always)]
    pub unsafe fn at<const BYTES: usize>(self, index: i32) -> *const u8 {
        // SAFETY: the caller's promise.
        unsafe { self.nth::<BYTES>(index, 1, 0) }
    }

    /// Where `BYTES` bytes at element `index` are written.
    ///
    /// # Safety
    /// They must lie in the region, and the region may be written.
    #[must_use]
    #[inline(always)]
    pub unsafe fn at_mut<const BYTES: usize>(self, index: i32) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.nth_mut::<BYTES>(index, 1, 0) }
    }

    /// Where `BYTES` bytes at `more` elements after element `index` are read: the processor adds a literal by itself.
    ///
    /// # Safety
    /// They must lie in the region.
    #[must_use]
    #[inline(always)]
    pub unsafe fn after<const BYTES: usize>(self, index: i32, more: usize) -> *const u8 {
        // SAFETY: the caller's promise.
        unsafe { self.nth::<BYTES>(index, 1, more) }
    }

    /// Where `BYTES` bytes at `more` elements after element `index` are written.
    ///
    /// # Safety
    /// They must lie in the region, and the region may be written.
    #[must_use]
    #[inline(always)]
    pub unsafe fn after_mut<const BYTES: usize>(self, index: i32, more: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.nth_mut::<BYTES>(index, 1, more) }
    }

    /// Where `BYTES` bytes are read, `more` elements into the one of this number of parts of `size` elements: a loop over parts
    /// counts the address up.
    ///
    /// # Safety
    /// They must lie in the region.
    #[must_use]
    #[inline(always)]
    pub unsafe fn nth<const BYTES: usize>(self, n: i32, size: usize, more: usize) -> *const u8 {
        // SAFETY: the caller's promise.
        unsafe { self.nth_mut::<BYTES>(n, size, more) }
    }

    /// Where `BYTES` bytes are written, as [`Region::nth`].
    ///
    /// # Safety
    /// They must lie in the region, and the region may be written.
    #[must_use]
    #[inline(always)]
    pub unsafe fn nth_mut<const BYTES: usize>(self, n: i32, size: usize, more: usize) -> *mut u8 {
        debug_assert!(n >= 0, "index {n}");
        let offset = (n as u32 as usize * size + more) * size_of::<E>();
        #[cfg(debug_assertions)]
        assert!(
            offset + BYTES <= self.bytes,
            "{BYTES} bytes at {offset} of a region of {} bytes",
            self.bytes
        );
        // SAFETY: the caller's promise.
        unsafe { self.base.add(offset) }
    }
}

/// A region that every slot's key/value memory has.
#[derive(Debug)]
pub struct KvRegion<E> {
    ctx: *const Ctx,
    /// Bytes from a slot's pointer.
    start: isize,
    len: usize,
    element: PhantomData<E>,
}

impl<E> KvRegion<E> {
    /// `len` elements behind `before` bytes per position.
    ///
    /// # Safety
    /// `ctx` must be live, and the elements lie in every slot's memory.
    #[must_use]
    #[inline(always)]
    pub unsafe fn new(ctx: *const Ctx, before: u32, len: usize) -> Self {
        // SAFETY: the caller's promise.
        let start = before as usize * unsafe { (*ctx).context } as usize;
        Self {
            ctx,
            start: start as isize,
            len,
            element: PhantomData,
        }
    }

    /// `len` elements that do not grow with the context, `64 * before` bytes before a slot's pointer.
    ///
    /// # Safety
    /// As [`KvRegion::new`].
    #[must_use]
    #[inline(always)]
    pub unsafe fn ring(ctx: *const Ctx, before: u32, len: usize) -> Self {
        Self {
            ctx,
            start: -((before as usize * ARG_UNIT) as isize),
            len,
            element: PhantomData,
        }
    }

    /// The region in one slot's memory; a slot that does not exist is the last one.
    ///
    /// # Safety
    /// As [`KvRegion::new`]; there is at least one slot.
    #[must_use]
    #[inline(always)]
    pub unsafe fn slot(&self, slot: i32) -> Region<E> {
        // SAFETY: the caller's promise, and the index is below the number of slots.
        unsafe {
            let slot = bounded(slot, (*self.ctx).n_slots as i32);
            Region::new(
                (*(*self.ctx).kv.add(slot as usize)).offset(self.start),
                self.len,
            )
        }
    }
}

/// An array of one item.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Local<E, const N: usize>([E; N]);

impl<E: Copy + Default, const N: usize> Local<E, N> {
    /// All zero.
    #[must_use]
    #[inline(always)]
    pub fn zeroed() -> Self {
        Self([E::default(); N])
    }

    /// The array as a region, which must not be used after the array.
    #[must_use]
    #[inline(always)]
    pub fn region(&mut self) -> Region<E> {
        // SAFETY: the pointer covers the array; using the region is unsafe.
        unsafe { Region::new(self.0.as_mut_ptr().cast(), N) }
    }
}

/// Reads an i32, little-endian, at any address.
///
/// # Safety
/// Four bytes must be readable.
#[must_use]
#[inline(always)]
pub unsafe fn load_i32(from: *const u8) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { from.cast::<i32>().read_unaligned() }
}

/// Reads an f32, little-endian, at any address.
///
/// # Safety
/// Four bytes must be readable.
#[must_use]
#[inline(always)]
pub unsafe fn load_f32(from: *const u8) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { from.cast::<f32>().read_unaligned() }
}

/// Writes an i32, little-endian, at any address.
///
/// # Safety
/// Four bytes must be writable, and nobody else may use them meanwhile.
#[inline(always)]
pub unsafe fn store_i32(to: *mut u8, value: i32) {
    // SAFETY: the caller's promise.
    unsafe { to.cast::<i32>().write_unaligned(value) }
}

/// Writes an f32, little-endian, at any address.
///
/// # Safety
/// Four bytes must be writable, and nobody else may use them meanwhile.
#[inline(always)]
pub unsafe fn store_f32(to: *mut u8, value: f32) {
    // SAFETY: the caller's promise.
    unsafe { to.cast::<f32>().write_unaligned(value) }
}

/// An index below `n`, which is at least 1, whatever was loaded; a correct model never needs the clamp.
#[must_use]
#[inline(always)]
pub fn bounded(index: i32, n: i32) -> i32 {
    debug_assert!((index as u32) < n as u32, "index {index} of {n}");
    (index as u32).min(n as u32 - 1) as i32
}

/// `a < b ? a : b`.
#[must_use]
#[inline(always)]
pub fn min_f32(a: f32, b: f32) -> f32 {
    #[cfg(target_arch = "aarch64")]
    return chosen!(a, b, "mi");
    #[cfg(not(target_arch = "aarch64"))]
    if a < b { a } else { b }
}

/// `a > b ? a : b`.
#[must_use]
#[inline(always)]
pub fn max_f32(a: f32, b: f32) -> f32 {
    #[cfg(target_arch = "aarch64")]
    return chosen!(a, b, "gt");
    #[cfg(not(target_arch = "aarch64"))]
    if a > b { a } else { b }
}

/// The first if a condition of their comparison holds, else the second. By instructions that LLVM does not know: of a
/// comparison and a selection it makes `fminnm`, whose result of a signalling NaN is a NaN.
#[cfg(target_arch = "aarch64")]
macro_rules! chosen {
    ($a:ident, $b:ident, $condition:literal) => {{
        let chosen: f32;
        // SAFETY: computes a register from registers, by instructions that every 64-bit Arm has.
        unsafe {
            core::arch::asm!(
                "fcmp {a:s}, {b:s}",
                concat!("fcsel {chosen:s}, {a:s}, {b:s}, ", $condition),
                a = in(vreg) $a,
                b = in(vreg) $b,
                chosen = lateout(vreg) chosen,
                options(pure, nomem, nostack)
            );
        }
        chosen
    }};
}
#[cfg(target_arch = "aarch64")]
use chosen;

/// A kernel with its arguments.
#[must_use]
pub const fn entry(kernel: KernelFn, args: &'static [u32]) -> Entry {
    Entry::new(kernel, args)
}

/// A phase of the program.
#[must_use]
pub const fn phase(kernel: KernelFn, args: &'static [u32], items: Items) -> Phase {
    Phase {
        entry: entry(kernel, args),
        items,
    }
}

/// Items of every phase, in order.
#[must_use]
pub const fn items<const N: usize>(phases: &[Phase; N]) -> [Items; N] {
    let mut items = [Items::Fixed(0); N];
    let mut i = 0;
    while i < N {
        items[i] = phases[i].items;
        i += 1;
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_is_zero_and_keeps_what_is_stored() {
        let mut local = Local::<i32, 4>::zeroed();
        let region = local.region();
        // SAFETY: both elements lie in the array.
        let loaded = unsafe {
            store_i32(region.at_mut::<4>(2), -7);
            (load_i32(region.at::<4>(1)), load_i32(region.at::<4>(2)))
        };
        assert_eq!(loaded, (0, -7));
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "8 bytes at 12 of a region of 16 bytes")]
    fn an_access_beyond_a_region_is_caught() {
        let mut local = Local::<i32, 4>::zeroed();
        // SAFETY: the pointer is not used.
        let _ = unsafe { local.region().at::<8>(3) };
    }

    #[test]
    fn items_are_those_of_the_phases() {
        unsafe extern "C" fn nothing(_: *const Ctx, _: *const u32, _: u32, _: u32) {}
        const PHASES: [Phase; 2] = [
            phase(nothing, &[], Items::Fixed(3)),
            phase(nothing, &[1], Items::PerRow(2)),
        ];
        assert_eq!(items(&PHASES), [Items::Fixed(3), Items::PerRow(2)]);
    }
}
