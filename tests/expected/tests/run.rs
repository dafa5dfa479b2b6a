//! The emitted Rust of the hand-built program, compiled here without `std`: every level this CPU has gives the bits
//! of the portable one, and the portable one gives what the program means.

use gem_expected::small;
use gem_runtime::abi::{CompiledProgram, Ctx, Executable, Part, Row};
use gem_runtime::simd::Level;
use gemc_format::activation::quantise_block;
use gemc_format::{Codec, Inputs, PackedSize, QuantisedRow, Rounding, Shape, dequantise_row, pack};
use small::layout::{KV_BYTES, MATRIX, MAX_ROWS, place};

const CODEC: Codec = Codec::N4;
const CONTEXT: u32 = 5;
const SLOTS: usize = 2;

/// 64-byte aligned memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

struct Memory(Vec<Line>);

impl Memory {
    fn zeroed(bytes: usize) -> Self {
        Self(vec![Line([0; 64]); bytes.div_ceil(64)])
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: a line is 64 bytes without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 64) }
    }

    fn put(&mut self, at: u32, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            let at = at as usize + i;
            self.0[at / 64].0[at % 64] = *byte;
        }
    }

    fn float(&self, at: u32, index: usize) -> f32 {
        f32::from_bits(self.int(at, index) as u32)
    }

    fn int(&self, at: u32, index: usize) -> i32 {
        let at = at as usize + 4 * index;
        i32::from_le_bytes(self.bytes()[at..at + 4].try_into().expect("four bytes"))
    }
}

