//! What belongs to a module: tensors of the graph, and bytes of the weight file.

use std::collections::HashSet;
use std::ops::Range;

use super::PatchError;
use crate::graph::{Graph, Op, TensorId, Typed};
use crate::pack::layout::{Layout, Source, vector_len};
use crate::pack::vectors;
use crate::tensors::TensorSource;

/// Bytes of a value.
const VALUE: u64 = 4;

/// Tensors of a module.
#[derive(Debug, Default)]
pub(super) struct Owned {
    module: usize,
    /// All of them.
    whole: HashSet<TensorId>,
    /// Of routers, a row for each module.
    rows: HashSet<TensorId>,
}

/// Tensors that have a row for each module: those of routers.
pub(super) fn shared(graph: &Graph<Typed>) -> impl Iterator<Item = TensorId> {
    let routers = graph.routers().into_iter();
    routers
        .flat_map(|(router, _)| match &graph.node(router).op {
            Op::Router {
                weight,
                bias,
                select_bias,
                ..
            } => [Some(*weight), *bias, *select_bias],
            _ => [None; 3],
        })
        .flatten()
}

impl Owned {
    pub(super) fn of(graph: &Graph<Typed>, module: u32) -> Self {
        let mut owned = Self {
            module: module as usize,
            rows: shared(graph).collect(),
            ..Self::default()
        };
        for (router, _) in graph.routers() {
            for node in graph.module_nodes(router, module) {
                owned.whole.extend(graph.node(*node).op.tensors());
            }
        }
        owned
    }

    /// Whether all of a tensor is the module's.
    pub(super) fn has(&self, tensor: TensorId) -> bool {
        self.whole.contains(&tensor)
    }

    /// The module's row of a tensor that has one of each.
    pub(super) fn row(&self, tensor: TensorId) -> Option<usize> {
        self.rows.contains(&tensor).then_some(self.module)
    }
}

/// One for every value of the module, zero for all others.
struct Marks<'a>(&'a Owned);

impl TensorSource for Marks<'_> {
    fn read_rows(&self, id: TensorId, rows: Range<usize>, out: &mut [f32]) {
        let Self(owned) = self;
        let each = out.len() / rows.len().max(1);
        for (row, values) in rows.zip(out.chunks_exact_mut(each.max(1))) {
            let own = owned.has(id) || owned.row(id) == Some(row);
            values.fill(f32::from(u8::from(own)));
        }
    }

    fn digest(&self, _: TensorId) -> [u8; 32] {
        [0; 32]
    }
}

/// Where a module's values are in the body of a weight file: ascending, apart.
pub(super) fn pieces(
    graph: &Graph<Typed>,
    layout: &Layout,
    module: u32,
) -> Result<Vec<Range<u64>>, PatchError> {
    let owned = Owned::of(graph, module);
    let mut found: Vec<Range<u64>> = Vec::new();
    for (index, record) in layout.records().iter().enumerate() {
        match &record.source {
            Source::Matrix(matrix) => {
                let own = matrix.parts.iter().filter(|part| owned.has(**part)).count();
                if own == matrix.parts.len() {
                    found.push(record.offset..record.offset + record.bytes);
                } else if own > 0 {
                    let module = graph.facts().domains[module as usize].clone();
                    let record = index;
                    return Err(PatchError::Shared { record, module });
                }
            }
            // Some are made from no tensor.
            Source::Vector(source) if source.tensor().is_some() => {
                let marks = vectors::values(source, &Marks(&owned), vector_len(source));
                let places = (0_u64..).zip(&marks).filter(|(_, mark)| **mark != 0.0);
                for (place, _) in places {
                    let at = record.offset + VALUE * place;
                    match found.last_mut() {
                        Some(last) if last.end == at => last.end += VALUE,
                        _ => found.push(at..at + VALUE),
                    }
                }
            }
            Source::Vector(_) => {}
        }
    }
    Ok(found)
}
