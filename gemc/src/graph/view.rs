//! Where a tensor's values stand in a checkpoint's files: all of a stored tensor or a part of it, in another order, with
//! every value scaled or shifted.
//!
//! A front end so gives the graph the matrices that its operations read, whatever the files have: fused projections,
//! experts in one tensor, transposed ones, rotary pairs side by side, norm weights less one. Values are read through a view
//! and never copied.

use std::ops::Range;

/// A matrix `[rows, columns]` of values of a stored tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Path of the stored tensor.
    stored: String,
    /// What was taken of it, for people: two views of one tensor have different ones.
    label: String,
    /// Shape that the graph sees; rows are its first dimension.
    shape: Vec<usize>,
    /// Index in the stored tensor of the first value, were rows in order.
    first: usize,
    /// Stored values from one row to the next, and from one column to the next.
    step: [usize; 2],
    /// Which stored row each row is.
    order: RowOrder,
    /// Every value is stored value * scale + offset.
    scale: f32,
    offset: f32,
}

/// Which row of a view is read where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowOrder {
    Stored,
    /// The first `rotated` rows of every `head` rows are stored as pairs (0, 1), (2, 3), …, and seen as the first of all
    /// pairs, then the second.
    Pairs {
        head: usize,
        rotated: usize,
    },
}

impl View {
    /// A whole tensor as it is stored.
    #[must_use]
    pub fn whole(stored: impl Into<String>, shape: &[usize]) -> Self {
        Self {
            stored: stored.into(),
            label: String::new(),
            shape: shape.to_vec(),
            first: 0,
            step: [shape.iter().skip(1).product(), 1],
            order: RowOrder::Stored,
            scale: 1.0,
            offset: 0.0,
        }
    }

    /// Path of the stored tensor.
    #[must_use]
    pub fn stored(&self) -> &str {
        &self.stored
    }

