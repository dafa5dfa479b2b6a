//! Routing in f32: module probabilities and the fired top-k.

use super::spec::Exact;
use super::vector::inner_product;
use crate::choices::Score;
use crate::functions::Math;
use crate::ir::build::{FunctionRef, KernelBuilder, Region, Val};
use crate::ir::{Elem, Kernel};

/// What the router kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Router {
    /// Number of modules, D.
    pub modules: usize,
    /// Modules that may fire, K.
    pub top_k: usize,
    /// Columns, padded.
    pub stride: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
    /// How logits become probabilities.
    pub score: Score,
    /// A module fires when p is strictly above.
    pub threshold: Exact,
    /// Gates divided by their sum.
    pub renormalize: Option<Sum>,
    /// Gates multiplied by it.
    pub scale: Exact,
    /// Whether logits have a bias.
    pub bias: bool,
    /// Whether p has one for the choice of modules.
    pub select_bias: bool,
    /// Whether the base of the site's sum has a gate.
    pub base_gate: bool,
}

/// How the sum of gates is changed before they are divided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sum {
    /// Added to it.
    pub added: Exact,
    /// The least that it is.
    pub least: Exact,
}

impl Sum {
    /// As it is.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            added: 0.0.into(),
            least: 0.0.into(),
        }
    }
}

struct Regions<'k> {
    x: Region<'k>,
    weight: Region<'k>,
    bias: Option<Region<'k>>,
    select_bias: Option<Region<'k>>,
    /// Its weight, and where gates of bases go.
    base_gate: Option<[Region<'k>; 2]>,
    p: Region<'k>,
    fired: Region<'k>,
    gates: Region<'k>,
    domain: Region<'k>,
    taken: Region<'k>,
}

