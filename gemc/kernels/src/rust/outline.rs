//! Outlines as functions, one for all kernels of a program that hold the same: what they are called with, and their items.
//!
//! Counts with names (rows that share a pass, parts of a head) are parameters of such a function, so that kernels which
//! differ in them share it. An outline is the same as another if it prints the same while nothing is known of its values;
//! what is known where it stands is joined, and decides where integers are printed as operators.

use std::collections::{BTreeMap, HashMap};

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::kernel::SAFETY;
use super::printer::Printer;
use super::text;
use super::types::{element, rust_type};
use super::writer::{Writer, generic_name};
use crate::ir::outline::Reach;
use crate::ir::places::Places;
use crate::ir::uses::Uses;
use crate::ir::verify::Range;
use crate::ir::{Block, Count, Kernel, Param, ParamId, Space, Stmt, ValueId, VarId, walk};

/// How an outline is called where it stands.
#[derive(Debug)]
pub(super) struct OutlineCall {
    pub(super) name: Ident,
    /// Regions, each with the input that is its slot, where it has one in every slot.
    pub(super) regions: Vec<(ParamId, Option<ValueId>)>,
    /// The inputs that it needs.
    pub(super) inputs: Vec<ValueId>,
    /// Locals that it reads.
    pub(super) given: Vec<VarId>,
    /// Arrays that it reads and changes.
    pub(super) carried: Vec<VarId>,
    /// Its counts with names.
    pub(super) counts: Vec<u32>,
}

/// The outlines of a program that are functions.
#[derive(Debug, Default)]
pub(super) struct Outlines {
    /// By the address of their statement.
    calls: HashMap<*const Stmt, OutlineCall>,
    /// The items, in order of first use.
    pub(super) items: TokenStream,
    /// Names of these functions, in the same order.
    pub(super) names: Vec<Ident>,
}

impl Outlines {
    pub(super) fn call(&self, stmt: &Stmt) -> Option<&OutlineCall> {
        self.calls.get(&std::ptr::from_ref(stmt))
    }

    /// The functions of some kernels, given with what is known of their values.
    pub(super) fn of<'a>(kernels: impl Iterator<Item = (&'a Kernel, &'a [Option<Range>])>) -> Self {
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut by_text: HashMap<String, usize> = HashMap::new();
        for (kernel, ranges) in kernels {
            walk(&kernel.body, &mut |stmt| {
                let Some(outline) = Outline::of(kernel, stmt) else {
                    return;
                };
                let name = format_ident!("{}", outline.name);
                let any = outline
                    .counts
                    .keys()
                    .map(|name| (name.clone(), 0))
                    .collect();
                let text = outline.item(&name, &[], &any).to_string();
                let group = *by_text.entry(text).or_insert(groups.len());
                if group == groups.len() {
                    groups.push(Group::default());
                }
                groups[group].add(outline, ranges);
            });
        }
        let mut outlines = Self::default();
        let mut names: HashMap<String, u32> = HashMap::new();
        for group in groups {
            outlines.add(group, &mut names);
        }
        outlines
    }

    fn add(&mut self, group: Group<'_>, names: &mut HashMap<String, u32>) {
        let Some(first) = group.members.first() else {
            return;
        };
        let taken = names.entry(first.name.to_owned()).or_insert(0);
        *taken += 1;
        let name = match *taken {
            1 => format_ident!("{}", first.name),
            n => format_ident!("{}_{n}", first.name),
        };
        let mut ranges = vec![None; first.kernel.values.len()];
        for (v, range) in first.values().into_iter().zip(&group.ranges) {
            ranges[v.index()] = *range;
        }
        let mut most: BTreeMap<String, u32> = BTreeMap::new();
        for (name, n) in group.members.iter().flat_map(|member| &member.counts) {
            let known = most.entry(name.clone()).or_insert(*n);
            *known = (*known).max(*n);
        }
        self.items.extend(first.item(&name, &ranges, &most));
        self.names.push(name.clone());
        for member in group.members {
            let called = member.called(&name);
            self.calls.insert(std::ptr::from_ref(member.stmt), called);
        }
    }
}

/// Outlines that are the same, and what holds of their values wherever they stand.
#[derive(Default)]
struct Group<'a> {
    members: Vec<Outline<'a>>,
    ranges: Vec<Option<Range>>,
}

impl<'a> Group<'a> {
    fn add(&mut self, outline: Outline<'a>, ranges: &[Option<Range>]) {
        let own = outline
            .values()
            .into_iter()
            .map(|v| *ranges.get(v.index())?);
        if self.members.is_empty() {
            self.ranges = own.collect();
        } else {
            for (joined, own) in self.ranges.iter_mut().zip(own) {
                *joined = joined.zip(own).map(|(a, b)| a.join(b));
            }
        }
        self.members.push(outline);
    }
}

/// An outline that can be a function.
pub(super) struct Outline<'a> {
    pub(super) kernel: &'a Kernel,
    stmt: &'a Stmt,
    pub(super) name: &'a str,
    pub(super) inputs: &'a [(ValueId, ValueId)],
    body: &'a Block,
    pub(super) regions: Vec<(ParamId, Option<ValueId>)>,
    pub(super) given: Vec<VarId>,
    pub(super) carried: Vec<VarId>,
    pub(super) counts: BTreeMap<String, u32>,
}

