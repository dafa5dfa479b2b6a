//! One table of operations; each entry becomes a test of every level this CPU has against the portable one, on random
//! operands and on the corners of their ranges. Levels that the CPU lacks are named and counted, not passed.

mod levels;
mod memory;

use super::{Level, portable};

/// Rounds of operands per operation.
const ROUNDS: u64 = 200;

/// A vector's bytes, and a scalar's in the first four.
type Bytes = [u8; 64];

/// What an operand may hold.
#[derive(Clone, Copy)]
enum Kind {
    /// Any bits.
    Any,
    /// Floats of all magnitudes, infinities, NaN, subnormals, zeros.
    Float,
    /// Floats within ±2^30.
    Small,
    /// Lanes all ones or zero.
    Mask,
    /// Bytes in 0..16.
    Index,
    /// As `Index`, of two tables.
    Index32,
    /// Bytes other than -128.
    Code,
}

/// How results are compared.
#[derive(Clone, Copy, PartialEq)]
enum Compare {
    /// Bit by bit.
    Bits,
    /// Bit by bit, but any NaN equals any NaN.
    Floats,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    fn word(&mut self, kind: Kind) -> u32 {
        const FLOATS: [u32; 12] = [
            0,
            0x8000_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0000,
            1,
            0x8000_0001,
            0x0080_0000,
            0x7f7f_ffff,
            0x3f80_0000,
            0xbf00_0000,
            0x477f_f000,
        ];
        const WORDS: [u32; 6] = [
            0,
            u32::MAX,
            0x8000_0000,
            0x7fff_ffff,
            0x8080_8080,
            0x7f7f_7f7f,
        ];
        let (pick, word) = (self.next(), self.next());
        match kind {
            Kind::Any if pick.is_multiple_of(4) => WORDS[word as usize % WORDS.len()],
            Kind::Any => word,
            Kind::Float if pick.is_multiple_of(4) => FLOATS[word as usize % FLOATS.len()],
            // Half of them near one, where sums and products do not vanish or overflow.
            Kind::Float if pick.is_multiple_of(2) => word & 0x83ff_ffff | 0x3c00_0000,
            Kind::Float => word,
            Kind::Small => {
                (word as i32 as f32 / [2.0, 1e3, 1e6, 4.0e8][pick as usize % 4]).to_bits()
            }
            Kind::Mask => 0u32.wrapping_sub(word & 1),
            Kind::Index => word & 0x0f0f_0f0f,
            Kind::Index32 => word & 0x1f1f_1f1f,
            Kind::Code => {
                u32::from_le_bytes(word.to_le_bytes().map(|b| if b == 128 { 127 } else { b }))
            }
        }
    }

    fn operand(&mut self, kind: Kind) -> Bytes {
        let mut bytes = [0; 64];
        for lane in bytes.as_chunks_mut::<4>().0 {
            *lane = self.word(kind).to_le_bytes();
        }
        bytes
    }
}

fn read<T: Copy>(bytes: &Bytes) -> T {
    assert!(size_of::<T>() <= 64);
    // SAFETY: the bytes are there, and T is a scalar or vector of plain numbers.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

fn write<T: Copy>(value: T) -> Bytes {
    assert!(size_of::<T>() <= 64);
    let mut bytes = [0; 64];
    // SAFETY: there is room, and T is a scalar or vector of plain numbers without padding.
    unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
    bytes
}

fn same(compare: Compare, a: &Bytes, b: &Bytes) -> bool {
    let lanes = |x: &Bytes| {
        x.as_chunks::<4>()
            .0
            .iter()
            .map(|l| f32::from_le_bytes(*l))
            .collect::<Vec<_>>()
    };
    match compare {
        Compare::Bits => a == b,
        Compare::Floats => lanes(a)
            .iter()
            .zip(lanes(b))
            .all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()),
    }
}

type Run = fn(&[Bytes; 3]) -> Bytes;

