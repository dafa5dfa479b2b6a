//! Values of the IR as Cranelift values: a vector is its segments of 128 bits, lowest lanes first.

use cranelift_codegen::ir::{Type, Value, types};

use gemc_kernels::ir::Ty;

/// Segments of the longest vectors.
const MAX: usize = 4;

/// One scalar, or the segments of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segments {
    values: [Value; MAX],
    count: usize,
}

impl Segments {
    /// A scalar, or a vector of one segment.
    pub(super) fn one(value: Value) -> Self {
        Self::repeat(value, 1)
    }

    /// The same segment `count` times.
    pub(super) fn repeat(value: Value, count: usize) -> Self {
        Self {
            values: [value; MAX],
            count: count.min(MAX),
        }
    }

    /// Two or four different segments.
    pub(super) fn of<const N: usize>(segments: [Value; N]) -> Self {
        let mut values = [segments[0]; MAX];
        values[..N].copy_from_slice(&segments);
        Self { values, count: N }
    }

    /// All segments.
    pub(super) fn values(&self) -> &[Value] {
        &self.values[..self.count]
    }

    /// The scalar, or the first segment.
    pub(super) fn first(&self) -> Value {
        self.values[0]
    }

    /// Segment `i`; that of a vector of one segment is every one.
    pub(super) fn at(&self, i: usize) -> Value {
        if self.count == 1 {
            self.values[0]
        } else {
            self.values[i]
        }
    }

    /// Number of segments.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// Type of a segment, and how many there are.
pub(super) const fn shape(ty: Ty) -> (Type, usize) {
    match ty {
        Ty::Bool => (types::I8, 1),
        Ty::I32 => (types::I32, 1),
        Ty::F32 => (types::F32, 1),
        Ty::I8x16 => (types::I8X16, 1),
        Ty::I8x64 => (types::I8X16, 4),
        Ty::I16x16 => (types::I16X8, 2),
        Ty::I16x32 => (types::I16X8, 4),
        Ty::I32x16 => (types::I32X4, 4),
        Ty::F32x16 => (types::F32X4, 4),
        Ty::I8x32 => (types::I8X16, 2),
        Ty::I32x8 => (types::I32X4, 2),
        Ty::F32x8 => (types::F32X4, 2),
    }
}