impl<'a> Outline<'a> {
    /// The outline that a statement is, if it is one, and all it does a function can do.
    pub(super) fn of(kernel: &'a Kernel, stmt: &'a Stmt) -> Option<Self> {
        let Stmt::Outline { name, inputs, body } = stmt else {
            return None;
        };
        let reach = Reach::of(kernel, body)?;
        let local = |m: VarId| &kernel.vars[m.index()];
        let of_kind = |written: bool| {
            let locals = reach.locals.iter().filter(move |l| l.written == written);
            locals.map(|l| l.var).collect::<Vec<VarId>>()
        };
        let [given, carried] = [false, true].map(of_kind);
        if carried.iter().any(|m| local(*m).count.is_none()) {
            return None;
        }
        let mut counts = BTreeMap::new();
        let mut add = |count: &Count| {
            if let Some(name) = &count.name {
                counts.insert(name.clone(), count.n);
            }
        };
        let locals = given.iter().chain(&carried).chain(&reach.declared);
        locals
            .filter_map(|m| local(*m).count.as_ref())
            .for_each(&mut add);
        walk(body, &mut |stmt| {
            if let Stmt::Repeat { count, .. } = stmt {
                add(count);
            }
        });
        Some(Self {
            kernel,
            stmt,
            name,
            inputs,
            body,
            regions: reach.regions.iter().map(|r| (r.region, r.slot)).collect(),
            given,
            carried,
            counts,
        })
    }

    /// Its values in order of appearance: of two outlines that print the same, each stands for the other's.
    fn values(&self) -> Vec<ValueId> {
        let mut values: Vec<ValueId> = self.inputs.iter().map(|(inner, _)| *inner).collect();
        walk(self.body, &mut |stmt| match stmt {
            Stmt::Let(v) => values.push(*v),
            Stmt::For { index, .. } | Stmt::Repeat { index, .. } => values.push(*index),
            _ => {}
        });
        values
    }

    /// What of its values is used, where so much is known of them.
    fn uses(&self, ranges: &[Option<Range>]) -> Uses {
        let Kernel { values, vars, .. } = self.kernel;
        let places = Places::of(values, ranges);
        Uses::of_outline(values, vars.len(), self.body, (&self.carried, places))
    }

    /// The inputs that it needs; those that only name a slot are not among them.
    fn needed(&self, uses: &Uses) -> Vec<ValueId> {
        let slots: Vec<ValueId> = self.regions.iter().filter_map(|(_, slot)| *slot).collect();
        let inputs = self.inputs.iter().map(|(inner, _)| *inner);
        inputs
            .filter(|v| uses.needed(*v) && !slots.contains(v))
            .collect()
    }

    fn called(&self, name: &Ident) -> OutlineCall {
        OutlineCall {
            name: name.clone(),
            regions: self.regions.clone(),
            // Indices need the same inputs however they are written.
            inputs: self.needed(&self.uses(&[])),
            given: self.given.clone(),
            carried: self.carried.clone(),
            counts: self.counts.values().copied().collect(),
        }
    }

    /// The function, with its counts at most so large.
    fn item(
        &self,
        name: &Ident,
        ranges: &[Option<Range>],
        most: &BTreeMap<String, u32>,
    ) -> TokenStream {
        let uses = self.uses(ranges);
        let inputs = self.needed(&uses);
        let kernel = self.kernel;
        let printer = Printer::new(&kernel.values, &[], ranges, uses, kernel.vars.len());
        let nested = Outlines::default();
        let mut writer = Writer::new(kernel, printer, &nested)
            .with_generic(most.iter().map(|(name, n)| (name.clone(), *n)).collect());
        let mut params = Vec::new();
        for (region, slot) in &self.regions {
            if let Some(slot) = slot {
                // Not printed: the region is that of the slot.
                writer.printer.fix(*slot, 0);
            }
            let bound = writer.bind_param(kernel, *region);
            if let Param::Region { elem, space, .. } = &kernel.params[region.index()] {
                if *space == Space::Kv {
                    writer.env.of_a_slot.insert(*region);
                }
                let elem = element(*elem);
                params.push(quote!(#bound: k::Region<#elem>));
            }
        }
        for input in &inputs {
            let input = writer.printer.bind(*input);
            params.push(quote!(#input: i32));
        }
        let mut results = Vec::new();
        for (m, mutable) in self
            .given
            .iter()
            .map(|m| (m, false))
            .chain(self.carried.iter().map(|m| (m, true)))
        {
            let local = &kernel.vars[m.index()];
            let bound = writer.printer.bind_var(*m, local.name.as_deref());
            let one = rust_type(local.ty);
            let ty = match &local.count {
                Some(count) => {
                    let count = writer.count(count);
                    quote!([#one; #count])
                }
                None => one,
            };
            let mutability = mutable.then(|| quote!(mut));
            params.push(quote!(#mutability #bound: #ty));
            if mutable {
                results.push((bound, ty));
            }
        }
        let body = writer.block(self.body);
        let (names, types): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        let (result, ty) = match names.len() {
            0 => (quote!(), quote!()),
            1 => (quote!(#(#names)*), quote!(-> #(#types)*)),
            _ => (quote!((#(#names),*)), quote!(-> (#(#types),*))),
        };
        let generic = self.counts.keys().map(|name| generic_name(name));
        let generic = (!self.counts.is_empty()).then(|| quote!(<#(const #generic: usize),*>));
        let safety = text::comment(SAFETY);
        let body = (!body.is_empty()).then(|| {
            quote! {
                #safety
                unsafe {
                    #body
                }
            }
        });
        quote! {
            /// A block that kernels of every shape share. It has the instructions of the kernel that it becomes part of.
            #[inline(always)]
            unsafe fn #name #generic(#(#params),*) #ty {
                #body
                #result
            }
        }
    }
}
