//! The values of one run: what each node produced, and the buffers that later nodes reuse.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::records::{ClusterIds, Decisions};
use super::router::Dispatch;
use crate::graph::NodeId;

/// A wire of floats: rows of equal width, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    values: Vec<f32>,
    width: usize,
}

impl Matrix {
    /// Row-major `values`, `width` columns.
    ///
    /// # Panics
    /// When the values are no whole number of rows.
    #[must_use]
    pub fn new(values: Vec<f32>, width: usize) -> Self {
        assert!(width > 0 && values.len().is_multiple_of(width));
        Self { values, width }
    }

    /// Number of columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// The values of one row, `width` of them.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }

    /// All values, row-major.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, row-major.
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

/// What a node produced.
#[derive(Clone, Debug)]
pub enum Wire {
    /// The batch's ids and positions, which the batch itself holds.
    Tokens,
    /// Rows of floats: of the whole batch, or of a guarded node only the rows on which it was computed, in order.
    Rows(Arc<Matrix>),
    /// Routing decisions, and the rows of each module.
    Routing(Arc<Decisions>, Arc<Dispatch>),
    /// Cluster ids.
    Clusters(Arc<ClusterIds>),
}

/// Captured wires of one batch: cheap to clone, and the start of later runs (`Reference::run_from`).
#[derive(Clone, Debug, Default)]
pub struct Wires(BTreeMap<NodeId, Wire>);

impl Wires {
    /// The wire, when it was captured.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Wire> {
        self.0.get(&id)
    }

    /// The rows of a float wire, when it was captured.
    #[must_use]
    pub fn rows(&self, id: NodeId) -> Option<&Arc<Matrix>> {
        match self.0.get(&id) {
            Some(Wire::Rows(matrix)) => Some(matrix),
            _ => None,
        }
    }

    /// Adds or replaces a wire.
    pub fn insert(&mut self, id: NodeId, wire: Wire) {
        self.0.insert(id, wire);
    }
}

/// Buffers between uses, shared by the runs of one executor.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<f32>>>);

impl Pool {
    /// Buffers kept at most; a run holds about a dozen at a time.
    const KEPT: usize = 24;

    /// `rows x width` with arbitrary contents.
    pub fn take(&self, rows: usize, width: usize) -> Matrix {
        let len = rows * width;
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let best = (0..free.len())
            .filter(|&i| free[i].capacity() >= len)
            .min_by_key(|&i| free[i].capacity());
        let mut values = best.map(|i| free.swap_remove(i)).unwrap_or_default();
        drop(free);
        values.resize(len, 0.0);
        Matrix { values, width }
    }

    /// Takes a buffer back.
    pub fn give(&self, matrix: Matrix) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < Self::KEPT {
            free.push(matrix.values);
        }
    }

    /// Takes the buffer back when nobody else holds it.
    pub fn recycle(&self, matrix: Arc<Matrix>) {
        if let Ok(matrix) = Arc::try_unwrap(matrix) {
            self.give(matrix);
        }
    }
}
