//! Token ids to the first hidden state: a row of the packed embedding, plus position and type rows.

use gemc_format::{BLOCK, Codec, CodecSpec, GROUPS, Plane, Scales};

use super::codes::{self, Form, halves, table16, value, whole};
use super::dot::TILE;
use super::planes::PlaneRegions;
use super::rows::RowTable;
use super::spec::Exact;
use super::vector::LANES;
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Elem, Kernel, Ty};

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
    /// Rows of the table of token types, 0 without one, at most 2. Of two, an id from `vocab` on is that of a token of the second
    /// type.
    pub token_types: usize,
    /// What the token row is multiplied by.
    pub scale: Exact,
    /// Rows of the output buffer.
    pub max_rows: usize,
}

struct Regions<'k> {
    planes: PlaneRegions<'k>,
    positions: Option<Region<'k>>,
    token_type: Option<Region<'k>>,
    rows: RowTable<'k>,
    h: Region<'k>,
    /// Local bytes that a block is unpacked through.
    unpacked: Region<'k>,
}

impl Embed {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let positions = if self.positions > 0 { "_positions" } else { "" };
        let token_type = ["", "_type", "_types"][self.token_types.min(2)];
        let scale = match self.scale.get() {
            1.0 => String::new(),
            _ => format!("_times{}", self.scale.in_words()),
        };
        format!(
            "embed_{:?}_{}x{}{positions}{token_type}{scale}",
            self.codec, self.vocab, self.cols
        )
        .to_lowercase()
    }

    /// Writes the kernel; one item a row. Arguments: codes, scales, \[row scales\]; \[positions\]; \[type\]; output.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "h [rows, {}] = token rows of [{}, {}] in {:?}",
            self.cols, self.vocab, self.cols, self.codec
        );
        KernelBuilder::build(&self.name(), &doc, self.max_rows as u32, |k| self.write(k))
    }

    fn declare<'k>(&self, k: &'k KernelBuilder) -> Regions<'k> {
        let planes = PlaneRegions::declare(k, self.codec, self.tiles, self.cols);
        let stride = BLOCK * planes.size.blocks;
        let floats = |name: &str, len: usize| k.weights(name, Elem::F32, len);
        Regions {
            planes,
            positions: (self.positions > 0).then(|| floats("positions", self.positions * stride)),
            token_type: (self.token_types > 0)
                .then(|| floats("token_type", self.token_types * stride)),
            rows: RowTable::declare(k, self.max_rows),
            h: k.output("h", Elem::F32, self.max_rows * stride),
            unpacked: k.local("unpacked", Elem::I8, 64),
        }
    }

    fn write(&self, k: &KernelBuilder) {
        let r = &self.declare(k);
        let blocks = r.planes.size.blocks;
        let stride = BLOCK * blocks;
        let row = k.item();
        let (token, token_type) = self.token(k, r, row, stride);
        let position = r.positions.map(|positions| {
            let position = r.rows.position(row).bounded(self.positions);
            positions.row(position, stride)
        });
        let row_scale = (r.planes.row_scales).map(|scales| scales.get(token).splat());
        let h = r.h.row(row, stride);
        k.for_n(blocks, |block| {
            let halves = self.block(k, r, token, block);
            for (half, value) in halves.into_iter().enumerate() {
                let value = row_scale.map_or(value, |row_scale| value * row_scale);
                let value = match self.scale.get() {
                    1.0 => value,
                    scale => value * scale,
                };
                let column = block * BLOCK + half * LANES;
                let added = [position, token_type].into_iter().flatten();
                let sum = added.fold(value, |sum, of| sum + of.lanes(column));
                h.store(column, sum);
            }
        });
        if self.cols < stride {
            k.comment("padding codes are not zero in every format; padding columns are");
            k.for_(self.cols, stride, |column| h.store(column, 0.0));
        }
    }

    /// The token of a row, and the row of its type.
    fn token<'k>(
        &self,
        k: &'k KernelBuilder,
        r: &Regions<'k>,
        row: Val<'k>,
        stride: usize,
    ) -> (Val<'k>, Option<Region<'k>>) {
        let id = r.rows.token(row);
        if self.token_types < 2 {
            return (id.bounded(self.vocab).named("token"), r.token_type);
        }
        let id = id.bounded(2 * self.vocab).named("id");
        let vocab = k.lit(self.vocab as i32);
        let second = id.ge(vocab);
        let token = second.select(id - vocab, id).bounded(self.vocab);
        let kind = second.select(k.lit(1), k.lit(0)).bounded(2);
        let types = r.token_type.map(|types| types.row(kind, stride));
        (token.named("token"), types)
    }

    /// Scale times code, as floats, of the 32 columns of block `block` of row `token`.
    fn block<'k>(
        &self,
        k: &'k KernelBuilder,
        r: &Regions<'k>,
        token: Val<'k>,
        block: Val<'k>,
    ) -> [Val<'k>; 2] {
        let (tile, lane) = (token / TILE, token % TILE);
        let at = tile * r.planes.size.blocks + block;
        r.unpacked.store(0, self.codes(k, r.planes.codes(at), lane));
        let (factor, shift) = self.scale(k, r.planes.scales(at), lane);
        [0, LANES].map(|half| {
            let code = r.unpacked.lanes(half).widen_s() + shift;
            match self.codec.spec().scales {
                Scales::Integers { .. } => (code * factor).to_float(),
                Scales::PowersOfTwo { .. } => code.to_float() * factor,
            }
        })
    }

    /// The block's 32 values, shifts and constants not yet added, in the first 32 bytes: word g holds k-group g.
    fn codes<'k>(&self, k: &'k KernelBuilder, chunks: Region<'k>, lane: Val<'k>) -> Val<'k> {
        let spec = self.codec.spec();
        let load = |chunk: usize| chunks.load(Ty::I32, lane * 4 + 64 * chunk);
        let planes = spec.planes.iter().map(|plane| row_plane(k, plane, load));
        values(k, &spec, &planes.collect::<Vec<_>>())
    }

    /// Block scale of one row in every lane, an integer or a float by its kind, and what is added to each code.
    fn scale<'k>(
        &self,
        k: &'k KernelBuilder,
        scales: Region<'k>,
        lane: Val<'k>,
    ) -> (Val<'k>, Val<'k>) {
        let spec = self.codec.spec();
        // One byte, read through its word: the IR has no loads of single bytes.
        let word = scales.load(Ty::I32, lane / 4 * 4);
        let byte = byte_of(word, lane % 4, spec.unsigned_scale).splat();
        let scale = match spec.scales {
            Scales::Integers { .. } => byte,
            Scales::PowersOfTwo { bias } => codes::powers_of_two(byte, bias),
        };
        match spec.shift {
            0 => (scale, k.splat(-codes::offset(&spec, Form::Signed))),
            shift => (scale | 1, (scale & 1) * shift),
        }
    }
}