    /// Its name in a graph: the path of the stored tensor, and what is taken of it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}{}", self.stored, self.label)
    }

    fn labelled(mut self, label: &str) -> Self {
        self.label.push_str(label);
        self
    }

    /// Shape that the graph sees.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Values of a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Some of its rows.
    ///
    /// # Panics
    /// When there are fewer, or when the range cuts the pairs of a head: faults of a front end.
    #[must_use]
    pub fn range(mut self, rows: Range<usize>) -> Self {
        assert!(
            rows.start <= rows.end && rows.end <= self.rows(),
            "{rows:?} of {self:?}"
        );
        if let RowOrder::Pairs { head, .. } = self.order {
            assert!(rows.start.is_multiple_of(head) && rows.end.is_multiple_of(head));
        }
        self.first += rows.start * self.step[0];
        self.shape[0] = rows.len();
        self.labelled(&format!("[{}..{}]", rows.start, rows.end))
    }

    /// Every second row: from 0 or from 1 on.
    ///
    /// # Panics
    /// When the number of rows is odd, or they are in another order already.
    #[must_use]
    pub fn every_second(mut self, from: usize) -> Self {
        assert!(self.rows().is_multiple_of(2) && self.order == RowOrder::Stored && from < 2);
        self.first += from * self.step[0];
        self.step[0] *= 2;
        self.shape[0] /= 2;
        self.labelled(["[even]", "[odd]"][from])
    }

    /// The matrix `index` of a tensor of three dimensions.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn matrix(mut self, index: usize) -> Self {
        assert!(
            self.shape.len() == 3 && index < self.shape[0],
            "{index} of {self:?}"
        );
        self.first += index * self.step[0];
        self.shape.remove(0);
        self.step = [self.shape[1], 1];
        self.labelled(&format!("[{index}]"))
    }

    /// The other way round.
    ///
    /// # Panics
    /// When it is no matrix in the order of its rows.
    #[must_use]
    pub fn transposed(mut self) -> Self {
        assert!(
            self.shape.len() == 2 && self.order == RowOrder::Stored,
            "{self:?}"
        );
        self.shape.reverse();
        self.step.reverse();
        self.labelled("[transposed]")
    }

    /// Of `head` rows each, the first `rotated` from pairs side by side to the first of all pairs, then the second.
    ///
    /// # Panics
    /// When rows are no such heads, or in another order already.
    #[must_use]
    pub fn pairs_apart(mut self, head: usize, rotated: usize) -> Self {
        assert!(self.order == RowOrder::Stored && self.rows().is_multiple_of(head));
        assert!(rotated <= head && rotated.is_multiple_of(2));
        self.order = RowOrder::Pairs { head, rotated };
        self.labelled("[pairs]")
    }

    /// The same values in a shape of as many.
    ///
    /// # Panics
    /// When they are not as many, or not side by side.
    #[must_use]
    pub fn reshaped(mut self, shape: &[usize]) -> Self {
        assert!(self.is_contiguous(), "{self:?}");
        assert_eq!(
            shape.iter().product::<usize>(),
            self.rows() * self.columns()
        );
        self.shape = shape.to_vec();
        self.step = [self.columns(), 1];
        self.labelled(&format!("{shape:?}"))
    }

    /// Every value times a factor.
    #[must_use]
    pub fn times(mut self, factor: f32) -> Self {
        self.scale *= factor;
        self.offset *= factor;
        self.labelled(&format!("*{factor}"))
    }

    /// Every value plus a number.
    #[must_use]
    pub fn plus(mut self, number: f32) -> Self {
        self.offset += number;
        self.labelled(&format!("+{number}"))
    }

    /// Whether rows and values follow each other as they are stored.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.order == RowOrder::Stored && self.has_whole_rows() && self.step[0] == self.columns()
    }

    /// Whether the values of a row are stored side by side.
    #[must_use]
    pub fn has_whole_rows(&self) -> bool {
        self.step[1] == 1 || self.columns() == 1
    }

    /// Whether every row is a run of whole blocks of so many stored values.
    #[must_use]
    pub fn is_of_blocks(&self, block: usize) -> bool {
        let whole = |n: usize| n.is_multiple_of(block);
        self.has_whole_rows()
            && whole(self.columns())
            && whole(self.first)
            && (self.rows() == 1 || whole(self.step[0]))
    }

    /// Index in the stored tensor of a row's first value.
    #[must_use]
    pub fn row_start(&self, row: usize) -> usize {
        let stored = match self.order {
            RowOrder::Stored => row,
            RowOrder::Pairs { head, rotated } => {
                let (start, at, half) = (row - row % head, row % head, rotated / 2);
                start
                    + match at {
                        _ if at < half => 2 * at,
                        _ if at < rotated => 2 * (at - half) + 1,
                        _ => at,
                    }
            }
        };
        self.first + stored * self.step[0]
    }

    /// Stored values from one column to the next.
    #[must_use]
    pub fn column_step(&self) -> usize {
        self.step[1]
    }

    /// Scales and shifts what was read.
    pub fn adjust(&self, values: &mut [f32]) {
        let (scale, offset) = (self.scale, self.offset);
        if scale != 1.0 {
            values.iter_mut().for_each(|value| *value *= scale);
        }
        if offset != 0.0 {
            values.iter_mut().for_each(|value| *value += offset);
        }
    }

    /// Whether it is all of the stored tensor, unchanged.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_contiguous() && self.first == 0 && self.scale == 1.0 && self.offset == 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a view of a stored tensor that holds its own indices.
    fn read(view: &View) -> Vec<Vec<usize>> {
        let row = |row| {
            let columns = 0..view.columns();
            columns.map(move |column| view.row_start(row) + column * view.column_step())
        };
        (0..view.rows()).map(|r| row(r).collect()).collect()
    }

    #[test]
    fn parts_are_where_they_are_stored() {
        let whole = || View::whole("w", &[4, 2]);
        assert!(whole().is_plain());
        assert_eq!(read(&whole().range(1..3)), [[2, 3], [4, 5]]);
        assert_eq!(read(&whole().every_second(1)), [[2, 3], [6, 7]]);
        assert_eq!(read(&whole().transposed()), [[0, 2, 4, 6], [1, 3, 5, 7]]);
        assert_eq!(read(&whole().transposed().range(1..2)), [[1, 3, 5, 7]]);
        assert_eq!(read(&whole().transposed().every_second(1)), [[1, 3, 5, 7]]);
        assert_eq!(
            read(&whole().pairs_apart(4, 4)),
            [[0, 1], [4, 5], [2, 3], [6, 7]]
        );
        assert_eq!(
            read(&whole().pairs_apart(4, 2)),
            [[0, 1], [2, 3], [4, 5], [6, 7]]
        );
        assert_eq!(
            read(&whole().reshaped(&[2, 4])),
            [[0, 1, 2, 3], [4, 5, 6, 7]]
        );
        assert!(!whole().times(2.0).is_plain() && !whole().range(0..2).transposed().is_plain());
        let experts = || View::whole("e", &[2, 2, 3]);
        assert_eq!(read(&experts().matrix(1)), [[6, 7, 8], [9, 10, 11]]);
        assert_eq!(
            read(&experts().matrix(1).transposed()),
            [[6, 9], [7, 10], [8, 11]]
        );
        assert_eq!(
            read(&View::whole("q", &[8, 1]).pairs_apart(4, 4).range(4..8)),
            [[4], [6], [5], [7]]
        );
    }

    #[test]
    fn values_are_scaled_and_shifted_in_the_order_of_the_calls() {
        let mut values = [2.0, -1.0];
        View::whole("w", &[2])
            .plus(1.0)
            .times(3.0)
            .adjust(&mut values);
        assert_eq!(values, [9.0, 0.0]);
        View::whole("w", &[2])
            .times(3.0)
            .plus(1.0)
            .adjust(&mut values);
        assert_eq!(values, [28.0, 1.0]);
    }
}