impl Router {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let score = format!("{:?}", self.score).to_lowercase();
        let bias = if self.bias { "_bias" } else { "" };
        let renormalize = match self.renormalize {
            None => String::new(),
            Some(sum) if sum == Sum::plain() => "_renormalize".to_owned(),
            Some(Sum { added, least }) => {
                format!("_renormalize{}_{}", added.in_words(), least.in_words())
            }
        };
        let scale = match self.scale.get() {
            1.0 => String::new(),
            _ => format!("_times{}", self.scale.in_words()),
        };
        let select = if self.select_bias { "_select" } else { "" };
        let base = if self.base_gate { "_base" } else { "" };
        format!(
            "router_{score}_{}of{}_x{}_above{}{renormalize}{scale}{bias}{select}{base}",
            self.top_k,
            self.modules,
            self.stride,
            self.threshold.in_words()
        )
    }

    /// Writes the kernel; one item a row. Arguments: x; weight; \[bias\]; \[bias of the choice\]; \[weight of the base's
    /// gate\]; p `[row][D]`; fired `[row][K]`; gates `[row][K]`; domain `[row]`; \[gates of bases `[row]`\].
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "p over {} modules, top {} above {}",
            self.modules,
            self.top_k,
            self.threshold.get()
        );
        KernelBuilder::build(&self.name(), &doc, self.max_rows as u32, |k| self.write(k))
    }

    fn write(&self, k: &KernelBuilder) {
        let exp = &Math::Exp.reference();
        let r = self.declare(k);
        let row = k.item();
        let x = r.x.row(row, self.stride);
        let p = r.p.row(row, self.modules);
        k.comment("logits");
        k.for_n(self.modules, |m| {
            let product = inner_product(k, r.weight.row(m, self.stride), x, self.stride);
            let logit = match r.bias {
                Some(bias) => product + bias.get(m),
                None => product,
            };
            p.store(m, logit);
        });
        match self.score {
            Score::Softmax => self.softmax(k, p, exp),
            Score::Sigmoid => k.for_n(self.modules, |m| {
                let e = scalar_exp(-p.get(m), exp);
                p.store(m, 1.0 / (1.0 + e));
            }),
        }
        self.choose(k, &r, p);
        self.write_fired(k, &r, p);
        if let Some([weight, gates]) = r.base_gate {
            k.comment("gate of the base");
            let product = inner_product(k, weight, x, self.stride);
            gates.store(row, 1.0 / (1.0 + scalar_exp(-product, exp)));
        }
    }

    fn declare<'k>(&self, k: &'k KernelBuilder) -> Regions<'k> {
        let (rows, modules) = (self.max_rows, self.modules);
        let bias = |there: bool, name: &str| there.then(|| k.weights(name, Elem::F32, modules));
        let x = k.input("x", Elem::F32, rows * self.stride);
        let weight = k.weights("weight", Elem::F32, modules * self.stride);
        let [bias, select_bias] = [(self.bias, "bias"), (self.select_bias, "select_bias")]
            .map(|(there, name)| bias(there, name));
        let gate = self
            .base_gate
            .then(|| k.weights("base_weight", Elem::F32, self.stride));
        let mut r = Regions {
            x,
            weight,
            bias,
            select_bias,
            base_gate: None,
            p: k.output("p", Elem::F32, rows * modules),
            fired: k.output("fired", Elem::I32, rows * self.top_k),
            gates: k.output("gates", Elem::F32, rows * self.top_k),
            domain: k.output("domain", Elem::I32, rows),
            taken: k.local("taken", Elem::I32, modules),
        };
        if let Some(weight) = gate {
            r.base_gate = Some([weight, k.output("base_gate", Elem::F32, rows)]);
        }
        r
    }

    /// `e^(p - max) / sum`, modules ascending.
    fn softmax<'k>(&self, k: &'k KernelBuilder, p: Region<'k>, exp: &FunctionRef) {
        let max = k.var("max", f32::MIN);
        k.for_n(self.modules, |m| {
            let logit = p.get(m);
            max.update(|max| max.max(logit));
        });
        let max = max.get();
        let sum = k.var("sum", 0.0);
        k.for_n(self.modules, |m| {
            let e = scalar_exp(p.get(m) - max, exp);
            p.store(m, e);
            sum.update(|sum| sum + e);
        });
        let sum = sum.get();
        k.for_n(self.modules, |m| p.store(m, p.get(m) / sum));
    }

    /// Takes K times the largest p not yet taken (ties: the lower module).
    fn choose<'k>(&self, k: &'k KernelBuilder, r: &Regions<'k>, p: Region<'k>) {
        k.comment("top-k");
        k.for_n(self.top_k, |_| {
            let best_p = k.var("best_p", if self.select_bias { f32::MIN } else { -1.0 });
            let best = k.var("best", 0);
            k.for_n(self.modules, |m| {
                let free = r.taken.get(m).eq(0);
                let p = match r.select_bias {
                    None => p.get(m),
                    Some(bias) => p.get(m) + bias.get(m),
                };
                let so_far = best_p.get();
                let better = free & p.gt(so_far);
                best_p.set(better.select(p, so_far));
                best.update(|best| better.select(m, best));
            });
            r.taken.store(best.get().bounded(self.modules), 1);
        });
    }

    /// Those taken that are above the threshold fire, listed ascending.
    fn write_fired<'k>(&self, k: &'k KernelBuilder, r: &Regions<'k>, p: Region<'k>) {
        k.comment("fired modules ascending, their gates, and the domain");
        let row = k.item();
        let [fired, gates] = [r.fired, r.gates].map(|list| list.row(row, self.top_k));
        k.for_n(self.top_k, |slot| {
            fired.store(slot, -1);
            gates.store(slot, 0.0);
        });
        let count = k.var("count", 0);
        let total = k.var("total", 0.0);
        let largest = k.var("largest", 0.0);
        let domain = k.var("domain", self.modules);
        k.for_n(self.modules, |m| {
            let taken = r.taken.get(m).eq(1);
            let p = p.get(m);
            k.when(taken & p.gt(self.threshold.get()), || {
                let n = count.get().bounded(self.top_k);
                fired.store(n, m);
                gates.store(n, p);
                count.set(n + 1);
                total.update(|total| total + p);
                let so_far = largest.get();
                let larger = p.gt(so_far);
                largest.set(larger.select(p, so_far));
                domain.update(|domain| larger.select(m, domain));
            });
        });
        r.domain.store(row, domain.get());
        let n = count.get().min(self.top_k);
        if let Some(sum) = self.renormalize {
            let total = sum.of(total.get());
            k.for_n(n, |slot| gates.store(slot, gates.get(slot) / total));
        }
        if self.scale.get() != 1.0 {
            k.for_n(n, |slot| {
                gates.store(slot, gates.get(slot) * self.scale.get())
            });
        }
    }
}

impl Sum {
    fn of<'k>(&self, total: Val<'k>) -> Val<'k> {
        let total = match self.added.get() {
            0.0 => total,
            added => total + added,
        };
        match self.least.get() {
            0.0 => total,
            least => total.max(least),
        }
    }
}

/// `e^x` of one float, through a vector.
fn scalar_exp<'k>(x: Val<'k>, exp: &FunctionRef) -> Val<'k> {
    exp.call(&[x.splat()]).reduce_max()
}
