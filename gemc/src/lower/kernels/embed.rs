//! Token ids to the first hidden state: a row of the packed embedding, plus position and type rows.

use gem_runtime::format::Codec;

use super::dot::{TILE, block_bytes, n4_table};
use super::vector::{LANES, affine};
use crate::kernel::build::{KernelBuilder, Ops};
use crate::kernel::{Cmp, Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

/// What the embedding kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embed {
    /// Format of the token table.
    pub codec: Codec,
    /// Token ids are below.
    pub vocab: usize,
    /// Tiles of the token table.
    pub tiles: usize,
    /// Real columns d.
    pub cols: usize,
    /// Rows of the position table, 0 without one.
    pub positions: usize,
    /// Whether the row of token type 0 is added.
    pub token_type: bool,
    /// Rows of the output buffer.
    pub max_rows: usize,
}

/// The packed table and the local bytes it is unpacked through.
struct Table {
    codes: ParamId,
    scales: ParamId,
    row_scales: ParamId,
    unpacked: ParamId,
}

impl Embed {
    /// Key and identifier.
    #[must_use]
    pub fn name(&self) -> String {
        let positions = if self.positions > 0 { "_positions" } else { "" };
        let token_type = if self.token_type { "_type" } else { "" };
        format!(
            "embed_{:?}_{}x{}{positions}{token_type}",
            self.codec, self.vocab, self.cols
        )
        .to_lowercase()
    }

