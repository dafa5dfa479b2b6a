//! Token ids to the first hidden state: a row of the packed embedding, plus position and type rows.

use gemc_format::{Codec, CodecSpec, GROUPS, Plane};

use super::codes::{self, Form, bytes, halves, table16, value, whole};
use super::dot::{TILE, block_bytes};
use super::vector::LANES;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::{Field, RowTable, affine};
use crate::ir::{Cmp, Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

/// What the embedding kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// A name for people.
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

    /// Writes the kernel; one item a row. Arguments: codes, scales, row scales; [positions]; [type]; output.
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
        let rows = RowTable::declare(&mut b, self.max_rows);
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

        let row = b.item();
        let token = rows.load(&mut b, row, Field::Token);
        let vocab = b.i32(self.vocab as i32);
        let token = b.bounded(token, vocab);
        b.name(token, "token");
        let position_start = positions.map(|_| {
            let position = rows.load(&mut b, row, Field::Position);
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

    /// The block's 32 values, shifts and constants not yet added, in the first 32 bytes: word g holds k-group g.
    fn codes(
        &self,
        b: &mut KernelBuilder,
        table: &Table,
        chunk: ValueId,
        lane: ValueId,
    ) -> ValueId {
        let spec = self.codec.spec();
        let planes: Vec<ValueId> = spec
            .planes
            .iter()
            .map(|plane| {
                row_plane(b, plane, |b, stored| {
                    let start = affine(b, lane, 4, 64 * stored);
                    let index = b.add(chunk, start);
                    b.load(Ty::I32, table.codes, index)
                })
            })
            .collect();
        values(b, &spec, &planes)
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
        let spec = self.codec.spec();
        let byte = byte_of(b, word, position, spec.unsigned_scale);
        let lanes = b.splat(byte);
        let constant = |b: &mut KernelBuilder, value: i32| {
            let value = b.i32(value);
            b.splat(value)
        };
        if spec.shift == 0 {
            return (lanes, constant(b, -codes::offset(&spec, Form::Signed)));
        }
        let one = constant(b, 1);
        let factor = b.or(lanes, one);
        let shifted = b.and(lanes, one);
        let shift = constant(b, spec.shift);
        (factor, b.mul(shifted, shift))
    }
}

/// A plane's bits of one row's codes, a byte each: word g holds k-group g. `load` gives the row's word of a chunk of the
/// block.
fn row_plane(
    b: &mut KernelBuilder,
    plane: &Plane,
    load: impl Fn(&mut KernelBuilder, usize) -> ValueId,
) -> ValueId {
    let zero = b.i32(0);
    let mut words = b.splat(zero);
    for chunk in 0..plane.chunks() {
        let word = whole(b, plane, chunk, repeated, |b, stored| {
            load(b, plane.chunk + stored)
        });
        let word = b.splat(word);
        let here = group_lanes(b, |group| plane.place(group).0 == chunk);
        let word = b.and(word, here);
        words = b.or(words, word);
    }
    let mut cells = words;
    for bit in (plane.cell..8).step_by(plane.cell as usize) {
        let shifted = b.shr_u(words, bit);
        let here = group_lanes(b, |group| plane.place(group).1 == bit);
        cells = b.select(here, shifted, cells);
    }
    let cells = b.bits(Ty::I8x64, cells);
    if plane.bits == 8 {
        return cells;
    }
    let mask = bytes(b, ((1u32 << plane.bits) - 1) as u8);
    b.and(cells, mask)
}

/// A mask of the lanes of k-groups.
fn group_lanes(b: &mut KernelBuilder, of: impl Fn(usize) -> bool) -> ValueId {
    b.i32_lanes(std::array::from_fn(|lane| {
        if lane < GROUPS && of(lane) { -1 } else { 0 }
    }))
}

/// A byte four times.
fn repeated(b: &mut KernelBuilder, byte: u8) -> ValueId {
    b.i32(i32::from_le_bytes([byte; 4]))
}

/// Signed values of the codes that planes hold the bits of; codes without a table stay codes.
fn values(b: &mut KernelBuilder, spec: &CodecSpec, planes: &[ValueId]) -> ValueId {
    match (planes, spec.table) {
        ([codes, ..], None) => *codes,
        ([codes], Some(table)) => {
            let grid = b.i8_lanes(table16(|i| value(table, i, 0)));
            b.lookup(grid, *codes)
        }
        ([low, top, ..], Some(table)) => {
            let masks = b.i8_lanes(table16(|i| -((i & 1) as i8)));
            let mask = b.lookup(masks, *top);
            halves(b, table, 0, *low, mask)
        }
        ([], _) => unreachable!("a codec has planes"),
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
