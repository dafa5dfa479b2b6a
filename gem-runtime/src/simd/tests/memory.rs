//! Loads and stores at any address.

use crate::simd::portable;

/// Checks unaligned loads and stores of one level.
macro_rules! memory_test {
    ($s:ident, $($load:ident $store:ident $size:literal),+) => {{
        $({
            let from: [u8; 80] = core::array::from_fn(|i| i as u8);
            let mut to = [0xaau8; 80];
            // SAFETY: both arrays have 64 bytes from 3 on.
            unsafe { $s::$store(to.as_mut_ptr().add(3), $s::$load(from.as_ptr().add(3))) };
            for i in 0..80 {
                assert_eq!(to[i], if (3..3 + $size).contains(&i) { i as u8 } else { 0xaa }, stringify!($load));
            }
        })+
    }};
    ($s:ident) => {
        memory_test!(
            $s, load_i8x16 store_i8x16 16, load_i8x64 store_i8x64 64, stream_i8x64 store_i8x64 64,
            stream_once_i8x64 store_i8x64 64, load_i16x16 store_i16x16 32,
            load_i16x32 store_i16x32 64, load_i32x16 store_i32x16 64, load_f32x16 store_f32x16 64,
            load_i8x32 store_i8x32 32, load_i32x8 store_i32x8 32, load_f32x8 store_f32x8 32
        )
    };
}

#[test]
fn unaligned_memory_portable() {
    memory_test!(portable);
}

#[cfg(target_arch = "aarch64")]
#[test]
fn unaligned_memory_arm() {
    use crate::simd::neon;
    #[target_feature(enable = "neon")]
    fn run() {
        memory_test!(neon);
    }
    // SAFETY: every one has NEON.
    unsafe { run() };
}

#[cfg(target_arch = "x86_64")]
#[test]
fn unaligned_memory_x86() {
    use crate::simd::{Level, x86_v3, x86_v4_vnni};
    #[target_feature(enable = "avx2,fma,f16c")]
    fn v3() {
        memory_test!(x86_v3);
    }
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn v4_vnni() {
        memory_test!(x86_v4_vnni);
    }
    if Level::X86V3.supported() {
        // SAFETY: just asked.
        unsafe { v3() };
    }
    if Level::X86V4Vnni.supported() {
        // SAFETY: just asked.
        unsafe { v4_vnni() };
    }
}
