//! Weight formats: a [`Codec`] (what a block of 32 codes means) and a [`TileOrder`] (the order of rows, blocks and codes).
//!
//! A matrix `[rows, cols]` is padded to whole tiles of 16 rows and whole blocks of 32 columns. Packed, it is three
//! planes: codes, one scale byte per row and block, one f32 row scale per row; see [`PackedSize`]. Every weight is
//! `row_scale * (s * v)`, where `s` (block scale) and the integer `v` (code value) come from the codec; codecs without row scales
//! have two planes, and weights `s * v`. A kernel's dot product with int8 activations (see [`activation`]) accumulates blocks as
//! [`BlockSums`] says, and multiplies by the row scale in the end, if there is one.
//!
//! Invariant: quantising is deterministic (additions, multiplications and divisions of f32/f64 in a fixed order, no
//! library functions), so the same weights give the same bytes on every machine.

pub mod activation;
mod b8;
mod feedback;
mod grid;
mod l4;
mod l6;
mod mx4;
mod n2;
mod n3;
mod n4;
mod n5;
mod pack;
pub mod planes;
mod quantise;
mod scales;
mod search;
mod size;
#[cfg(test)]
mod tests;
mod tile16;
mod uneven;

pub use activation::ActivationFormat;
pub use feedback::{Factor, FeedbackScratch, panels_len, quantise_row_with_feedback};
pub use pack::{Inputs, Packer, pack, planes_of, rows_of, write_planes};
pub use planes::{GROUPS, Plane, Spill};
pub use quantise::{QuantisedRow, Rounding, quantise_row};
pub use scales::{BlockSums, Scales};
pub use size::{PackedSize, Shape, mean_bits, padded_rows};
pub use tile16::{PackedTile, dequantise_row, unpack_row};

/// A hash of the sources of this crate: what is cached of one version is not that of another.
pub const FINGERPRINT: &str = env!("GEMC_FORMAT");

/// Columns per block: the codes that share a scale byte.
pub const BLOCK: usize = 32;

/// Rows per tile.
pub const TILE_ROWS: usize = 16;

/// Planes, units and records start at multiples of this many bytes.
pub const ALIGN: usize = 64;

/// Declares the codecs: name, id in files, module of its grid. A new codec is one file and one line here.
macro_rules! codecs {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $module:ident;)*) => {
        /// What a block of 32 codes means. The discriminant is stored in files.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Codec {
            $($(#[$doc])* $name = $id,)*
        }

        impl Codec {
            /// All codecs.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Name in plans and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Properties that kernels and planners need.
            #[must_use]
            pub const fn spec(self) -> CodecSpec {
                with_grid!(self, G => CodecSpec::of::<G>())
            }
        }

        /// Runs an expression with `G` bound to the codec's grid type.
        macro_rules! with_grid {
            ($codec:expr, $G:ident => $body:expr) => {
                match $codec {
                    $($crate::Codec::$name => {
                        type $G = $crate::$module::$name;
                        $body
                    })*
                }
            };
        }
        use with_grid;
    };
}

codecs! {
    /// 8.25 bits: signed bytes, `v = c` in -127..=127; scale `s` the byte, 1..=255 (0 in all-zero blocks).
    B8 = 1, b8;
    /// 4.25 bits: 16 unevenly spaced values, `v = TABLE[c] + 2 * (byte & 1)`; scale `s = (byte | 1) as i8`, odd.
    N4 = 2, n4;
    /// 4.25 bits: 16 evenly spaced values, `v = c - 8`; scale `s` the byte as i8, -127..=127.
    L4 = 3, l4;
    /// 6.25 bits: 64 evenly spaced values, `v = c - 32`; scale as L4.
    L6 = 4, l6;
    /// 5.25 bits: 32 unevenly spaced values, `v = TABLE[c] + 1 * (byte & 1)`; scale as N4.
    N5 = 5, n5;
    /// 3.25 bits: 8 unevenly spaced values, `v = TABLE[c] + 3 * (byte & 1)`; scale as N4.
    N3 = 6, n3;
    /// 2.25 bits: 4 unevenly spaced values, `v = TABLE[c] + 3 * (byte & 1)`; scale as N4.
    N2 = 7, n2;
    /// 4.25 bits: the 15 values of MXFP4, doubled, `v = TABLE[c]`; scale `s = 2^(byte - 128)`, 0 of byte 0; no row scale.
    MX4 = 8, mx4;
}

