//! What a kernel's body refers to -> what must be bound above it, found out while the body is printed.

use std::collections::{HashMap, HashSet};

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::code::Code;
use super::printer::Leaves;
use crate::ir::places::Place;
use crate::ir::{Op, Param, ParamId, Space, Ty, ValueDef, ValueId};

/// What a body needs bound, found out while it is printed.
#[derive(Debug, Default)]
pub(super) struct Env {
    /// Regions of the weight file.
    pub(super) weights: HashSet<ParamId>,
    /// How often a place in them is read as bytes of a block.
    pub(super) reads: HashMap<(ParamId, Place), u32>,
    /// Regions of every slot that are bound as one slot's.
    pub(super) of_a_slot: HashSet<ParamId>,
    /// Names of parameters, and whether the body refers to them.
    pub(super) params: Vec<(Option<Ident>, bool)>,
    pub(super) row_count: Option<Ident>,
    pub(super) output_count: Option<Ident>,
    pub(super) context: Option<Ident>,
    pub(super) item: bool,
    pub(super) ctx: bool,
    pub(super) args: bool,
    /// Names for sizes, fixed before the body so that nothing else takes them.
    pub(super) sizes: Option<[Ident; 3]>,
}

impl Env {
    pub(super) fn new(params: &[Param]) -> Self {
        let is_weights = |param: &Param| match param {
            Param::Region { space, .. } => *space == Space::Weights,
            _ => false,
        };
        let ids = (0..).map(ParamId).zip(params);
        Self {
            weights: ids
                .filter(|(_, p)| is_weights(p))
                .map(|(id, _)| id)
                .collect(),
            params: vec![(None, false); params.len()],
            ..Self::default()
        }
    }

    /// Counts the reads of bytes of weights.
    pub(super) fn count(&mut self, values: &[ValueDef], place: impl Fn(ValueId) -> Place) {
        for value in values {
            if let Op::Load { region, index, .. } = value.op
                && value.ty == Ty::I8x64
                && self.weights.contains(&region)
            {
                *self.reads.entry((region, place(index))).or_default() += 1;
            }
        }
    }

    pub(super) fn param(&mut self, p: ParamId) -> Ident {
        let (name, used) = &mut self.params[p.index()];
        *used = true;
        name.clone()
            .unwrap_or_else(|| format_ident!("{}", p.to_string()))
    }

    pub(super) fn size(&mut self, which: usize) -> Ident {
        let names = self.sizes.clone();
        let name = names.map_or_else(
            || format_ident!("size{which}"),
            |names| names[which].clone(),
        );
        let slot = [
            &mut self.row_count,
            &mut self.output_count,
            &mut self.context,
        ];
        if let Some(slot) = slot.into_iter().nth(which) {
            *slot = Some(name.clone());
        }
        name
    }

    /// `region.at::<bytes>(index)`, of a slot where there are slots; `after` where a literal is to be added, `nth` where there is
    /// a factor. Methods that give what may be written end in a suffix.
    pub(super) fn place(
        &mut self,
        region: ParamId,
        slot: Option<Code>,
        (base, place): (&Code, Place),
        ty: Ty,
        suffix: &str,
    ) -> TokenStream {
        let name = self.param(region);
        let [times, more] = [place.times, place.more].map(Literal::u32_unsuffixed);
        let (method, literals) = match (place.times, place.more) {
            (1, 0) => ("at", quote!()),
            (1, _) => ("after", quote!(, #more)),
            _ => ("nth", quote!(, #times, #more)),
        };
        let method = format_ident!("{method}{suffix}");
        let bytes = Literal::u32_unsuffixed(ty.bytes());
        let base = base.alone();
        let slot = slot
            .filter(|_| !self.of_a_slot.contains(&region))
            .map(|slot| {
                let slot = slot.alone();
                quote!(.slot(#slot))
            });
        quote!(#name #slot.#method::<#bytes>(#base #literals))
    }
}

/// Where loads and stores of a type live: `k` for scalars, the level for vectors.
pub(super) fn memory_function(verb: &str, ty: Ty) -> TokenStream {
    let name = format_ident!("{verb}_{}", ty.name());
    if ty.is_vector() {
        quote!(s::#name)
    } else {
        quote!(k::#name)
    }
}

impl Leaves for Env {
    fn hint(&self, op: &Op) -> Option<String> {
        match op {
            // One of what the region holds.
            Op::Load { region, .. } => {
                let name = self.params[region.index()].0.as_ref()?.to_string();
                Some(match name.strip_suffix('s') {
                    Some(one) => one.to_owned(),
                    None => format!("{name}_value"),
                })
            }
            _ => None,
        }
    }

    fn leaf(
        &mut self,
        op: &Op,
        ty: Ty,
        place: &dyn Fn(ValueId) -> Place,
        operand: &mut dyn FnMut(ValueId) -> Code,
    ) -> Option<Code> {
        let name = match op {
            Op::Scalar(p) => self.param(*p),
            Op::RowCount => self.size(0),
            Op::OutputCount => self.size(1),
            Op::Context => self.size(2),
            Op::Load {
                region,
                slot,
                index,
                ..
            } => {
                let slot = slot.map(&mut *operand);
                let (base, at) = (operand(*index), place(*index));
                let place = self.place(*region, slot, (&base, at), ty, "");
                // Codes come one after the other from memory.
                let verb = match self.reads.get(&(*region, at)) {
                    Some(1) if ty == Ty::I8x64 => "stream_once",
                    Some(_) if ty == Ty::I8x64 => "stream",
                    _ => "load",
                };
                let load = memory_function(verb, ty);
                return Some(Code::atom(quote!(#load(#place))));
            }
            _ => return None,
        };
        Some(Code::atom(quote!(#name)))
    }
}
