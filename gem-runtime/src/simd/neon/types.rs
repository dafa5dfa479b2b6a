//! Vectors of several registers of 128 bits, lower lanes first.

use core::arch::aarch64::{float32x4_t, int8x16_t, int16x8_t, int32x4_t};

/// 16 bytes.
pub type I8x16 = int8x16_t;

/// Declares a vector type of two quarters.
macro_rules! pair {
    ($($(#[$doc:meta])* $name:ident($quarter:ty);)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            #[repr(C)]
            pub struct $name(pub $quarter, pub $quarter);
        )*
    };
}

pair! {
    /// 16 words of 16 bits, or half-precision floats.
    I16x16(int16x8_t);
    /// Half of an [`I8x64`].
    I8x32(int8x16_t);
    /// Half of an [`I32x16`].
    I32x8(int32x4_t);
    /// Half of an [`F32x16`].
    F32x8(float32x4_t);
}

/// Declares a vector type of four quarters.
macro_rules! quad {
    ($($(#[$doc:meta])* $name:ident($quarter:ty);)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            #[repr(C)]
            pub struct $name(pub $quarter, pub $quarter, pub $quarter, pub $quarter);
        )*
    };
}

quad! {
    /// 64 bytes, signed or not as the operation says.
    I8x64(int8x16_t);
    /// 32 words of 16 bits.
    I16x32(int16x8_t);
    /// 16 integers, or a mask: lanes all ones or zero.
    I32x16(int32x4_t);
    /// 16 singles.
    F32x16(float32x4_t);
}
