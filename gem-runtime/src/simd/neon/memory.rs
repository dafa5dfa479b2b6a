//! Vectors out of memory, and into it: [`crate::simd::portable`] documents each.

use super::{F32x8, F32x16, I8x16, I8x32, I8x64, I16x16, I16x32, I32x8, I32x16};

/// Declares unaligned loads and stores.
macro_rules! memory {
    ($($load:ident, $store:ident, $T:ident;)*) => {
        $(
            #[doc = concat!("See [`", stringify!($load), "`](crate::simd::portable::", stringify!($load), ").")]
            ///
            /// # Safety
            /// The vector's bytes must be readable.
            #[must_use]
            #[inline]
            #[target_feature(enable = "neon")]
            pub unsafe fn $load(from: *const u8) -> $T {
                // SAFETY: the caller's promise; every bit pattern is a value.
                unsafe { from.cast::<$T>().read_unaligned() }
            }

            #[doc = concat!("See [`", stringify!($store), "`](crate::simd::portable::", stringify!($store), ").")]
            ///
            /// # Safety
            /// The vector's bytes must be writable, and nobody else may use them meanwhile.
            #[inline]
            #[target_feature(enable = "neon")]
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

/// See [`stream_i8x64`](crate::simd::portable::stream_i8x64).
///
/// # Safety
/// The vector's bytes must be readable.
#[must_use]
#[inline]
#[target_feature(enable = "neon")]
pub unsafe fn stream_i8x64(from: *const u8) -> I8x64 {
    // SAFETY: the caller's promise.
    unsafe { load_i8x64(from) }
}

/// See [`stream_once_i8x64`](crate::simd::portable::stream_once_i8x64).
pub use self::stream_i8x64 as stream_once_i8x64;
