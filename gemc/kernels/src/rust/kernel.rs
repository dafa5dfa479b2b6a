//! A kernel to an `extern "C"` function: regions and sizes bound at the top, then the loop over items.

use std::collections::BTreeSet;

use gem_runtime::simd::Level;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::code::Code;
use super::env::{Env, memory_function};
use super::printer::Printer;
use super::text;
use crate::ir::liveness::Fate;
use crate::ir::outline::Outlined;
use crate::ir::uses::Uses;
use crate::ir::verify::KernelInfo;
use crate::ir::{
    Block, Elem, Extent, Kernel, KernelId, Param, ParamId, Program, Space, Stmt, Ty, ValueId, VarId,
};

/// Why the kernel's one unsafe block is sound.
const SAFETY: &str = "SAFETY: the runtime keeps the contract of `gem_runtime::abi::Program::run`; under it gemc's \
    verifier proved, for these arguments and every item, that each access below lies in its region and each region \
    in its buffer, and items of a phase write disjoint memory.";

/// The kernel's item.
pub(super) fn kernel(
    program: &Program,
    id: KernelId,
    info: &KernelInfo,
    level: Level,
) -> TokenStream {
    let kernel = program.kernel(id);
    let uses = Uses::of_block(&kernel.values, kernel.vars.len(), &kernel.body);
    let printer = Printer::new(
        &kernel.values,
        &program.functions,
        &info.ranges,
        uses,
        kernel.vars.len(),
    );
    let mut writer = Writer::new(kernel, printer);
    let item = writer.printer.bind(ValueId(0));
    let body = writer.block(&kernel.body);
    let locals = writer.locals();
    let bindings = writer.bindings();
    let env = writer.env;
    let item = if env.item { quote!(#item) } else { quote!(_) };
    let ctx = used(env.ctx, "ctx");
    let args = used(env.args, "args");
    let name = format_ident!("{}", kernel.name);
    let doc = text::doc(&kernel.doc);
    let features = target_feature(level);
    let safety = text::comment(SAFETY);
    let items = Literal::u32_unsuffixed(kernel.items);
    quote! {
        #doc
        ///
        /// # Safety
        /// As `gem_runtime::abi::Program::run`.
        #features
        pub unsafe extern "C" fn #name(#ctx: *const Ctx, #args: *const u32, begin: u32, end: u32) {
            debug_assert!(end <= #items);
            #safety
            unsafe {
                #bindings
                for #item in begin as i32..end as i32 {
                    #locals
                    #body
                }
            }
        }
    }
}

/// Why the one unsafe block of an outline's copy is sound.
const COPY_SAFETY: &str = "SAFETY: the caller stands where the outline stood, in a kernel that gemc's verifier proved, \
    and hands over its regions, inputs and locals; the CPU has the level's instructions.";

/// The item of an outline's copy: `fn(regions, inputs, locals)`, see `crate::micro::Run`.
pub(super) fn copy(outlined: &Outlined, level: Level) -> TokenStream {
    let kernel = &outlined.kernel;
    let uses = Uses::of_block(&kernel.values, kernel.vars.len(), &kernel.body);
    let unknown = vec![None; kernel.values.len()];
    let printer = Printer::new(&kernel.values, &[], &unknown, uses, kernel.vars.len());
    let mut writer = Writer::new(kernel, printer);
    let body = writer.block(&kernel.body);
    let bindings = writer.copy_bindings(outlined.regions.len());
    let locals = used(!outlined.locals.is_empty(), "locals");
    let name = format_ident!("{}", kernel.name);
    let features = target_feature(level);
    let safety = text::comment(COPY_SAFETY);
    quote! {
        #features
        unsafe extern "C" fn #name(regions: *const *mut u8, inputs: *const i32, #locals: *mut f32) {
            #safety
            unsafe {
                #bindings
                #body
            }
        }
    }
}

/// The attribute that enables a level's instructions.
pub(super) fn target_feature(level: Level) -> TokenStream {
    match level.features() {
        "" => TokenStream::new(),
        features => quote!(#[target_feature(enable = #features)]),
    }
}

fn used(used: bool, name: &str) -> Ident {
    if used {
        format_ident!("{name}")
    } else {
        format_ident!("_{name}")
    }
}

struct Writer<'a> {
    printer: Printer<'a>,
    env: Env,
    kernel: &'a Kernel,
    /// Assignments so far.
    assignments: usize,
    /// Locals whose declaration waits for the first assignment that is read.
    undeclared: BTreeSet<VarId>,
}

