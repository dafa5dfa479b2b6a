//! Vectors as the same bytes of another type, out of memory, and into it.

use super::{F32x8, F32x16, I8x16, I8x32, I8x64, I16x16, I16x32, I32x8, I32x16};

/// Declares casts of the same 64 bytes.
macro_rules! casts {
    ($($name:ident($From:ident) -> $To:ident;)*) => {
        $(
            /// The same bits as another type.
            #[must_use]
            #[inline]
            pub fn $name(a: $From) -> $To {
                // SAFETY: both are arrays of 64 bytes of plain integers or floats.
                unsafe { core::mem::transmute(a) }
            }
        )*
    };
}

casts! {
    bits_i8x64_i16x32(I8x64) -> I16x32;
    bits_i8x64_i32x16(I8x64) -> I32x16;
    bits_i8x64_f32x16(I8x64) -> F32x16;
    bits_i16x32_i8x64(I16x32) -> I8x64;
    bits_i16x32_i32x16(I16x32) -> I32x16;
    bits_i16x32_f32x16(I16x32) -> F32x16;
    bits_i32x16_i8x64(I32x16) -> I8x64;
    bits_i32x16_i16x32(I32x16) -> I16x32;
    bits_i32x16_f32x16(I32x16) -> F32x16;
    bits_f32x16_i8x64(F32x16) -> I8x64;
    bits_f32x16_i16x32(F32x16) -> I16x32;
    bits_f32x16_i32x16(F32x16) -> I32x16;
}

/// Declares unaligned loads and stores.
macro_rules! memory {
    ($($load:ident, $store:ident, $T:ident;)*) => {
        $(
            /// Reads a vector, little-endian; the pointer need not be aligned.
            ///
            /// # Safety
            /// The vector's bytes must be readable.
            #[must_use]
            #[inline]
            pub unsafe fn $load(from: *const u8) -> $T {
                // SAFETY: the caller's promise; every bit pattern is a value.
                unsafe { from.cast::<$T>().read_unaligned() }
            }

            /// Writes a vector, little-endian; the pointer need not be aligned.
            ///
            /// # Safety
            /// The vector's bytes must be writable, and nobody else may use them meanwhile.
            #[inline]
            pub unsafe fn $store(to: *mut u8, a: $T) {
                // SAFETY: the caller's promise.
                unsafe { to.cast::<$T>().write_unaligned(a) }
            }
        )*
    };
}

memory! {
    load_i8x16, store_i8x16, I8x16;
    load_i8x64, store_i8x64, I8x64;
    load_i16x16, store_i16x16, I16x16;
    load_i16x32, store_i16x32, I16x32;
    load_i32x16, store_i32x16, I32x16;
    load_f32x16, store_f32x16, F32x16;
    load_i8x32, store_i8x32, I8x32;
    load_i32x8, store_i32x8, I32x8;
    load_f32x8, store_f32x8, F32x8;
}

/// As [`load_i8x64`], of many vectors one behind the other: a level asks memory for those to come, where the processor does not
/// do so well enough by itself.
///
/// # Safety
/// The vector's bytes must be readable.
#[must_use]
#[inline]
pub unsafe fn stream_i8x64(from: *const u8) -> I8x64 {
    // SAFETY: the caller's promise.
    unsafe { load_i8x64(from) }
}

/// As [`stream_i8x64`], of a vector that nothing else reads: a level may load it by an instruction that the compiler does not
/// know and would not join with another.
pub use self::stream_i8x64 as stream_once_i8x64;
