//! The two attention nodes: qkv rows in, mixed rows out.

use super::Exec;
use crate::graph::{Node, NodeId, Op, ScarMask, attention_scale};
use crate::reference::attention::{Attention, Heads, Scores};
use crate::reference::weights::Values;
use crate::reference::wire::{Matrix, Wire};
use crate::reference::{ops, rope};

impl Exec<'_, '_> {
    pub fn attention(
        &mut self,
        id: NodeId,
        node: &Node,
        norms: Option<&[Values; 2]>,
        sinks: Option<&[f32]>,
    ) -> Matrix {
        let Op::Attention {
            heads,
            kv_heads,
            head_dim,
            causal,
            scale,
            window,
            softcap,
            rope,
            qk_norm,
            // Loaded with the node.
            sinks: _,
        } = &node.op
        else {
            unreachable!("called for attention nodes alone")
        };
        let (heads, kv_heads, width) = (*heads as usize, *kv_heads as usize, *head_dim as usize);
        let qkv = self.floats(node.inputs[0]);
        if let Some(rope) = rope
            && !self.rope.as_ref().is_some_and(|table| table.serves(rope))
        {
            self.rope = Some(rope::Table::new(rope, self.batch.longest()));
        }
        let norm = norms.zip(*qk_norm).map(|(weights, norm)| ops::HeadNorms {
            weights: weights.each_ref().map(|values| &**values),
            eps: norm.eps,
            over: norm.over,
        });
        let mut qk = self.model.pool.take(qkv.rows(), (heads + kv_heads) * width);
        let transform = ops::QkTransform {
            norm,
            rope: rope.as_ref().and(self.rope.as_ref()),
            positions: &self.positions,
            heads: [heads, kv_heads],
            head_dim: width,
        };
        ops::transform_qk(&qkv, &transform, &mut qk);
        let mut out = self.take(id, qkv.rows());
        Attention {
            batch: self.batch,
            heads,
            kv_heads,
            width,
            causal: *causal,
            scores: Scores {
                scale: *scale,
                window: window.map(|n| n as usize),
                softcap: *softcap,
                sinks,
            },
            q: Heads::of(&qk, 0),
            k: Heads::of(&qk, heads * width),
            v: Heads::of(&qkv, (heads + kv_heads) * width),
        }
        .run(|_, _, _| {}, out.values_mut());
        self.model.pool.give(qk);
        out
    }

    pub fn scar(
        &self,
        id: NodeId,
        node: &Node,
        heads: usize,
        mask: ScarMask,
        causal: bool,
    ) -> Matrix {
        let qkv = self.floats(node.inputs[0]);
        let (decisions, _) = self.routing(node.inputs[1]);
        let clusters = match node
            .inputs
            .get(2)
            .and_then(|id| self.wires[id.index()].as_ref())
        {
            Some(Wire::Clusters(clusters)) => Some(clusters),
            _ => None,
        };
        let groups: Vec<u32> = match mask {
            ScarMask::ClusterOrDomain => decisions.domain.clone(),
            ScarMask::ClusterOrFlag => (0..decisions.rows())
                .map(|row| decisions.flag(row).into())
                .collect(),
        };
        // Without clusters only the groups count.
        let ids = clusters.map_or(&groups, |c| &c.ids);
        let hide = |row: usize, first: usize, scores: &mut [f32]| {
            let (group, id) = (groups[row], ids[row]);
            let others = groups[first..].iter().zip(&ids[first..]);
            for (score, (g, c)) in scores.iter_mut().zip(others) {
                *score = if *g == group || *c == id {
                    *score
                } else {
                    f32::NEG_INFINITY
                };
            }
        };
        let mut out = self.take(id, qkv.rows());
        let d = out.width();
        Attention {
            batch: self.batch,
            heads,
            kv_heads: heads,
            width: d / heads,
            causal,
            scores: Scores::scaled(attention_scale(d / heads)),
            q: Heads::of(&qkv, 0),
            k: Heads::of(&qkv, d),
            v: Heads::of(&qkv, 2 * d),
        }
        .run(hide, out.values_mut());
        out
    }
}