impl<'a> Writer<'a> {
    fn new(kernel: &'a Kernel, printer: Printer<'a>) -> Self {
        let mut writer = Self {
            printer,
            env: Env::default(),
            kernel,
            assignments: 0,
            undeclared: BTreeSet::new(),
        };
        writer.bind_params();
        writer
    }

    /// Parameters of an outline's copy: so many regions, then inputs, then locals.
    fn copy_bindings(&mut self, regions: usize) -> TokenStream {
        let mut tokens = TokenStream::new();
        let params = self.kernel.params.iter().zip(&self.env.params).enumerate();
        for (i, (param, bound)) in params {
            let (Some(name), true) = bound else { continue };
            tokens.extend(match param {
                Param::Region { elem, .. } if i < regions => {
                    let (elem, at) = (element(*elem), Literal::usize_unsuffixed(i));
                    quote!(let #name = k::Region::<#elem>::endless(*regions.add(#at));)
                }
                Param::Region { elem, .. } => {
                    let elem = element(*elem);
                    quote!(let #name = k::Region::<#elem>::endless(locals.cast());)
                }
                _ => {
                    let at = Literal::usize_unsuffixed(i - regions);
                    quote!(let #name = *inputs.add(#at);)
                }
            });
        }
        tokens
    }

    fn bind_params(&mut self) {
        for (i, param) in self.kernel.params.iter().enumerate() {
            let name = self
                .printer
                .names
                .fresh(Some(param.name()), ParamId::from_index(i));
            self.env.params.push((Some(name), false));
        }
        let names = &mut self.printer.names;
        self.env.sizes = Some(
            [("row_count", 0), ("output_count", 1), ("context", 2)]
                .map(|(n, i)| names.fresh(Some(n), i)),
        );
    }

    fn value(&mut self, v: ValueId) -> Code {
        self.env.item |= v == ValueId(0);
        self.printer.value(&mut self.env, v)
    }

    fn block(&mut self, block: &Block) -> TokenStream {
        block.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    fn stmt(&mut self, stmt: &Stmt) -> TokenStream {
        match stmt {
            Stmt::Let(v) => {
                let mut reads_item = false;
                self.kernel.values[v.index()]
                    .op
                    .for_each_operand(|o| reads_item |= o == ValueId(0));
                self.env.item |= reads_item && self.printer.uses.needed(*v);
                self.printer.define(&mut self.env, *v)
            }
            Stmt::Var(m, v) => self.declare(*m, *v),
            Stmt::Set(m, v) => self.assign(*m, *v),
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
            Stmt::If {
                cond,
                then,
                otherwise,
            } => self.if_(*cond, then, otherwise),
            Stmt::Outline { inputs, body, .. } => {
                let inputs: TokenStream = inputs
                    .iter()
                    .map(|(inner, outer)| self.input(*inner, *outer))
                    .collect();
                let body = self.block(body);
                quote!(#inputs #body)
            }
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
        let hint = self.kernel.vars[m.index()].1.as_deref();
        let name = self.printer.bind_var(m, hint);
        let mutable = (self.printer.uses.assignments(m) > 1).then(|| quote!(mut));
        // Of a number's type there may be nothing else to tell.
        let ty = value
            .is_literal()
            .then(|| match self.kernel.vars[m.index()].0 {
                Ty::F32 => quote!(: f32),
                _ => quote!(: i32),
            });
        let value = value.alone();
        quote!(let #mutable #name #ty = #value;)
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

    fn store(
        &mut self,
        region: ParamId,
        slot: Option<ValueId>,
        index: ValueId,
        value: ValueId,
    ) -> TokenStream {
        let ty = self.kernel.values[value.index()].ty;
        let slot = slot.map(|slot| self.value(slot));
        let index = self.value(index);
        let value = self.value(value).alone();
        let place = self.env.place(region, slot, &index, ty, "at_mut");
        let store = memory_function("store", ty);
        quote!(#store(#place, #value);)
    }

    fn for_(&mut self, index: ValueId, start: ValueId, end: ValueId, body: &Block) -> TokenStream {
        let start = self.value(start).alone();
        let end = self.value(end).alone();
        let before = self.printer.settle(&assigned(body));
        let name = match self.printer.uses.needed(index) {
            true => {
                let name = self.printer.bind(index);
                quote!(#name)
            }
            false => quote!(_),
        };
        let body = self.block(body);
        quote!(#before for #name in #start..#end { #body })
    }

    fn if_(&mut self, cond: ValueId, then: &Block, otherwise: &Block) -> TokenStream {
        let cond = self.value(cond).alone();
        let mut changed = assigned(then);
        changed.append(&mut assigned(otherwise));
        let before = self.printer.settle(&changed);
        let then = self.block(then);
        let otherwise = (!otherwise.is_empty()).then(|| {
            let otherwise = self.block(otherwise);
            quote!(else { #otherwise })
        });
        quote!(#before if #cond { #then } #otherwise)
    }

    /// Local arrays, declared in the loop over items because they start as zeros.
    fn locals(&mut self) -> TokenStream {
        let mut tokens = TokenStream::new();
        for (i, param) in self.kernel.params.iter().enumerate() {
            if let (
                Param::Region {
                    space: Space::Local,
                    elem,
                    len,
                    ..
                },
                (Some(name), true),
            ) = (param, &self.env.params[i])
            {
                let elem = element(*elem);
                let len = Literal::i64_unsuffixed(len.fixed);
                let memory = self
                    .printer
                    .names
                    .fresh(Some(&format!("{name}_memory")), ParamId::from_index(i));
                tokens.extend(quote! {
                    let mut #memory = k::Local::<#elem, #len>::zeroed();
                    let #name = #memory.region();
                });
            }
        }
        tokens
    }

    /// Regions, scalars and sizes that the body refers to.
    fn bindings(&mut self) -> TokenStream {
        let mut tokens = TokenStream::new();
        let mut argument = 0;
        for (param, (name, used)) in self.kernel.params.iter().zip(self.env.params.clone()) {
            let at = Literal::u32_unsuffixed(argument);
            argument += u32::from(param.takes_argument());
            if let (Some(name), true) = (name, used) {
                tokens.extend(self.binding(param, &name, &at));
            }
        }
        for (name, field) in [
            (self.env.row_count.clone(), quote!(n_rows)),
            (self.env.output_count.clone(), quote!(n_outputs)),
            (self.env.context.clone(), quote!(context)),
        ] {
            if let Some(name) = name {
                self.env.ctx = true;
                tokens.extend(quote!(let #name = (*ctx).#field as i32;));
            }
        }
        tokens
    }

    fn binding(&mut self, param: &Param, name: &Ident, at: &Literal) -> TokenStream {
        let Param::Region {
            space, elem, len, ..
        } = param
        else {
            self.env.args = true;
            return match param {
                Param::Scalar { max, .. } => {
                    let max = Literal::u32_unsuffixed(*max);
                    quote! {
                        let #name = *args.add(#at) as i32;
                        debug_assert!(*args.add(#at) <= #max);
                    }
                }
                _ => quote!(let #name = *args.add(#at);),
            };
        };
        if *space == Space::Local {
            return TokenStream::new();
        }
        self.env.ctx = true;
        self.env.args |= param.takes_argument();
        let elem = element(*elem);
        let len = extent(*len);
        match space {
            Space::Weights => {
                quote!(let #name = k::Region::<#elem>::weights(ctx, *args.add(#at), #len);)
            }
            Space::Arena => {
                quote!(let #name = k::Region::<#elem>::arena(ctx, *args.add(#at), #len);)
            }
            Space::Kv => quote!(let #name = k::KvRegion::<#elem>::new(ctx, *args.add(#at), #len);),
            Space::Rows => quote!(let #name = k::Region::<#elem>::rows(ctx);),
            Space::Outputs | Space::Local => quote!(let #name = k::Region::<#elem>::outputs(ctx);),
        }
    }
}

/// Mutable locals that a block assigns, inner blocks included.
fn assigned(block: &Block) -> BTreeSet<VarId> {
    let mut vars = BTreeSet::new();
    for stmt in block {
        match stmt {
            Stmt::Set(m, _) => {
                vars.insert(*m);
            }
            Stmt::For { body, .. } | Stmt::Outline { body, .. } => {
                vars.append(&mut assigned(body));
            }
            Stmt::If {
                then, otherwise, ..
            } => {
                vars.append(&mut assigned(then));
                vars.append(&mut assigned(otherwise));
            }
            _ => {}
        }
    }
    vars
}

fn element(elem: Elem) -> TokenStream {
    let name = format_ident!("{}", elem.name());
    quote!(#name)
}

/// Number of elements, as a `usize`.
fn extent(len: Extent) -> TokenStream {
    let fixed = Literal::i64_unsuffixed(len.fixed.abs());
    let factor = Literal::i64_unsuffixed(len.per_context);
    match (len.per_context, len.fixed) {
        (0, _) => quote!(#fixed),
        (_, 0) => quote!(#factor * (*ctx).context as usize),
        (_, n) if n > 0 => quote!(#factor * (*ctx).context as usize + #fixed),
        _ => quote!(#factor * (*ctx).context as usize - #fixed),
    }
}
