//! Routing in f32: module probabilities and the fired top-k.

use super::spec::Exact;
use crate::choices::Score;
use crate::functions::Math;
use crate::ir::build::FunctionRef;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::{affine, inner_product};
use crate::ir::{Cmp, Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

/// What the router kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Router {
    /// Modules D.
    pub modules: usize,
    /// Modules that may fire, K.
    pub top_k: usize,
    /// Columns, padded.
    pub stride: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
    /// Logits to p.
    pub score: Score,
    /// A module fires when p is strictly above.
    pub threshold: Exact,
    /// Gates divided by their sum.
    pub renormalize: bool,
    /// Whether logits have a bias.
    pub bias: bool,
}

struct RouterRegions {
    x: ParamId,
    weight: ParamId,
    bias: Option<ParamId>,
    p: ParamId,
    fired: ParamId,
    gates: ParamId,
    domain: ParamId,
    taken: ParamId,
}

impl Router {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let score = format!("{:?}", self.score).to_lowercase();
        let bias = if self.bias { "_bias" } else { "" };
        let renormalize = if self.renormalize { "_renormalize" } else { "" };
        format!(
            "router_{score}_{}of{}_x{}_above{:08x}{renormalize}{bias}",
            self.top_k,
            self.modules,
            self.stride,
            self.threshold.bits()
        )
    }

    /// Writes the kernel; one item a row. Arguments: x; weight; [bias]; p `[row][D]`; fired `[row][K]`; gates
    /// `[row][K]`; domain `[row]`.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let exp = &Math::Exp.reference();
        let doc = format!(
            "p over {} modules, top {} above {}",
            self.modules,
            self.top_k,
            self.threshold.get()
        );
        let mut b = KernelBuilder::new(&self.name(), &doc, self.max_rows as u32);
        let r = self.declare(&mut b);
        let row = b.item();
        let x_start = affine(&mut b, row, self.stride, 0);
        let p_start = affine(&mut b, row, self.modules, 0);
        b.comment("logits");
        b.for_n(self.modules as i32, |b, m| {
            let w_start = affine(b, m, self.stride, 0);
            let mut logit = inner_product(b, (r.weight, w_start), (r.x, x_start), self.stride);
            if let Some(bias) = r.bias {
                let c = b.load(Ty::F32, bias, m);
                logit = b.add(logit, c);
            }
            let index = b.add(p_start, m);
            b.store(r.p, index, logit);
        });
        match self.score {
            Score::Softmax => self.softmax(&mut b, &r, p_start, exp),
            Score::Sigmoid => self.sigmoid(&mut b, &r, p_start, exp),
        }
        self.choose(&mut b, &r, row, p_start);
        b.finish()
    }

    fn declare(&self, b: &mut KernelBuilder) -> RouterRegions {
        let fixed = |n: usize| Extent::fixed(n as i64);
        let rows = self.max_rows;
        let x = b.region(
            "x",
            Space::Arena,
            Elem::F32,
            fixed(rows * self.stride),
            false,
        );
        let weight = b.region(
            "weight",
            Space::Weights,
            Elem::F32,
            fixed(self.modules * self.stride),
            false,
        );
        let bias = self.bias.then(|| {
            b.region(
                "bias",
                Space::Weights,
                Elem::F32,
                fixed(self.modules),
                false,
            )
        });
        let p = b.region(
            "p",
            Space::Arena,
            Elem::F32,
            fixed(rows * self.modules),
            true,
        );
        let fired = b.region(
            "fired",
            Space::Arena,
            Elem::I32,
            fixed(rows * self.top_k),
            true,
        );
        let gates = b.region(
            "gates",
            Space::Arena,
            Elem::F32,
            fixed(rows * self.top_k),
            true,
        );
        let domain = b.region("domain", Space::Arena, Elem::I32, fixed(rows), true);
        let taken = b.local("taken", Elem::I32, self.modules as i64);
        RouterRegions {
            x,
            weight,
            bias,
            p,
            fired,
            gates,
            domain,
            taken,
        }
    }

    /// `e^(p - max) / sum`, modules ascending.
    fn softmax(&self, b: &mut KernelBuilder, r: &RouterRegions, start: ValueId, exp: &FunctionRef) {
        let lowest = b.f32(f32::MIN);
        let max = b.named_var("max", lowest);
        b.for_n(self.modules as i32, |b, m| {
            let index = b.add(start, m);
            let logit = b.load(Ty::F32, r.p, index);
            let before = b.get(max);
            let larger = b.max(before, logit);
            b.set(max, larger);
        });
        let max = b.get(max);
        let zero = b.f32(0.0);
        let sum = b.named_var("sum", zero);
        b.for_n(self.modules as i32, |b, m| {
            let index = b.add(start, m);
            let logit = b.load(Ty::F32, r.p, index);
            let difference = b.sub(logit, max);
            let e = scalar_exp(b, difference, exp);
            b.store(r.p, index, e);
            let before = b.get(sum);
            let after = b.add(before, e);
            b.set(sum, after);
        });
        let sum = b.get(sum);
        b.for_n(self.modules as i32, |b, m| {
            let index = b.add(start, m);
            let e = b.load(Ty::F32, r.p, index);
            let p = b.div(e, sum);
            b.store(r.p, index, p);
        });
    }

    fn sigmoid(&self, b: &mut KernelBuilder, r: &RouterRegions, start: ValueId, exp: &FunctionRef) {
        b.for_n(self.modules as i32, |b, m| {
            let index = b.add(start, m);
            let logit = b.load(Ty::F32, r.p, index);
            let negated = b.neg(logit);
            let e = scalar_exp(b, negated, exp);
            let one = b.f32(1.0);
            let denominator = b.add(one, e);
            let p = b.div(one, denominator);
            b.store(r.p, index, p);
        });
    }

    /// K times the largest p not yet taken (ties: the lower module); those above the threshold fire, listed ascending.
    fn choose(&self, b: &mut KernelBuilder, r: &RouterRegions, row: ValueId, p_start: ValueId) {
        b.comment("top-k");
        let none = b.f32(-1.0);
        let zero = b.i32(0);
        let one = b.i32(1);
        let modules = b.i32(self.modules as i32);
        b.for_n(self.top_k as i32, |b, _| {
            let best_p = b.named_var("best_p", none);
            let best = b.named_var("best", zero);
            b.for_(zero, modules, |b, m| {
                let taken = b.load(Ty::I32, r.taken, m);
                let free = b.cmp(Cmp::Eq, taken, zero);
                let index = b.add(p_start, m);
                let p = b.load(Ty::F32, r.p, index);
                let so_far = b.get(best_p);
                let better = b.cmp(Cmp::Gt, p, so_far);
                let better = b.and(free, better);
                let new_p = b.select(better, p, so_far);
                b.set(best_p, new_p);
                let old = b.get(best);
                let new = b.select(better, m, old);
                b.set(best, new);
            });
            let chosen = b.get(best);
            let chosen = b.bounded(chosen, modules);
            b.store(r.taken, chosen, one);
        });
        self.write(b, r, row, p_start);
    }

    fn write(&self, b: &mut KernelBuilder, r: &RouterRegions, row: ValueId, p_start: ValueId) {
        b.comment("fired modules ascending, their gates, and the domain");
        let zero = b.i32(0);
        let one = b.i32(1);
        let minus_one = b.i32(-1);
        let nothing = b.f32(0.0);
        let threshold = b.f32(self.threshold.get());
        let slots = b.i32(self.top_k as i32);
        let list = affine(b, row, self.top_k, 0);
        b.for_(zero, slots, |b, slot| {
            let index = b.add(list, slot);
            b.store(r.fired, index, minus_one);
            b.store(r.gates, index, nothing);
        });
        let count = b.named_var("count", zero);
        let total = b.named_var("total", nothing);
        let largest = b.named_var("largest", nothing);
        let none = b.i32(self.modules as i32);
        let domain = b.named_var("domain", none);
        b.for_n(self.modules as i32, |b, m| {
            let taken = b.load(Ty::I32, r.taken, m);
            let taken = b.cmp(Cmp::Eq, taken, one);
            let index = b.add(p_start, m);
            let p = b.load(Ty::F32, r.p, index);
            let above = b.cmp(Cmp::Gt, p, threshold);
            let fires = b.and(taken, above);
            b.if_(
                fires,
                |b| {
                    let n = b.get(count);
                    let n = b.bounded(n, slots);
                    let at = b.add(list, n);
                    b.store(r.fired, at, m);
                    b.store(r.gates, at, p);
                    let next = b.add(n, one);
                    b.set(count, next);
                    let before = b.get(total);
                    let after = b.add(before, p);
                    b.set(total, after);
                    let so_far = b.get(largest);
                    let larger = b.cmp(Cmp::Gt, p, so_far);
                    let top = b.select(larger, p, so_far);
                    b.set(largest, top);
                    let old = b.get(domain);
                    let new = b.select(larger, m, old);
                    b.set(domain, new);
                },
                |_| {},
            );
        });
        let domain = b.get(domain);
        b.store(r.domain, row, domain);
        if self.renormalize {
            let n = b.get(count);
            let n = b.min(n, slots);
            let total = b.get(total);
            b.for_(zero, n, |b, slot| {
                let index = b.add(list, slot);
                let gate = b.load(Ty::F32, r.gates, index);
                let gate = b.div(gate, total);
                b.store(r.gates, index, gate);
            });
        }
    }
}

/// `e^x` of one float, through a vector.
fn scalar_exp(b: &mut KernelBuilder, x: ValueId, exp: &FunctionRef) -> ValueId {
    let lanes = b.splat(x);
    let lanes = b.call_fn(exp, &[lanes]);
    b.reduce_max(lanes)
}
