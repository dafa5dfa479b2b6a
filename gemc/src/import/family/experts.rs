//! Experts of a layer: their tensors in every layout that files have, and the router's choice of them.

use super::blocks::{Blocks, Map};
use crate::graph::{Activation, Gates, Guard, NodeId, Op, Score, View};

/// Paths below a layer.
pub struct Layout {
    /// The router's matrix, in older files and in newer.
    pub router: [&'static str; 2],
    /// Where experts are, in older files and in newer.
    pub experts: [&'static str; 2],
    /// Names of an expert's gate, up and down in older files; `None` where those have them in one tensor, too.
    pub each: Option<[&'static str; 3]>,
}

pub const MIXTRAL: Layout = Layout {
    router: ["block_sparse_moe.gate", "mlp.gate"],
    experts: ["block_sparse_moe.experts", "mlp.experts"],
    each: Some(["w1", "w3", "w2"]),
};

pub const QWEN: Layout = Layout {
    router: ["mlp.gate", "mlp.gate"],
    experts: ["mlp.experts", "mlp.experts"],
    each: Some(["gate_proj", "up_proj", "down_proj"]),
};

pub const LFM2: Layout = Layout {
    router: ["feed_forward.gate"; 2],
    experts: ["feed_forward.experts"; 2],
    each: Some(["w1", "w3", "w2"]),
};

pub const GRANITE: Layout = Layout {
    router: ["block_sparse_moe.router.layer", "block_sparse_moe.router"],
    experts: ["block_sparse_moe", "block_sparse_moe.experts"],
    each: None,
};

/// A layer's experts and how they are chosen.
pub struct Experts {
    pub layout: &'static Layout,
    pub count: usize,
    pub top_k: usize,
    /// Width of an expert.
    pub width: usize,
    pub score: Score,
    pub gates: Gates,
    /// What their results are multiplied by.
    pub residual: f32,
    pub act: Activation,
    pub hidden: usize,
}

/// What a router reads.
pub struct RouterViews {
    pub weight: View,
    pub bias: Option<View>,
    /// Added to scores for the choice alone.
    pub select_bias: Option<View>,
    /// Its product with the row gates the base.
    pub base_gate: Option<View>,
}

/// How a router chooses, and what experts compute.
pub struct Rule {
    pub top_k: usize,
    pub score: Score,
    pub gates: Gates,
    pub act: Activation,
}

/// A router and its experts, each with gate, up and down: the sum of what fired, and of what `base` builds.
pub fn routed(
    b: &mut Blocks<'_, '_>,
    p: &str,
    x: NodeId,
    router: RouterViews,
    rule: Rule,
    experts: Vec<[Map; 3]>,
    base: impl FnOnce(&mut Blocks<'_, '_>) -> Option<NodeId>,
) -> NodeId {
    let op = Op::Router {
        weight: b.view(router.weight),
        bias: router.bias.map(|view| b.view(view)),
        score: rule.score,
        top_k: rule.top_k as u32,
        // All that are chosen fire.
        threshold: -1.0,
        select_bias: router.select_bias.map(|view| b.view(view)),
        gates: rule.gates,
        base_gate: router.base_gate.map(|view| b.view(view)),
    };
    let routing = b.node(op, &[x], &format!("{p}.router"));
    let mut inputs = vec![routing];
    let base = base(b);
    inputs.extend(base);
    for (e, maps) in experts.into_iter().enumerate() {
        let module = e as u32;
        b.guarded(Guard::Module { routing, module });
        inputs.push(b.gated_mlp(&format!("{p}.experts.{e}"), rule.act, maps, x));
    }
    b.guarded(Guard::Always);
    let base = base.is_some();
    b.node(Op::Combine { base }, &inputs, &format!("{p}.combine"))
}

impl Experts {
    /// The sum of what fired, and of what `base` builds; `extras` are what is added for the choice, and the row that gates the base.
    pub fn build(
        &self,
        b: &mut Blocks<'_, '_>,
        p: &str,
        x: NodeId,
        extras: [Option<View>; 2],
        base: impl FnOnce(&mut Blocks<'_, '_>) -> Option<NodeId>,
    ) -> NodeId {
        let path = |names: [&str; 2]| {
            let newer = b.has(&format!("{p}.{}.weight", names[1]));
            format!("{p}.{}", names[usize::from(newer)])
        };
        let router = path(self.layout.router);
        let [select_bias, base_gate] = extras;
        let router = RouterViews {
            weight: b.stored(&format!("{router}.weight"), &[self.count, self.hidden]),
            bias: None,
            select_bias,
            base_gate,
        };
        let rule = Rule {
            top_k: self.top_k,
            score: self.score,
            gates: self.gates,
            act: self.act,
        };
        let maps = self.maps(b, p);
        routed(b, p, x, router, rule, maps, base)
    }

    /// Gate, up and down of every expert.
    fn maps(&self, b: &mut Blocks<'_, '_>, p: &str) -> Vec<[Map; 3]> {
        let [older, newer] = self.layout.experts.map(|path| format!("{p}.{path}"));
        let fused = format!("{newer}.gate_up_proj");
        match self.layout.each {
            _ if b.has(&fused) => self.fused(b, [&fused, &format!("{newer}.down_proj")]),
            _ if b.has(&format!("{newer}.gate_proj")) => self.stacked(b, &newer),
            None => {
                let names =
                    ["input_linear", "output_linear"].map(|n| format!("{older}.{n}.weight"));
                self.fused(b, [&names[0], &names[1]])
            }
            Some(names) => (0..self.count)
                .map(|e| {
                    let (d, f) = (self.hidden, self.width);
                    let shapes = [[f, d], [f, d], [d, f]];
                    let [gate, up, down] = [0, 1, 2]
                        .map(|i| b.map(&format!("{older}.{e}.{}", names[i]), shapes[i], false));
                    [gate, up, down.times(self.residual)]
                })
                .collect(),
        }
    }

    /// Experts in three tensors, as GGUF files have them: `[E, f, d]` of gates and of ups, and `[E, d, f]`.
    fn stacked(&self, b: &mut Blocks<'_, '_>, p: &str) -> Vec<[Map; 3]> {
        let (n, d, f) = (self.count, self.hidden, self.width);
        let shapes = [("gate", [n, f, d]), ("up", [n, f, d]), ("down", [n, d, f])];
        let all = shapes.map(|(name, shape)| b.stored(&format!("{p}.{name}_proj"), &shape));
        let of = |e| {
            let [gate, up, down] = all.clone().map(|all| Map {
                weight: all.matrix(e),
                bias: None,
            });
            [gate, up, down.times(self.residual)]
        };
        (0..n).map(of).collect()
    }

    /// Experts in two tensors: `[E, 2f, d]` of gates, then ups, and `[E, d, f]`.
    fn fused(&self, b: &mut Blocks<'_, '_>, [both, down]: [&str; 2]) -> Vec<[Map; 3]> {
        let (d, f) = (self.hidden, self.width);
        let both = b.stored(both, &[self.count, 2 * f, d]);
        let down = b.stored(down, &[self.count, d, f]);
        let map = |weight: View| Map { weight, bias: None };
        (0..self.count)
            .map(|e| {
                let wide = map(both.clone().matrix(e));
                let down = map(down.clone().matrix(e)).times(self.residual);
                [wide.rows(0..f), wide.rows(f..2 * f), down]
            })
            .collect()
    }
}