    /// Writes the kernel; one unit a row. Arguments: codes, scales, row scales; [positions]; [type]; output.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "h [rows, {}] = token rows of [{}, {}] in {:?}",
            self.cols, self.vocab, self.cols, self.codec
        );
        let mut b = KernelBuilder::new(&self.name(), &doc, self.max_rows as u32);
        let blocks = self.cols.div_ceil(32);
        let stride = 32 * blocks;
        let weights = |b: &mut KernelBuilder, name: &str, elem, len: usize| {
            b.region(name, Space::Weights, elem, Extent::fixed(len as i64), false)
        };
        let codes = weights(
            &mut b,
            "codes",
            Elem::I8,
            self.tiles * blocks * block_bytes(self.codec),
        );
        let scales = weights(&mut b, "scales", Elem::I8, self.tiles * blocks * TILE);
        let row_scales = weights(&mut b, "row_scales", Elem::F32, self.tiles * TILE);
        let positions = (self.positions > 0)
            .then(|| weights(&mut b, "positions", Elem::F32, self.positions * stride));
        let token_type = self
            .token_type
            .then(|| weights(&mut b, "token_type", Elem::F32, stride));
        let rows = b.region(
            "rows",
            Space::Rows,
            Elem::I32,
            Extent::fixed(4 * self.max_rows as i64),
            false,
        );
        let h = b.region(
            "h",
            Space::Arena,
            Elem::F32,
            Extent::fixed((self.max_rows * stride) as i64),
            true,
        );
        let unpacked = b.local("unpacked", Elem::I8, 64);
        let table = Table {
            codes,
            scales,
            row_scales,
            unpacked,
        };

        let row = b.unit();
        let field = affine(&mut b, row, 4, 0);
        let token = b.load(Ty::I32, rows, field);
        let vocab = b.i32(self.vocab as i32);
        let token = b.bounded(token, vocab);
        b.name(token, "token");
        let position_start = positions.map(|_| {
            let field = affine(&mut b, row, 4, 2);
            let position = b.load(Ty::I32, rows, field);
            let limit = b.i32(self.positions as i32);
            let position = b.bounded(position, limit);
            affine(&mut b, position, stride, 0)
        });
        let row_scale = b.load(Ty::F32, table.row_scales, token);
        let row_scale = b.splat(row_scale);
        let start = affine(&mut b, row, stride, 0);
        b.for_n(blocks as i32, |b, block| {
            let halves = self.block(b, &table, token, block);
            for (half, value) in halves.into_iter().enumerate() {
                let mut value = b.mul(value, row_scale);
                let column = affine(b, block, 32, half * LANES);
                if let (Some(positions), Some(position_start)) = (positions, position_start) {
                    let index = b.add(position_start, column);
                    let p = b.load(Ty::F32x16, positions, index);
                    value = b.add(value, p);
                }
                if let Some(token_type) = token_type {
                    let t = b.load(Ty::F32x16, token_type, column);
                    value = b.add(value, t);
                }
                let index = b.add(start, column);
                b.store(h, index, value);
            }
        });
        if self.cols < stride {
            b.comment("padding codes are not zero in every format; padding columns are");
            let first = b.i32(self.cols as i32);
            let end = b.i32(stride as i32);
            let zero = b.f32(0.0);
            b.for_(first, end, |b, column| {
                let index = b.add(start, column);
                b.store(h, index, zero);
            });
        }
        b.finish()
    }

    /// `float(scale * code)` of the 32 columns of block `block` of row `token`.
    fn block(
        &self,
        b: &mut KernelBuilder,
        table: &Table,
        token: ValueId,
        block: ValueId,
    ) -> [ValueId; 2] {
        let sixteen = b.i32(TILE as i32);
        let tile = b.div(token, sixteen);
        let lane = b.rem(token, sixteen);
        let first = affine(b, tile, self.cols.div_ceil(32), 0);
        let at = b.add(first, block);
        let chunk = affine(b, at, block_bytes(self.codec), 0);
        let codes = self.codes(b, table, chunk, lane);
        let zero = b.i32(0);
        b.store(table.unpacked, zero, codes);
        let scale_start = affine(b, at, TILE, 0);
        let (factor, shift) = self.scale(b, table, scale_start, lane);
        [0, LANES].map(|offset| {
            let offset = b.i32(offset as i32);
            let bytes = b.load(Ty::I8x16, table.unpacked, offset);
            let code = b.widen_s(bytes);
            let code = b.add(code, shift);
            let product = b.mul(code, factor);
            b.to_float(product)
        })
    }

    /// The block's 32 codes in the first 32 bytes: word g holds k-group g.
    fn codes(
        &self,
        b: &mut KernelBuilder,
        table: &Table,
        chunk: ValueId,
        lane: ValueId,
    ) -> ValueId {
        let groups = block_bytes(self.codec) / 64;
        let zero = b.i32(0);
        let mut words = b.splat(zero);
        for group in 0..groups {
            let start = affine(b, lane, 4, 64 * group);
            let index = b.add(chunk, start);
            let word = b.load(Ty::I32, table.codes, index);
            let word = b.splat(word);
            // The high nibbles of a 4-bit chunk are k-group g + 4.
            let lanes: [i32; 16] =
                std::array::from_fn(|l| if l % groups == group && l < 8 { -1 } else { 0 });
            let lanes = b.i32_lanes(lanes);
            let word = b.and(word, lanes);
            words = b.or(words, word);
        }
        let bytes = b.bits(Ty::I8x64, words);
        if self.codec == Codec::B8 {
            return bytes;
        }
        let nibble = b.i32(0x0f0f_0f0f);
        let nibble = b.splat(nibble);
        let nibble = b.bits(Ty::I8x64, nibble);
        let high = b.shr_u(bytes, 4);
        let high = b.bits(Ty::I32x16, high);
        let low = b.bits(Ty::I32x16, bytes);
        let in_low = b.i32_lanes(std::array::from_fn(|l| if l < 4 { -1 } else { 0 }));
        let both = b.select(in_low, low, high);
        let both = b.bits(Ty::I8x64, both);
        let indices = b.and(both, nibble);
        match self.codec {
            Codec::N4 => {
                let grid = b.i8_lanes(n4_table());
                b.lookup(grid, indices)
            }
            _ => indices,
        }
    }

    /// Block scale of one row in every lane, and what is added to each code.
    fn scale(
        &self,
        b: &mut KernelBuilder,
        table: &Table,
        start: ValueId,
        lane: ValueId,
    ) -> (ValueId, ValueId) {
        // One byte, read through its word: the IR has no loads of single bytes.
        let four = b.i32(4);
        let word = b.div(lane, four);
        let word = affine(b, word, 4, 0);
        let index = b.add(start, word);
        let word = b.load(Ty::I32, table.scales, index);
        let position = b.rem(lane, four);
        let byte = byte_of(b, word, position, self.codec == Codec::B8);
        let lanes = b.splat(byte);
        let constant = |b: &mut KernelBuilder, value: i32| {
            let value = b.i32(value);
            b.splat(value)
        };
        match self.codec {
            Codec::B8 => (lanes, constant(b, 0)),
            Codec::L4 => (lanes, constant(b, -8)),
            Codec::N4 => {
                let one = constant(b, 1);
                let factor = b.or(lanes, one);
                let shift = b.and(lanes, one);
                (factor, b.shl(shift, 1))
            }
        }
    }
}

/// Byte `position` (0..=3) of a little-endian word, zero- or sign-extended.
fn byte_of(b: &mut KernelBuilder, word: ValueId, position: ValueId, unsigned: bool) -> ValueId {
    let mut value = extend(b, word, 0, unsigned);
    for byte in 1..4 {
        let candidate = extend(b, word, byte, unsigned);
        let index = b.i32(byte as i32);
        let here = b.cmp(Cmp::Eq, position, index);
        value = b.select(here, candidate, value);
    }
    value
}

fn extend(b: &mut KernelBuilder, word: ValueId, byte: u32, unsigned: bool) -> ValueId {
    let shifted = b.shl(word, 24 - 8 * byte);
    if unsigned {
        b.shr_u(shifted, 24)
    } else {
        b.shr_s(shifted, 24)
    }
}