/// A plane's bits of one row's codes, a byte each: word g holds k-group g. `load` gives the row's word of a chunk of the
/// block.
fn row_plane<'k>(k: &'k KernelBuilder, plane: &Plane, load: impl Fn(usize) -> Val<'k>) -> Val<'k> {
    let words = (0..plane.chunks()).fold(k.splat(0), |words, chunk| {
        let masked = |word: Val<'k>, byte| word & i32::from_le_bytes([byte; 4]);
        let word = whole(plane, chunk, masked, |stored| load(plane.chunk + stored)).splat();
        words | (word & group_lanes(k, |group| plane.place(group).0 == chunk))
    });
    let shifts = (plane.cell..8).step_by(plane.cell as usize);
    let cells = shifts.fold(words, |cells, bit| {
        let shifted = words.shr_u(bit);
        group_lanes(k, |group| plane.place(group).1 == bit).select(shifted, cells)
    });
    let cells = cells.bits(Ty::I8x64);
    match plane.bits {
        8 => cells,
        bits => cells & ((1u32 << bits) - 1) as u8,
    }
}

/// A mask of the lanes of k-groups.
fn group_lanes(k: &KernelBuilder, of: impl Fn(usize) -> bool) -> Val<'_> {
    k.i32_lanes(std::array::from_fn(|lane| {
        -i32::from(lane < GROUPS && of(lane))
    }))
}

/// Signed values of the codes that planes hold the bits of; codes without a table stay codes.
fn values<'k>(k: &'k KernelBuilder, spec: &CodecSpec, planes: &[Val<'k>]) -> Val<'k> {
    match (planes, spec.table) {
        ([codes, ..], None) => *codes,
        ([codes], Some(table)) => k.i8_lanes(table16(|i| value(table, i, 0))).lookup(*codes),
        ([low, top, ..], Some(table)) => {
            let mask = k.i8_lanes(table16(|i| -((i & 1) as i8))).lookup(*top);
            halves(k, table, 0, *low, mask)
        }
        ([], _) => unreachable!("a codec has planes"),
    }
}

/// Byte `position` (0..=3) of a little-endian word, zero- or sign-extended.
fn byte_of<'k>(word: Val<'k>, position: Val<'k>, unsigned: bool) -> Val<'k> {
    (1..4).fold(extend(word, 0, unsigned), |value, byte| {
        let candidate = extend(word, byte, unsigned);
        position.eq(byte as i32).select(candidate, value)
    })
}

fn extend(word: Val<'_>, byte: u32, unsigned: bool) -> Val<'_> {
    let shifted = word << (24 - 8 * byte);
    match unsigned {
        true => shifted.shr_u(24),
        false => shifted.shr_s(24),
    }
}
