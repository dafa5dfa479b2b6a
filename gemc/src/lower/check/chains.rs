//! The modules of a router: equal chains of linear maps, so that one phase a stage serves them all.

use super::kind::Kind;
use super::{Check, Checker};
use crate::graph::{Activation, NodeId};
use crate::lower::steps::{Product, Step, Then};

/// What modules must have in common at a stage.
#[derive(PartialEq, Eq)]
struct Shape<'g> {
    /// Of each part.
    parts: Vec<&'g [usize]>,
    act: Option<Activation>,
    gated: bool,
    last: bool,
}

const ALLOWED: &str =
    "linear maps in a row, perhaps an activation between two, alike in all modules of a router";

impl<'g> Checker<'g> {
    /// All modules of a router, at the first of their nodes.
    pub(super) fn modules(&self, id: NodeId, routing: NodeId) -> Check<Option<Step<'g>>> {
        // Typing has made sure that guards name a router and one of its modules.
        let modules = self.modules.get(&routing).map_or(&[][..], Vec::as_slice);
        if modules.iter().flatten().min() != Some(&id) {
            return Ok(None);
        }
        // Of a module that is left out there is nothing.
        let there = modules.iter().filter(|nodes| !nodes.is_empty());
        let chains = there.map(|nodes| self.chain(nodes));
        let chains = chains.collect::<Check<Vec<_>>>()?;
        let Some((model, others)) = chains.split_first() else {
            return Ok(None);
        };
        for chain in others {
            self.alike(model, chain)?;
        }
        let stage = |n: usize| chains.iter().filter_map(move |chain| chain.get(n).copied());
        Ok(Some(Step::Modules {
            routing,
            stages: (0..model.len()).map(|n| stage(n).collect()).collect(),
        }))
    }

    /// The products of a module, each of which reads what the one before gives.
    fn chain(&self, nodes: &[NodeId]) -> Check<Vec<Product<'g>>> {
        let mut products = Vec::new();
        for (place, &id) in nodes.iter().enumerate() {
            let before = place.checked_sub(1).map(|before| nodes[before]);
            let next = nodes.get(place + 1);
            let inputs = &self.graph.node(id).inputs;
            let follows = before.is_none_or(|before| inputs.first() == Some(&before));
            self.need(follows, id, "does not read the map before it", ALLOWED)?;
            let readers = self.readers(id);
            let read = match next {
                Some(next) => readers == [*next],
                None => readers.iter().all(|reader| !nodes.contains(reader)),
            };
            self.need(read, id, "is read by more than the map behind it", ALLOWED)?;
            match *self.kind(id) {
                Kind::Product(parts) => products.push(self.product(id, parts)?),
                Kind::Activate { .. } => {
                    let between = before.is_some() && next.is_some();
                    self.need(between, id, "an activation at an end", ALLOWED)?;
                }
                ref other => {
                    let what = format!("{} in a module", other.name());
                    return Err(self.finding(id, what, ALLOWED));
                }
            }
        }
        Ok(products)
    }

    fn alike(&self, model: &[Product<'g>], chain: &[Product<'g>]) -> Check<()> {
        for (a, b) in model.iter().zip(chain) {
            let alike = self.shape(a) == self.shape(b);
            let what = format!("has another shape than {}", self.origin(a.id));
            self.need(alike, b.id, what, ALLOWED)?;
        }
        if let (Some(a), Some(b)) = (model.first(), chain.first()) {
            let what = format!("reads other rows than {}", self.origin(a.id));
            self.need(a.input == b.input, b.id, what, ALLOWED)?;
        }
        Ok(())
    }

    /// Equal shapes at every place make chains equally long: only the last is `last`.
    fn shape(&self, product: &Product<'g>) -> Shape<'g> {
        let tensors = product.parts.iter().map(|p| self.graph.tensor(p.weight));
        let (act, gated, last) = match product.then {
            Then::Quantise {
                wire: _,
                act,
                gated,
            } => (act, gated, false),
            Then::Floats | Then::Residual(_) => (None, false, true),
        };
        Shape {
            parts: tensors.map(|t| t.shape()).collect(),
            act,
            gated,
            last,
        }
    }
}