/// A level's way to run an operation; `None` where this CPU, or this architecture, cannot.
fn check(name: &str, kinds: &[Kind], compare: Compare, reference: Run, levels: &[(Level, Run)]) {
    for &(level, run) in levels {
        if !level.supported() {
            println!(
                "{name}: {} not run: this CPU lacks some of {}",
                level.name(),
                level.features()
            );
            continue;
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..ROUNDS {
            let mut operands = [[0; 64]; 3];
            for (operand, &kind) in operands.iter_mut().zip(kinds) {
                *operand = random.operand(kind);
            }
            let (want, got) = (reference(&operands), run(&operands));
            assert!(
                same(compare, &want, &got),
                "{name} at {}:\n{operands:?}\n{want:?}\n{got:?}",
                level.name()
            );
        }
    }
}

/// Calls an operation of a level, with or without a literal shift.
macro_rules! call {
    ($s:ident, $name:ident, , $($a:expr),+) => { $s::$name($($a),+) };
    ($s:ident, $name:ident, $f:ident, $($a:expr),+) => { $s::$f($($a),+) };
    ($s:ident, $name:ident, $f:ident $n:literal, $($a:expr),+) => { $s::$f::<$n>($($a),+) };
}

/// `name [= function [::<n>]] (operand kinds) -> comparison;`
macro_rules! operations {
    ($($name:ident $(= $f:ident $(::<$n:literal>)?)? ($($i:tt $kind:ident),+) -> $compare:ident;)*) => {
        /// Number of entries.
        const OPERATIONS: usize = [$(stringify!($name)),*].len();

        mod reference {
            use super::*;
            $(pub fn $name(o: &[Bytes; 3]) -> Bytes {
                write(call!(portable, $name, $($f $($n)?)?, $(read(&o[$i])),+))
            })*
        }

        #[cfg(target_arch = "x86_64")]
        mod v3 {
            use super::*;
            use super::super::x86_v3;
            $(pub fn $name(o: &[Bytes; 3]) -> Bytes {
                #[target_feature(enable = "avx2,fma,f16c")]
                fn run(o: &[Bytes; 3]) -> Bytes {
                    write(call!(x86_v3, $name, $($f $($n)?)?, $(read(&o[$i])),+))
                }
                // SAFETY: `check` asked the CPU.
                unsafe { run(o) }
            })*
        }

        #[cfg(target_arch = "x86_64")]
        mod v3_vnni {
            use super::*;
            use super::super::x86_v3_vnni;
            $(pub fn $name(o: &[Bytes; 3]) -> Bytes {
                #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
                fn run(o: &[Bytes; 3]) -> Bytes {
                    write(call!(x86_v3_vnni, $name, $($f $($n)?)?, $(read(&o[$i])),+))
                }
                // SAFETY: `check` asked the CPU.
                unsafe { run(o) }
            })*
        }

        #[cfg(target_arch = "x86_64")]
        mod v4_vnni {
            use super::*;
            use super::super::x86_v4_vnni;
            $(pub fn $name(o: &[Bytes; 3]) -> Bytes {
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
                fn run(o: &[Bytes; 3]) -> Bytes {
                    write(call!(x86_v4_vnni, $name, $($f $($n)?)?, $(read(&o[$i])),+))
                }
                // SAFETY: `check` asked the CPU.
                unsafe { run(o) }
            })*
        }

        #[cfg(target_arch = "aarch64")]
        mod on_neon {
            use super::*;
            use super::super::neon;
            $(pub fn $name(o: &[Bytes; 3]) -> Bytes {
                #[target_feature(enable = "neon")]
                fn run(o: &[Bytes; 3]) -> Bytes {
                    write(call!(neon, $name, $($f $($n)?)?, $(read(&o[$i])),+))
                }
                // SAFETY: `check` asked the CPU.
                unsafe { run(o) }
            })*
        }

        #[cfg(target_arch = "aarch64")]
        mod on_neon_dotprod {
            use super::*;
            use super::super::neon_dotprod;
            $(pub fn $name(o: &[Bytes; 3]) -> Bytes {
                #[target_feature(enable = "neon,dotprod")]
                fn run(o: &[Bytes; 3]) -> Bytes {
                    write(call!(neon_dotprod, $name, $($f $($n)?)?, $(read(&o[$i])),+))
                }
                // SAFETY: `check` asked the CPU.
                unsafe { run(o) }
            })*
        }

        mod operation {
            use super::*;
            $(#[test]
            fn $name() {
                let levels: &[(Level, Run)] = &[
                    #[cfg(target_arch = "aarch64")]
                    (Level::Neon, on_neon::$name),
                    #[cfg(target_arch = "aarch64")]
                    (Level::NeonDotprod, on_neon_dotprod::$name),
                    #[cfg(target_arch = "x86_64")]
                    (Level::X86V3, v3::$name),
                    #[cfg(target_arch = "x86_64")]
                    (Level::X86V3Vnni, v3_vnni::$name),
                    #[cfg(target_arch = "x86_64")]
                    (Level::X86V4Vnni, v4_vnni::$name),
                ];
                check(stringify!($name), &[$(Kind::$kind),+], Compare::$compare, reference::$name, levels);
            })*
        }
    };
}

operations! {
    add_f32x16(0 Float, 1 Float) -> Floats;
    sub_f32x16(0 Float, 1 Float) -> Floats;
    mul_f32x16(0 Float, 1 Float) -> Floats;
    div_f32x16(0 Float, 1 Float) -> Floats;
    fma_f32x16(0 Float, 1 Float, 2 Float) -> Floats;
    min_f32x16(0 Float, 1 Float) -> Bits;
    max_f32x16(0 Float, 1 Float) -> Bits;
    abs_f32x16(0 Float) -> Bits;
    neg_f32x16(0 Float) -> Bits;
    sqrt_f32x16(0 Float) -> Floats;
    cmp_eq_f32x16(0 Float, 1 Float) -> Bits;
    cmp_ne_f32x16(0 Float, 1 Float) -> Bits;
    cmp_lt_f32x16(0 Float, 1 Float) -> Bits;
    cmp_le_f32x16(0 Float, 1 Float) -> Bits;
    cmp_gt_f32x16(0 Float, 1 Float) -> Bits;
    cmp_ge_f32x16(0 Float, 1 Float) -> Bits;
    select_f32x16(0 Mask, 1 Float, 2 Float) -> Bits;
    add_i32x16(0 Any, 1 Any) -> Bits;
    sub_i32x16(0 Any, 1 Any) -> Bits;
    mul_i32x16(0 Any, 1 Any) -> Bits;
    min_i32x16(0 Any, 1 Any) -> Bits;
    max_i32x16(0 Any, 1 Any) -> Bits;
    and_i32x16(0 Any, 1 Any) -> Bits;
    or_i32x16(0 Any, 1 Any) -> Bits;
    xor_i32x16(0 Any, 1 Any) -> Bits;
    cmp_eq_i32x16(0 Any, 1 Any) -> Bits;
    cmp_ne_i32x16(0 Any, 1 Any) -> Bits;
    cmp_lt_i32x16(0 Any, 1 Any) -> Bits;
    cmp_le_i32x16(0 Any, 1 Any) -> Bits;
    cmp_gt_i32x16(0 Any, 1 Any) -> Bits;
    cmp_ge_i32x16(0 Any, 1 Any) -> Bits;
    select_i32x16(0 Mask, 1 Any, 2 Any) -> Bits;
    add_i16x32(0 Any, 1 Any) -> Bits;
    add_i8x64(0 Any, 1 Any) -> Bits;
    and_i8x64(0 Any, 1 Any) -> Bits;
    or_i8x64(0 Any, 1 Any) -> Bits;
    xor_i8x64(0 Any, 1 Any) -> Bits;
    to_float_i32x16(0 Any) -> Bits;
    to_int_f32x16(0 Small) -> Bits;
    widen_s_i8x16(0 Any) -> Bits;
    widen_u_i8x16(0 Any) -> Bits;
    narrow_i32x16(0 Any) -> Bits;
    half_to_float_i16x16(0 Any) -> Bits;
    float_to_half_f32x16(0 Float) -> Bits;
    fma_f32(0 Float, 1 Float, 2 Float) -> Floats;
    sqrt_f32(0 Float) -> Floats;
    to_int_f32(0 Small) -> Bits;
    lanes_i32x16(0 Any) -> Bits;
    lanes_i8x16(0 Any) -> Bits;
    splat_f32(0 Float) -> Bits;
    splat_i32(0 Any) -> Bits;
    splat_i32_i8x64(0 Any) -> Bits;
    splat_i32_i16x32(0 Any) -> Bits;
    shl_i32x16_by_0 = shl_i32x16::<0>(0 Any) -> Bits;
    shl_i32x16_by_23 = shl_i32x16::<23>(0 Any) -> Bits;
    shr_s_i32x16_by_1 = shr_s_i32x16::<1>(0 Any) -> Bits;
    shr_s_i32x16_by_31 = shr_s_i32x16::<31>(0 Any) -> Bits;
    shr_u_i32x16_by_0 = shr_u_i32x16::<0>(0 Any) -> Bits;
    shr_u_i32x16_by_31 = shr_u_i32x16::<31>(0 Any) -> Bits;
    shr_s_i32x16_by_0 = shr_s_i32x16::<0>(0 Any) -> Bits;
    shl_i32x16_by_31 = shl_i32x16::<31>(0 Any) -> Bits;
    shr_u_i8x64_by_0 = shr_u_i8x64::<0>(0 Any) -> Bits;
    shr_u_i8x64_by_4 = shr_u_i8x64::<4>(0 Any) -> Bits;
    shr_u_i8x64_by_7 = shr_u_i8x64::<7>(0 Any) -> Bits;
    reduce_add_f32x16(0 Float) -> Floats;
    reduce_max_f32x16(0 Float) -> Bits;
    reduce_add_i32x16(0 Any) -> Bits;
    lookup_i8x64(0 Any, 1 Index) -> Bits;
    lookup32_i8x64(0 Any, 1 Any, 2 Index32) -> Bits;
    dot4_u_i8x64(0 Any, 1 Any, 2 Any) -> Bits;
    dot4_s_i8x64(0 Any, 1 Any, 2 Code) -> Bits;
    dot4_s_i8x64_reversed = dot4_s_i8x64(0 Any, 1 Code, 2 Any) -> Bits;
    dot2_u_i8x64(0 Any, 1 Any) -> Bits;
    dot2_s_i8x64(0 Code, 1 Code) -> Bits;
    dot_words_i16x32(0 Any, 1 Any) -> Bits;
    add_i16x16(0 Any, 1 Any) -> Bits;
    add_i32x8(0 Any, 1 Any) -> Bits;
    mul_i32x8(0 Any, 1 Any) -> Bits;
    add_f32x8(0 Float, 1 Float) -> Floats;
    mul_f32x8(0 Float, 1 Float) -> Floats;
    fma_f32x8(0 Float, 1 Float, 2 Float) -> Floats;
    to_float_i32x8(0 Any) -> Bits;
    dot4_u_i8x32(0 Any, 1 Any, 2 Any) -> Bits;
    dot4_s_i8x32(0 Any, 1 Any, 2 Code) -> Bits;
    dot4_s_i8x32_reversed = dot4_s_i8x32(0 Any, 1 Code, 2 Any) -> Bits;
    dot4_s_by_i8x64_0 = dot4_s_by_i8x64::<0>(0 Any, 1 Any, 2 Code) -> Bits;
    dot4_s_by_i8x64_3 = dot4_s_by_i8x64::<3>(0 Any, 1 Code, 2 Any) -> Bits;
    dot4_s_by_i8x32_1 = dot4_s_by_i8x32::<1>(0 Any, 1 Any, 2 Code) -> Bits;
    dot4_s_by_i8x32_2 = dot4_s_by_i8x32::<2>(0 Any, 1 Code, 2 Any) -> Bits;
    dot2_u_i8x32(0 Any, 1 Any) -> Bits;
    dot2_s_i8x32(0 Code, 1 Code) -> Bits;
    dot_words_i16x16(0 Any, 1 Any) -> Bits;
    mul_s_by_i8x32_0 = mul_s_by_i8x32::<0>(0 Any, 1 Any) -> Bits;
    mul_s_by_i8x32_3 = mul_s_by_i8x32::<3>(0 Any, 1 Any) -> Bits;
    mac_s_by_i8x32_1 = mac_s_by_i8x32::<1>(0 Any, 1 Any, 2 Any) -> Bits;
    mac_s_by_i8x32_2 = mac_s_by_i8x32::<2>(0 Any, 1 Any, 2 Any) -> Bits;
    add_pairs_i32x16(0 Any, 1 Any) -> Bits;
    fold_pairs_i32x16(0 Any) -> Bits;
    join_i8x32(0 Any, 1 Any) -> Bits;
    join_i16x16(0 Any, 1 Any) -> Bits;
    join_i32x8(0 Any, 1 Any) -> Bits;
    join_f32x8(0 Any, 1 Any) -> Bits;
    low_i8x64(0 Any) -> Bits;
    high_i8x64(0 Any) -> Bits;
    low_i16x32(0 Any) -> Bits;
    high_i16x32(0 Any) -> Bits;
    low_i32x16(0 Any) -> Bits;
    high_i32x16(0 Any) -> Bits;
    low_f32x16(0 Any) -> Bits;
    high_f32x16(0 Any) -> Bits;
    bits_i8x64_i16x32(0 Any) -> Bits;
    bits_i8x64_i32x16(0 Any) -> Bits;
    bits_i8x64_f32x16(0 Any) -> Bits;
    bits_i16x32_i8x64(0 Any) -> Bits;
    bits_i16x32_i32x16(0 Any) -> Bits;
    bits_i16x32_f32x16(0 Any) -> Bits;
    bits_i32x16_i8x64(0 Any) -> Bits;
    bits_i32x16_i16x32(0 Any) -> Bits;
    bits_i32x16_f32x16(0 Any) -> Bits;
    bits_f32x16_i8x64(0 Any) -> Bits;
    bits_f32x16_i16x32(0 Any) -> Bits;
    bits_f32x16_i32x16(0 Any) -> Bits;
}

/// Says how much of the table this machine could not run; see the tests' output for each.
#[test]
fn levels_this_cpu_lacks_are_counted() {
    let lacking: Vec<_> = Level::ALL
        .into_iter()
        .filter(|level| !level.supported())
        .collect();
    for level in &lacking {
        println!(
            "{OPERATIONS} operations of {} not run: this CPU lacks some of {}",
            level.name(),
            level.features()
        );
    }
    println!(
        "{} of {} operations not run",
        lacking.len() * OPERATIONS,
        Level::ALL.len() * OPERATIONS
    );
    assert!(!lacking.contains(&Level::Portable));
}

#[test]
fn dots_saturate_or_not_as_documented() {
    let bytes = |b: u8| portable::I8x64([b as i8; 64]);
    assert_eq!(
        portable::dot2_u_i8x64(bytes(255), bytes(127)).0,
        [i16::MAX; 32]
    );
    assert_eq!(
        portable::dot2_u_i8x64(bytes(255), bytes(128)).0,
        [i16::MIN; 32]
    );
    assert_eq!(
        portable::dot2_s_i8x64(bytes(0x81), bytes(127)).0,
        [-2 * 127 * 127; 32]
    );
    let acc = portable::splat_i32(1000);
    assert_eq!(
        portable::dot4_u_i8x64(acc, bytes(255), bytes(128)).0,
        [1000 - 4 * 255 * 128; 16]
    );
    assert_eq!(
        portable::dot4_s_i8x64(acc, bytes(128), bytes(0x81)).0,
        [1000 + 4 * 128 * 127; 16]
    );
}

#[test]
fn libm_and_std_agree() {
    let mut random = Random(7);
    for _ in 0..20_000 {
        let [a, b, c] = [(); 3].map(|()| f32::from_bits(random.word(Kind::Float)));
        let equal = |x: f32, y: f32| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
        assert!(
            equal(a.mul_add(b, c), libm::fmaf(a, b, c)),
            "{a:e} {b:e} {c:e}"
        );
        assert!(equal(a.sqrt(), libm::sqrtf(a)));
        assert!(equal(a.round_ties_even(), libm::rintf(a)));
    }
}
