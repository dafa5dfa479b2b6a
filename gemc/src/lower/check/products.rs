//! Linear maps with what their readers make of them, and the readers that need more of a linear map than its width.

use gem_runtime::abi::MAX_CONTEXT;
use gemc_kernels::kernels::vector::LANES;

use super::kind::{AttentionOp, Kind};
use super::{Check, Checker};
use crate::graph::{Guard, LinearPart, NodeId, WireType};
use crate::lower::steps::{On, Product, Projection, Residual, Then};

impl<'g> Checker<'g> {
    /// A linear map that the kernels of products compute.
    pub(super) fn product(&self, id: NodeId, parts: &'g [LinearPart]) -> Check<Product<'g>> {
        self.parts_are_known(id, parts)?;
        Ok(Product {
            id,
            node: self.graph.node(id),
            input: self.graph.node(id).inputs[0],
            parts,
            then: self.then(id),
        })
    }

    /// Each part is padded to whole blocks: only who knows the parts finds their columns.
    fn parts_are_known(&self, id: NodeId, parts: &[LinearPart]) -> Check<()> {
        for &reader in self.readers(id) {
            let kind = self.kind(reader);
            let knows = matches!(kind, Kind::Attention(_) | Kind::Activate { .. });
            let what = format!(
                "{} reads a linear map of {} parts",
                kind.name(),
                parts.len()
            );
            let allowed = "one part; several only for attention and gated activations";
            self.need(parts.len() == 1 || knows, reader, what, allowed)?;
        }
        Ok(())
    }

    /// What the only reader of a product makes of it.
    fn then(&self, id: NodeId) -> Then {
        let [reader] = *self.readers(id) else {
            return Then::Floats;
        };
        match *self.kind(reader) {
            Kind::Activate { .. } if self.is_alone(reader) => Then::Floats,
            Kind::Activate { act, gated } => Then::Quantise {
                wire: reader,
                act: Some(act),
                gated,
            },
            Kind::Product(_) => Then::Quantise {
                wire: id,
                act: None,
                gated: false,
            },
            Kind::Add => self.residual(id).map_or(Then::Floats, Then::Residual),
            Kind::Norm(_)
            | Kind::Attention(_)
            | Kind::ShortConv(_)
            | Kind::Router(_)
            | Kind::Clusters { .. }
            | Kind::Scar { .. }
            | Kind::Combine { .. }
            | Kind::Select { .. }
            | Kind::Normalize
            | Kind::Softcap { .. }
            | Kind::Output
            | Kind::Tokens
            | Kind::Embed { .. } => Then::Floats,
        }
    }

    /// The sum that is a wire's only reader, where it adds another wire on every row.
    pub(super) fn residual(&self, id: NodeId) -> Option<Residual> {
        let [sum] = *self.readers(id) else {
            return None;
        };
        let added = matches!(self.kind(sum), Kind::Add) && self.guard(id) == Guard::Always;
        let inputs = &self.graph.node(sum).inputs;
        let other = *inputs.iter().find(|other| added && **other != id)?;
        Some(Residual { sum, other })
    }

    /// On which rows an unguarded product is computed.
    pub(super) fn rows_of(&self, id: NodeId) -> Check<On> {
        match self.graph.wire(id) {
            WireType::Rows { width: _ } => Ok(On::Rows),
            WireType::Outputs { width: _ } => Ok(On::Outputs),
            other @ (WireType::Ids | WireType::Routing { .. } | WireType::Clusters { .. }) => {
                Err(self.finding(id, format!("gives {other:?}"), "rows"))
            }
        }
    }

    /// Either one next operation on the same rows, or sums of modules.
    pub(super) fn guarded_readers(&self, id: NodeId) -> Check<()> {
        let readers = self.readers(id);
        let combined = |reader: &NodeId| matches!(self.kind(*reader), Kind::Combine { .. });
        let fits = readers.iter().all(combined) || readers.len() == 1;
        let what = format!("{} readers on some rows only", readers.len());
        self.need(fits, id, what, "one, or sums of modules")
    }

    /// Whether an activation is computed by itself: what reads it is no linear map.
    pub(super) fn is_alone(&self, id: NodeId) -> bool {
        let other = |reader: &NodeId| {
            matches!(
                self.kind(*reader),
                Kind::Norm(_) | Kind::Normalize | Kind::Output
            )
        };
        !self.readers(id).is_empty() && self.readers(id).iter().all(other)
    }

    /// An activation is computed where the linear map before it is.
    pub(super) fn activate(&self, id: NodeId, gated: bool) -> Check<()> {
        let wide = self.graph.node(id).inputs[0];
        let allowed = "a linear map on the same rows that nothing else reads";
        let Kind::Product(parts) = *self.kind(wide) else {
            let what = format!("activates {}", self.kind(wide).name());
            return Err(self.finding(id, what, allowed));
        };
        let readers = self.readers(wide).len();
        let what = format!("{readers} nodes read {}", self.origin(wide));
        self.need(readers == 1, id, what, allowed)?;
        let same = self.guard(wide) == self.guard(id);
        self.need(same, id, "activates on fewer rows", allowed)?;
        let rows: Vec<usize> = parts.iter().map(|p| self.part_rows(p)).collect();
        let fits = match rows.as_slice() {
            [gate, up] => gated && gate == up,
            [_] => !gated,
            _ => false,
        };
        let what = format!("activates parts of {rows:?} rows");
        let allowed = "gate and up of equal rows where gated, else one part";
        self.need(fits, id, what, allowed)?;
        for &reader in self.readers(id) {
            let product = matches!(self.kind(reader), Kind::Product(_));
            let what = format!("{} reads an activation", self.kind(reader).name());
            self.need(product, reader, what, "a linear map")?;
        }
        Ok(())
    }

    /// The linear map that gives attention, or else SCAR attention, its q, k and v.
    pub(super) fn projection(
        &self,
        id: NodeId,
        attention: Option<&AttentionOp>,
    ) -> Check<Projection<'g>> {
        let input = self.graph.node(id).inputs[0];
        let Kind::Product(parts) = *self.kind(input) else {
            let what = format!("what it reads comes from {}", self.kind(input).name());
            return Err(self.finding(id, what, "a linear map"));
        };
        let rows: Vec<usize> = parts.iter().map(|p| self.part_rows(p)).collect();
        let fits = match (rows.as_slice(), attention) {
            ([_], _) => true,
            ([q, k, v], Some(a)) => {
                let kv = a.kv_heads * a.head_dim;
                [*q, *k, *v] == [a.heads * a.head_dim, kv, kv]
            }
            _ => false,
        };
        let what = format!("what it reads comes in parts of {rows:?} rows");
        let allowed = match attention {
            Some(_) => "one part, or a part for each",
            None => "one part",
        };
        self.need(fits, id, what, allowed)?;
        Ok(Projection { id: input, parts })
    }

    /// Kernels index keys and values in 32 bits, whatever the context up to the largest one.
    pub(super) fn keys_can_be_indexed(&self, id: NodeId, heads: usize, width: usize) -> Check<()> {
        let each = heads * width.next_multiple_of(LANES);
        let most = (1_usize << 31) / MAX_CONTEXT as usize;
        let what =
            format!("{heads} key and value heads of {width} take {each} elements a position");
        let allowed = format!("at most {most}, heads padded to multiples of {LANES}");
        self.need(each <= most, id, what, &allowed)
    }

    /// Columns of a node's rows.
    pub(super) fn width(&self, id: NodeId) -> usize {
        match self.graph.wire(id) {
            WireType::Rows { width } | WireType::Outputs { width } => width,
            WireType::Ids | WireType::Routing { modules: _ } | WireType::Clusters { count: _ } => 0,
        }
    }

    fn part_rows(&self, part: &LinearPart) -> usize {
        self.graph.tensor(part.weight).shape()[0]
    }
}
