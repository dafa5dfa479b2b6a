//! The statements of a body, whether a kernel's or that of an outline by itself.

use std::collections::{BTreeSet, HashMap, HashSet};

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::code::Code;
use super::env::{Env, memory_function};
use super::outline::Outlines;
use super::printer::Printer;
use super::text;
use super::types::{element, rust_type};
use crate::ir::homes::Homes;
use crate::ir::liveness::Fate;
use crate::ir::{Block, Count, Kernel, Local, Op, Param, ParamId, Stmt, ValueId, VarId, walk};

/// The longest text of an expression in the head of a macro.
const LONGEST_HEAD: usize = 30;

/// Prints statements, and finds out what must be bound above them.
pub(super) struct Writer<'a> {
    pub(super) printer: Printer<'a>,
    pub(super) env: Env,
    kernel: &'a Kernel,
    homes: Homes<'a>,
    /// What outlines are called that are functions; the others are printed in their place.
    outlines: &'a Outlines,
    /// In an outline by itself: the most that a count with a name is anywhere.
    generic: HashMap<String, u32>,
    /// Values that name elements of arrays.
    subscripts: HashSet<ValueId>,
    /// Assignments so far.
    assignments: usize,
    /// Locals whose declaration waits for the first assignment that is read.
    undeclared: BTreeSet<VarId>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(kernel: &'a Kernel, printer: Printer<'a>, outlines: &'a Outlines) -> Self {
        let mut subscripts = HashSet::new();
        for value in &kernel.values {
            if let Op::Element(_, at) = value.op {
                subscripts.insert(at);
            }
        }
        walk(&kernel.body, &mut |stmt| {
            if let Stmt::SetElement(_, at, _) = stmt {
                subscripts.insert(*at);
            }
        });
        let mut env = Env::new(&kernel.params);
        env.count(&kernel.values, |index| printer.uses.place(index));
        Self {
            printer,
            env,
            kernel,
            homes: Homes::of(kernel),
            outlines,
            generic: HashMap::new(),
            subscripts,
            assignments: 0,
            undeclared: BTreeSet::new(),
        }
    }

    /// Counts with these names are parameters of what is printed, and at most so large.
    pub(super) fn with_generic(mut self, most: HashMap<String, u32>) -> Self {
        self.generic = most;
        self
    }

    /// Names a parameter.
    pub(super) fn bind_param(&mut self, kernel: &Kernel, param: ParamId) -> Ident {
        let hint = kernel.params[param.index()].name();
        let name = self.printer.names.fresh(Some(hint), "param");
        self.env.params[param.index()] = (Some(name.clone()), false);
        name
    }

    /// Names the sizes of a step, so that nothing else takes their names.
    pub(super) fn bind_sizes(&mut self) {
        let names = &mut self.printer.names;
        let sizes = ["row_count", "output_count", "context"];
        self.env.sizes = Some(sizes.map(|name| names.fresh(Some(name), name)));
    }

    pub(super) fn value(&mut self, v: ValueId) -> Code {
        self.env.item |= v == ValueId(0);
        self.printer.value(&mut self.env, v)
    }

    pub(super) fn block(&mut self, block: &Block) -> TokenStream {
        block.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    /// A block whose names end with it: its index, named by `index`, and its statements.
    fn scope<T>(&mut self, index: impl FnOnce(&mut Self) -> T, body: &Block) -> (T, TokenStream) {
        self.printer.names.open();
        let index = index(self);
        let body = self.block(body);
        self.printer.names.close();
        (index, body)
    }

    fn stmt(&mut self, stmt: &Stmt) -> TokenStream {
        match stmt {
            Stmt::Let(v) => {
                let operands = self
                    .printer
                    .uses
                    .operands(&self.kernel.values[v.index()].op);
                self.env.item |= operands.contains(&ValueId(0)) && self.printer.uses.needed(*v);
                self.printer.define(&mut self.env, *v)
            }
            Stmt::Var(m, v) => self.declare(*m, *v),
            Stmt::Set(m, v) => self.assign(*m, *v),
            Stmt::SetElement(m, at, v) => self.assign_element(*m, *at, *v),
            Stmt::Store {
                region,
                slot,
                index,
                value,
            } => self.store(*region, *slot, *index, *value),
            Stmt::For {
                index,
                start,
                end,
                body,
            } => self.for_(*index, *start, *end, body),
            Stmt::Repeat { index, count, body } => self.repeat(*index, count, body),
            Stmt::Strips {
                first,
                size,
                end,
                count,
                body,
            } => self.strips([*first, *size, *end], count, body),
            Stmt::If {
                cond,
                then,
                otherwise,
            } => self.if_(*cond, then, otherwise),
            Stmt::Outline { inputs, body, .. } => match self.outlines.call(stmt) {
                Some(_) => self.call(stmt, inputs, body),
                None => {
                    let inputs: TokenStream = inputs
                        .iter()
                        .map(|(inner, outer)| self.input(*inner, *outer))
                        .collect();
                    let body = self.block(body);
                    quote!(#inputs #body)
                }
            },
            Stmt::Call {
                table,
                entry,
                begin,
                end,
            } => {
                let [entry, begin, end] =
                    [*entry, *begin, *end].map(|v| Code::cast(&self.value(v), quote!(u32)).alone());
                let table = self.env.param(*table);
                self.env.ctx = true;
                quote!(k::call_table(ctx, #table, #entry, #begin, #end);)
            }
            Stmt::Comment(line) => text::comment(line),
        }
    }

    /// A call of the function that an outline is.
    fn call(&mut self, stmt: &Stmt, inputs: &[(ValueId, ValueId)], body: &Block) -> TokenStream {
        let Some(called) = self.outlines.call(stmt) else {
            return TokenStream::new();
        };
        // Its assignments are numbered with those of the kernel.
        walk(body, &mut |stmt| {
            self.assignments += usize::from(matches!(stmt, Stmt::Var(..) | Stmt::Set(..)));
        });
        let outer = |inner: ValueId| {
            let given = inputs.iter().find(|(v, _)| *v == inner);
            given.map(|(_, outer)| *outer)
        };
        let mut arguments = Vec::new();
        for (region, slot) in &called.regions {
            let name = self.env.param(*region);
            let slot = slot.and_then(outer).map(|slot| {
                let slot = self.value(slot).alone();
                quote!(.slot(#slot))
            });
            arguments.push(quote!(#name #slot));
        }
        for inner in &called.inputs {
            let value = outer(*inner).map(|outer| self.value(outer).alone());
            arguments.push(quote!(#value));
        }
        for local in called.given.iter().chain(&called.carried) {
            let name = self.printer.var(*local);
            arguments.push(quote!(#name));
        }
        let before = self
            .printer
            .settle(&called.carried.iter().copied().collect());
        let name = &called.name;
        let counts = called.counts.iter().map(|n| Literal::u32_unsuffixed(*n));
        // What arrays are given says of counts need not be said.
        let arrays = called.given.iter().chain(&called.carried);
        let told = arrays
            .filter_map(|m| self.kernel.vars[m.index()].count.as_ref()?.name.as_ref())
            .count();
        let counts = (told == 0 && !called.counts.is_empty()).then(|| quote!(::<#(#counts),*>));
        let carried = called.carried.iter().map(|m| self.printer.var(*m));
        let results = match called.carried.len() {
            0 => quote!(),
            1 => quote!(#(#carried)* =),
            _ => quote!((#(#carried),*) =),
        };
        quote!(#before #results #name #counts(#(#arguments),*);)
    }

    /// An input of an outline, which stands in its place here.
    fn input(&mut self, inner: ValueId, outer: ValueId) -> TokenStream {
        if !self.printer.uses.needed(inner) {
            return TokenStream::new();
        }
        let value = self.value(outer).alone();
        let name = self.printer.bind(inner);
        quote!(let #name = #value;)
    }

    /// The fate of the next assignment in the text.
    fn next_fate(&mut self) -> Fate {
        self.assignments += 1;
        self.printer.uses.fate(self.assignments - 1)
    }

    fn declare(&mut self, m: VarId, v: ValueId) -> TokenStream {
        let fate = self.next_fate();
        if fate == Fate::Dropped {
            self.undeclared.insert(m);
            return TokenStream::new();
        }
        let value = self.value(v);
        let declaration = self.let_mut(m, &value);
        let allow = (fate == Fate::Kept)
            .then(|| quote!(#[allow(unused_assignments, reason = "every branch assigns it")]));
        quote!(#allow #declaration)
    }

    fn let_mut(&mut self, m: VarId, value: &Code) -> TokenStream {
        let Local { ty, count, name } = &self.kernel.vars[m.index()];
        let name = self.printer.bind_var(m, name.as_deref());
        let mutable = (self.printer.uses.assignments(m) > 1).then(|| quote!(mut));
        let initial = value.alone();
        let Some(count) = count else {
            // Of a number's type there may be nothing else to tell.
            let ty = value.is_literal().then(|| {
                let ty = rust_type(*ty);
                quote!(: #ty)
            });
            return quote!(let #mutable #name #ty = #initial;);
        };
        let count = self.count(count);
        let ty = value.is_literal().then(|| {
            let ty = rust_type(*ty);
            quote!(: [#ty; #count])
        });
        quote!(let #mutable #name #ty = [#initial; #count];)
    }

    /// A count as a `usize`.
    pub(super) fn count(&self, count: &Count) -> TokenStream {
        match &count.name {
            Some(name) if self.generic.contains_key(name) => {
                let name = generic_name(name);
                quote!(#name)
            }
            _ => {
                let n = Literal::u32_unsuffixed(count.n);
                quote!(#n)
            }
        }
    }

    fn assign(&mut self, m: VarId, v: ValueId) -> TokenStream {
        if self.next_fate() == Fate::Dropped {
            return TokenStream::new();
        }
        let value = self.value(v);
        let before = self.printer.settle(&BTreeSet::from([m]));
        if self.undeclared.remove(&m) {
            let declaration = self.let_mut(m, &value);
            return quote!(#before #declaration);
        }
        let name = self.printer.var(m);
        let value = value.alone();
        quote!(#before #name = #value;)
    }

    fn assign_element(&mut self, m: VarId, at: ValueId, v: ValueId) -> TokenStream {
        if !self.printer.uses.read(m) {
            return TokenStream::new();
        }
        let value = self.value(v).alone();
        let before = self.printer.settle(&BTreeSet::from([m]));
        let (name, at) = (self.printer.var(m), self.printer.subscript(at));
        quote!(#before #name[#at] = #value;)
    }

    fn store(
        &mut self,
        region: ParamId,
        slot: Option<ValueId>,
        index: ValueId,
        value: ValueId,
    ) -> TokenStream {
        let ty = self.kernel.values[value.index()].ty;
        let slot = slot.map(|slot| self.value(slot));
        let place = self.printer.uses.place(index);
        let base = self.value(place.base);
        let value = self.value(value).alone();
        let place = self.env.place(region, slot, (&base, place), ty, "_mut");
        let store = memory_function("store", ty);
        quote!(#store(#place, #value);)
    }

    fn for_(&mut self, index: ValueId, start: ValueId, end: ValueId, body: &Block) -> TokenStream {
        let start = self.value(start).alone();
        let end = self.value(end).alone();
        let before = self.printer.settle(&assigned(body));
        let (name, body) = self.scope(|this| this.index(index), body);
        quote!(#before for #name in #start..#end { #body })
    }

    fn index(&mut self, index: ValueId) -> TokenStream {
        match self.printer.uses.needed(index) {
            true => {
                let name = self.printer.bind(index);
                quote!(#name)
            }
            false => quote!(_),
        }
    }

    /// A count with a name is few, and what it counts is kept in registers: so literal indices, by a macro. Any other is
    /// a loop.
    fn repeat(&mut self, index: ValueId, count: &Count, body: &Block) -> TokenStream {
        let most = match &count.name {
            Some(name) => self.generic.get(name).copied(),
            None => None,
        };
        if most.is_none() && count.n == 1 {
            self.printer.fix(index, 0);
            return self.block(body);
        }
        let before = self.printer.settle(&assigned(body));
        if self.subscripts.contains(&index) {
            self.printer.count_by(index);
        }
        let named = count.name.is_some();
        let n = self.count(count);
        let bind = |this: &mut Self| match named {
            // The macro binds it anyway.
            true => {
                this.printer.count_by(index);
                let name = this.printer.bind(index);
                quote!(#name)
            }
            false => this.index(index),
        };
        let (name, body) = self.scope(bind, body);
        if body.is_empty() {
            return before;
        }
        if !named {
            return quote!(#before for #name in 0..#n { #body });
        }
        let most = Literal::u32_unsuffixed(most.unwrap_or(count.n));
        let written = format_ident!("{}", text::REPEAT);
        quote!(#before for #name in #written(#n, #most) { #body })
    }

    /// A macro, which defines the count for whole strips, and as 1 for what is left.
    fn strips(
        &mut self,
        [first, size, end]: [ValueId; 3],
        count: &Count,
        body: &Block,
    ) -> TokenStream {
        let mut end = self.value(end).alone();
        let mut before = self.printer.settle(&assigned(body));
        // The head must stay on one line: it is written as a macro's.
        if end.to_string().len() > LONGEST_HEAD {
            let limit = self.printer.names.fresh(Some("limit"), "limit");
            before.extend(quote!(let #limit = #end;));
            end = quote!(#limit);
        }
        let name = count.name.clone().unwrap_or_default();
        self.generic.insert(name.clone(), count.n);
        let constant = generic_name(&name);
        self.printer.call(size, constant.clone());
        let (first, body) = self.scope(|this| this.printer.bind(first), body);
        self.generic.remove(&name);
        if body.is_empty() {
            return before;
        }
        let (written, n) = (
            format_ident!("{}", text::STRIPS),
            Literal::u32_unsuffixed(count.n),
        );
        quote!(#before for #first in #written(#end, #constant, #n) { #body })
    }

    fn if_(&mut self, cond: ValueId, then: &Block, otherwise: &Block) -> TokenStream {
        let cond = self.value(cond).alone();
        let mut changed = assigned(then);
        changed.append(&mut assigned(otherwise));
        let before = self.printer.settle(&changed);
        let then = self.branch(then);
        let otherwise = (!otherwise.is_empty()).then(|| {
            let otherwise = self.branch(otherwise);
            quote!(else { #otherwise })
        });
        quote!(#before if #cond { #then } #otherwise)
    }

    fn branch(&mut self, branch: &Block) -> TokenStream {
        let ((), body) = self.scope(|_| (), branch);
        let locals = self.locals(branch);
        quote!(#locals #body)
    }

    /// Declares the local arrays that begin as zeros where a block begins, of those that the body refers to.
    pub(super) fn locals(&mut self, block: &Block) -> TokenStream {
        let regions = self.homes.begin_at(block).into_iter();
        regions.map(|region| self.local(region)).collect()
    }

    fn local(&mut self, region: ParamId) -> TokenStream {
        let (Param::Region { elem, len, .. }, (Some(name), true)) = (
            &self.kernel.params[region.index()],
            &self.env.params[region.index()],
        ) else {
            return TokenStream::new();
        };
        let elem = element(*elem);
        let len = Literal::i64_unsuffixed(len.fixed);
        let memory = format!("{name}_memory");
        let memory = self.printer.names.fresh(Some(&memory), "memory");
        quote! {
            let mut #memory = k::Local::<#elem, #len>::zeroed();
            let #name = #memory.region();
        }
    }
}

/// A count's name as a parameter.
pub(super) fn generic_name(name: &str) -> Ident {
    format_ident!("{}", name.to_uppercase())
}

/// Mutable locals that a block assigns, inner blocks included.
fn assigned(block: &Block) -> BTreeSet<VarId> {
    let mut vars = BTreeSet::new();
    walk(block, &mut |stmt| {
        if let Stmt::Set(m, _) | Stmt::SetElement(m, ..) = stmt {
            vars.insert(*m);
        }
    });
    vars
}
