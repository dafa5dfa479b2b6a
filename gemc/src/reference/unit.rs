//! The weights of a unit: f32 in memory, or read from where they are, a piece at a time, whenever they are used.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

/// Rows of a matrix that are made when somebody wants them: of a mapped file, or of codes.
pub trait RowSource: fmt::Debug + Send + Sync {
    /// Values of all rows.
    fn values(&self) -> usize;

    /// Values of a row.
    fn width(&self) -> usize;

    /// Writes rows, row-major.
    ///
    /// # Panics
    /// When there are not as many, or `out` is of another size.
    fn read_rows(&self, rows: Range<usize>, out: &mut [f32]);
}

/// `[out, in]` of a linear map, or `[vocab, d]` of an embedding. Clones share what they hold.
#[derive(Clone, Debug)]
pub enum UnitWeights {
    /// In memory.
    Held(Arc<[f32]>),
    /// Read when used: slower, but a model of any size needs little memory so.
    Read(Arc<dyn RowSource>),
}

impl From<Arc<[f32]>> for UnitWeights {
    fn from(values: Arc<[f32]>) -> Self {
        Self::Held(values)
    }
}

impl From<Vec<f32>> for UnitWeights {
    fn from(values: Vec<f32>) -> Self {
        Self::Held(values.into())
    }
}

impl UnitWeights {
    /// Number of weights.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Held(values) => values.len(),
            Self::Read(source) => source.values(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values; a copy where they are not in memory.
    #[must_use]
    pub fn all(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Held(values) => Cow::Borrowed(values),
            Self::Read(source) => {
                let width = source.width();
                self.rows(0..source.values() / width.max(1), width)
            }
        }
    }

    /// Rows of `width` values; a copy where they are not in memory, made on all cores.
    ///
    /// # Panics
    /// When there are not as many.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>, width: usize) -> Cow<'_, [f32]> {
        match self {
            Self::Held(values) => Cow::Borrowed(&values[rows.start * width..rows.end * width]),
            Self::Read(source) => {
                const TOGETHER: usize = 16;
                let mut values = vec![0.0; rows.len() * width];
                let pieces = values.par_chunks_mut(TOGETHER * width.max(1));
                pieces.enumerate().for_each(|(i, piece)| {
                    let start = rows.start + i * TOGETHER;
                    source.read_rows(start..start + piece.len() / width, piece);
                });
                Cow::Owned(values)
            }
        }
    }
}