impl Codec {
    /// The codec with this id in a file.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|codec| *codec as u8 == id)
    }

    /// The codec with this name, letters in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// Codecs that plans choose from, fewest bits first: of each size the one that the table of codecs has first.
    pub const LADDER: [Self; SIZES] = ladder();

    /// Bits of a code and its share of the scale byte; row scales are not counted.
    #[must_use]
    pub const fn bits_per_weight(self) -> f64 {
        let spec = self.spec();
        spec.code_bits as f64 + spec.scale_bits()
    }

    /// The scale `s` of a scale byte.
    #[must_use]
    pub fn scale(self, byte: u8) -> f32 {
        with_grid!(self, G => <G as grid::Grid>::scale(byte))
    }

    /// `s * v` of a code in a block with this scale byte: its weight in units of the row scale.
    #[must_use]
    pub fn level(self, code: i8, byte: u8) -> f32 {
        with_grid!(self, G => <G as grid::Grid>::level(code, byte))
    }

    /// Integer value of a code in a block with this scale byte.
    #[must_use]
    pub fn value(self, code: i8, byte: u8) -> i32 {
        with_grid!(self, G => <G as grid::Grid>::value(code, byte))
    }
}

/// Number of sizes that codecs have.
const SIZES: usize = {
    let (mut sizes, mut index) = (0, 0);
    while index < Codec::ALL.len() {
        sizes += is_first(index) as usize;
        index += 1;
    }
    sizes
};

/// Whether no codec before it in the table has its size.
const fn is_first(index: usize) -> bool {
    let mut before = 0;
    while before < index {
        if Codec::ALL[before].bits_per_weight() == Codec::ALL[index].bits_per_weight() {
            return false;
        }
        before += 1;
    }
    true
}

/// [`Codec::LADDER`]: each codec is put in its place among those before it.
const fn ladder() -> [Codec; SIZES] {
    let mut ladder = [Codec::ALL[0]; SIZES];
    let (mut len, mut index) = (0, 0);
    while index < Codec::ALL.len() {
        if is_first(index) {
            let codec = Codec::ALL[index];
            let mut at = len;
            while at > 0 && ladder[at - 1].bits_per_weight() > codec.bits_per_weight() {
                ladder[at] = ladder[at - 1];
                at -= 1;
            }
            ladder[at] = codec;
            len += 1;
        }
        index += 1;
    }
    ladder
}

/// Properties of a codec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodecSpec {
    /// Bits of a stored code.
    pub code_bits: u32,
    /// Columns that share a block scale.
    pub block: usize,
    /// Bytes of a block scale.
    pub scale_bytes: usize,
    /// Bytes of a row scale; 0 where rows have none.
    pub row_scale_bytes: usize,
    /// Where the bits of a code lie, in the order of their chunks.
    pub planes: &'static [Plane],
    /// Smallest and largest code.
    pub codes: (i8, i8),
    /// Smallest and largest code value, shifts included.
    pub values: (i32, i32),
    /// Code of padding: its value is the nearest to zero.
    pub padding: i8,
    /// What scale bytes stand for.
    pub scales: Scales,
    /// How kernels accumulate blocks.
    pub sums: BlockSums,
    /// Whether scale bytes are read without a sign.
    pub unsigned_scale: bool,
    /// Values of codes before any shift, for codecs that look them up; without a table, values are codes plus a constant.
    pub table: Option<&'static [i8]>,
    /// What bit 0 of a scale byte adds to every value of its block, the scale being odd; 0 for codecs without shift.
    pub shift: i32,
}

impl CodecSpec {
    const fn of<G: grid::Grid>() -> Self {
        let (mut code_bits, mut plane) = (0, 0);
        while plane < G::PLANES.len() {
            code_bits += G::PLANES[plane].bits;
            plane += 1;
        }
        Self {
            code_bits,
            block: BLOCK,
            scale_bytes: 1,
            row_scale_bytes: G::SCALES.row_bytes(),
            planes: G::PLANES,
            codes: G::CODES,
            values: G::VALUES,
            padding: G::PADDING,
            scales: G::SCALES,
            sums: G::SCALES.sums(),
            unsigned_scale: G::UNSIGNED,
            table: G::TABLE,
            shift: G::SHIFT,
        }
    }

    /// Bits of block scales per weight, in blocks that are full.
    #[must_use]
    pub const fn scale_bits(&self) -> f64 {
        8.0 * self.scale_bytes as f64 / self.block as f64
    }
}

/// The order of rows, blocks and codes. The discriminant is stored in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TileOrder {
    /// Tiles of 16 rows; in each block, 4 consecutive codes of each row side by side, in chunks of 64 bytes ([`Plane`]).
    #[default]
    Tile16 = 1,
}

impl TileOrder {
    /// The layout with this id in a file.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Tile16),
            _ => None,
        }
    }
}