/// A deterministic stream of numbers in -1..1.
fn stream(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

fn weights() -> Vec<f32> {
    let mut next = stream(1);
    (0..MATRIX[0] * MATRIX[1]).map(|_| next()).collect()
}

fn activations() -> Vec<f32> {
    let mut next = stream(2);
    (0..MAX_ROWS * MATRIX[1]).map(|_| 3.0 * next()).collect()
}

/// The arena before the first phase.
fn arena() -> Memory {
    let mut arena = Memory::zeroed(place::END as usize);
    for (i, x) in activations().as_chunks::<32>().0.iter().enumerate() {
        let mut codes = [0; 32];
        let scale = quantise_block(x, &mut codes);
        let sum: i32 = codes.iter().map(|c| i32::from(*c)).sum();
        let i = i as u32;
        arena.put(place::CODES + 32 * i, &codes.map(|c| c as u8));
        arena.put(place::SCALES + 4 * i, &scale.to_le_bytes());
        arena.put(place::SUMS + 4 * i, &sum.to_le_bytes());
    }
    let mut next = stream(3);
    for i in 0..48 {
        arena.put(place::FLOATS + 4 * i, &(20.0 * next()).to_le_bytes());
        // Spread over all magnitudes.
        let n = (next() * 2f32.powi(31)) as i32 >> (i % 31);
        arena.put(place::INTS + 4 * i, &n.to_le_bytes());
    }
    // Equal lanes, so that comparisons go every way.
    for at in [place::FLOATS, place::INTS] {
        let lane = arena.int(at, 1);
        arena.put(at + 68, &lane.to_le_bytes());
    }
    for i in 0..192 {
        let byte = if i < 64 {
            (next().abs() * 63.0) as i8
        } else {
            (next() * 127.0) as i8
        };
        arena.put(place::BYTES + i, &[byte as u8]);
    }
    for i in 0..MAX_ROWS as u32 {
        arena.put(place::CALLED + 4 * i, &(10 + i).to_le_bytes());
    }
    arena
}

const ROWS: [Row; 3] = [
    Row {
        token: 7,
        slot: 0,
        position: 0,
        visible: 1,
    },
    Row {
        token: 4,
        slot: 1,
        position: 2,
        visible: 3,
    },
    Row {
        token: 9,
        slot: 0,
        position: 4,
        visible: 5,
    },
];

/// The matrix as a weight file stores it.
fn packed() -> Vec<u8> {
    let shape = Shape {
        parts: vec![MATRIX[0]],
        cols: MATRIX[1],
    };
    let inputs = Inputs::Unknown(Rounding::Search);
    pack(&shape, CODEC, &weights(), inputs)
}

/// Runs everything on one thread; the arena afterwards.
fn run(program: &CompiledProgram) -> Memory {
    let size = PackedSize::new(CODEC, MATRIX[0], MATRIX[1]);
    let mut file = Memory::zeroed(size.bytes);
    file.put(0, &packed());
    let mut arena = arena();
    let mut slots: Vec<Memory> = (0..SLOTS)
        .map(|_| Memory::zeroed((KV_BYTES * CONTEXT) as usize))
        .collect();
    let kv: Vec<*mut u8> = slots
        .iter_mut()
        .map(|slot| slot.0.as_mut_ptr().cast())
        .collect();
    let outputs = [2u32, 0];
    let ctx = Ctx {
        weights: file.0.as_ptr().cast(),
        arena: arena.0.as_mut_ptr().cast(),
        kv: kv.as_ptr(),
        rows: ROWS.as_ptr(),
        outputs: outputs.as_ptr(),
        tables: program.tables.as_ptr(),
        n_rows: ROWS.len() as u32,
        n_slots: SLOTS as u32,
        n_outputs: outputs.len() as u32,
        context: CONTEXT,
    };
    for part in [Part::Body, Part::Head] {
        for (phase, items) in program.phases(part).iter().enumerate() {
            // SAFETY: the context describes live memory of the program's sizes, phases run in order and items once.
            unsafe { program.run(part, phase, &ctx, 0, items.count(&ctx)) };
        }
    }
    arena
}

fn portable() -> Memory {
    run(&small::portable::PROGRAM)
}

#[test]
fn every_level_gives_the_bits_of_the_portable_one() {
    let want = portable();
    let levels: &[(Level, &CompiledProgram)] = &[
        #[cfg(target_arch = "aarch64")]
        (Level::Neon, &small::neon::PROGRAM),
        #[cfg(target_arch = "aarch64")]
        (Level::NeonDotprod, &small::neon_dotprod::PROGRAM),
        #[cfg(target_arch = "x86_64")]
        (Level::X86V3, &small::x86_v3::PROGRAM),
        #[cfg(target_arch = "x86_64")]
        (Level::X86V3Vnni, &small::x86_v3_vnni::PROGRAM),
        (Level::X86V4Vnni, &small::x86_v4_vnni::PROGRAM),
    ];
    for (level, program) in levels {
        if !level.supported() {
            println!(
                "{} not run: this CPU lacks some of {}",
                level.name(),
                level.features()
            );
            continue;
        }
        let got = run(program);
        for (i, (want, got)) in want
            .bytes()
            .as_chunks::<4>()
            .0
            .iter()
            .zip(got.bytes().as_chunks::<4>().0)
            .enumerate()
        {
            assert_eq!(want, got, "{} at byte {}", level.name(), 4 * i);
        }
    }
    assert!(Level::Portable.supported());
}

/// The dot rule, by the book: blocks ascending, one fused accumulator, the row scale last.
fn expected_product(size: &PackedSize, item: &[u8], x: &[f32], row: usize) -> f32 {
    let mut quantised = QuantisedRow::default();
    gemc_format::unpack_row(size, item, row, &mut quantised);
    let mut acc = 0.0f32;
    for (block, x) in x.as_chunks::<32>().0.iter().enumerate() {
        let mut codes = [0; 32];
        let scale = quantise_block(x, &mut codes);
        let byte = quantised.scales[block];
        let isum: i32 = (0..32)
            .map(|k| CODEC.value(quantised.codes[32 * block + k], byte) * i32::from(codes[k]))
            .sum();
        acc = (CODEC.scale(byte) * isum as f32).mul_add(scale, acc);
    }
    acc * quantised.row_scale
}

#[test]
fn the_product_follows_the_dot_rule_to_the_bit() {
    let size = PackedSize::new(CODEC, MATRIX[0], MATRIX[1]);
    let item = packed();
    let (arena, x) = (portable(), activations());
    for row in 0..ROWS.len() {
        let x = &x[row * MATRIX[1]..][..MATRIX[1]];
        for out in 0..MATRIX[0] {
            let got = arena.float(place::PRODUCT, row * MATRIX[0] + out);
            let want = expected_product(&size, &item, x, out);
            assert_eq!(
                got.to_bits(),
                want.to_bits(),
                "row {row}, output {out}: {got} {want}"
            );
        }
    }
}

#[test]
fn the_product_is_close_to_that_of_the_weights() {
    let size = PackedSize::new(CODEC, MATRIX[0], MATRIX[1]);
    let item = packed();
    let (arena, x) = (portable(), activations());
    let (mut scratch, mut w) = (QuantisedRow::default(), vec![0.0; MATRIX[1]]);
    for out in 0..MATRIX[0] {
        dequantise_row(&size, &item, out, &mut scratch, &mut w);
        let want: f32 = w.iter().zip(&x).map(|(w, x)| w * x).sum();
        let got = arena.float(place::PRODUCT, out);
        assert!((got - want).abs() < 0.1, "output {out}: {got} {want}");
    }
}

#[test]
fn statements_do_what_they_say() {
    let arena = portable();
    // Three rows, so sums are cubed: row 2 sees row 0, both of slot 0; positions 1 to 3 of it are zero.
    let product = |row: usize, lane: usize| arena.float(place::PRODUCT, row * 32 + lane);
    for lane in 0..16 {
        let sums = [
            product(0, lane),
            product(1, lane),
            product(0, lane) + product(2, lane),
        ];
        for (row, sum) in sums.into_iter().enumerate() {
            let cube = (sum * sum).mul_add(sum, 0.5);
            let got = arena.float(place::ROWS, row * 16 + lane);
            assert_eq!(got, cube + cube + cube, "row {row}, lane {lane}");
        }
        // Outputs are rows 2 and 0.
        assert_eq!(
            arena.float(place::LOGITS, lane),
            arena.float(place::ROWS, 32 + lane)
        );
        assert_eq!(
            arena.float(place::LOGITS, 16 + lane),
            arena.float(place::ROWS, lane)
        );
    }
    // Odd tokens are tripled, even ones doubled, the unused row is left alone.
    let called: Vec<i32> = (0..4).map(|row| arena.int(place::CALLED, row)).collect();
    assert_eq!(called, [(10) * 3, (11 + 1) * 2, (12 + 2) * 3, 13]);
}
