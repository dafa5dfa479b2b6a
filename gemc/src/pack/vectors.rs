//! f32 records: a source to its values.

use gemc_format::padded_rows;

use crate::pack::layout::VectorSource;
use crate::tensors::TensorSource;

/// The values of an f32 record in file order; `len` is `layout::vector_len` of the source.
#[must_use]
pub fn values(source: &VectorSource, weights: &dyn TensorSource, len: usize) -> Vec<f32> {
    let mut out = vec![0.0; len];
    match source {
        VectorSource::Vector { tensor, len, .. } => {
            weights.read_rows(*tensor, 0..*len, &mut out[..*len])
        }
        VectorSource::Rows {
            tensor,
            rows,
            cols,
            stride,
        } => {
            for row in 0..*rows {
                weights.read_rows(*tensor, row..row + 1, &mut out[row * stride..][..*cols]);
            }
        }
        VectorSource::Biases(parts) => {
            let mut start = 0;
            for (tensor, n) in parts {
                if let Some(tensor) = tensor {
                    weights.read_rows(*tensor, 0..*n, &mut out[start..][..*n]);
                }
                start += padded_rows(*n);
            }
        }
        VectorSource::SquaredNorms { tensor, rows, cols } => {
            let mut row = vec![0.0f32; *cols];
            for (r, out) in out.iter_mut().enumerate().take(*rows) {
                weights.read_rows(*tensor, r..r + 1, &mut row);
                *out = row.iter().map(|c| c * c).sum();
            }
        }
        VectorSource::InverseFrequencies(all) => {
            for (out, f) in out.iter_mut().zip(all.iter()) {
                *out = *f as f32;
            }
        }
        VectorSource::KeptModules(all) => {
            for (out, kept) in out.iter_mut().zip(all.iter()) {
                *out = f32::from(u8::from(*kept));
            }
        }
    }
    out
}
