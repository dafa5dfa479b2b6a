//! The modules of one routed block: stage by stage (first product, last product), each stage one phase whose items
//! call the active modules through a table. Formats differ freely between modules.

use gemc_format::padded_rows;
use gemc_kernels::kernels::dispatch::{CallModules, Dispatch};
use gemc_kernels::kernels::matmul::Rows;

use super::phases::{Arg, ItemCount};
use super::steps::{Product, Then};
use super::{Lowering, QuantisedRows};
use crate::graph::NodeId;

impl Lowering<'_> {
    /// All modules of a routing decision at once.
    pub(super) fn modules(&mut self, routing: NodeId, stages: &[Vec<Product<'_>>]) {
        self.place_in_order(stages);
        let mut input = None;
        for products in stages {
            input = self.stage(routing, products, input);
        }
    }

    /// Each module's parts stand together in the file.
    fn place_in_order(&mut self, stages: &[Vec<Product<'_>>]) {
        let count = stages.first().map_or(0, Vec::len);
        for module in 0..count {
            for product in stages.iter().filter_map(|products| products.get(module)) {
                self.place(product.id, product.parts);
            }
        }
    }

    /// One product of every module. The first stage reads the step's rows, later ones the entries that the stage
    /// before wrote; gives the quantised entries, or nothing when the stage was the last.
    fn stage(
        &mut self,
        routing: NodeId,
        products: &[Product<'_>],
        entries: Option<QuantisedRows>,
    ) -> Option<QuantisedRows> {
        // Modules are alike: what is true of the first is true of all.
        let first = products.first()?;
        let routed = self.routed[&routing];
        let slots = self.max_rows * routed.top_k;
        let (input, input_rows, input_div) = match entries {
            Some(entries) => (entries, slots, 1),
            None => (
                self.quantised(first.input),
                self.max_rows,
                routed.top_k as u32,
            ),
        };
        let rows = Rows::List {
            input_div,
            entries: self.max_rows,
        };
        let width = self.stage_width(first);
        let next = match first.then {
            Then::Quantise {
                wire,
                act: _,
                gated: _,
            } => Some(self.quantised_rows(slots, width, self.activations(wire))),
            Then::Floats | Then::Residual(_) => None,
        };
        let floats = next.is_none().then(|| self.floats(slots, width));
        let stride = Dispatch {
            modules: routed.modules,
            top_k: routed.top_k,
            max_rows: self.max_rows,
            sparse: false,
        }
        .list_stride();
        let mut table = Vec::with_capacity(products.len());
        let mut each = 0;
        for product in products {
            let Product {
                id, parts, then, ..
            } = *product;
            let module = product.module();
            let matrix = self.place(id, parts);
            let input_as = (input_rows, input.format);
            let spec = self.matmul(&matrix, parts, rows, input_as, slots, then);
            let mut args = self.inputs(&matrix, parts, input);
            args.push(Arg::Arena(routed.lists, (4 * module * stride) as u32));
            args.push(Arg::Arena(
                routed.counts,
                (4 * module * Dispatch::COUNT_STRIDE) as u32,
            ));
            args.extend(next.into_iter().flat_map(QuantisedRows::args));
            args.extend(floats.map(|rows| Arg::of(rows.buffer)));
            each = spec.items();
            // Modules that are left out are never called: any entry does in their places.
            let entry = (self.phases.kernel(spec), args);
            table.resize(module, entry.clone());
            table.push(entry);
            if let Some(rows) = floats {
                self.values.insert(id, rows);
            }
        }
        if let Some(last) = table.last().cloned() {
            table.resize(routed.modules, last);
        }
        self.call(&routed, each, table, &first.node.origin);
        next
    }

    /// Columns of a stage's result, padded.
    fn stage_width(&self, product: &Product<'_>) -> usize {
        let tensors = product.parts.iter().map(|p| self.graph.tensor(p.weight));
        let rows: usize = tensors.map(|t| padded_rows(t.shape()[0])).sum();
        match product.then {
            Then::Quantise { gated: true, .. } => rows / 2,
            Then::Quantise { gated: false, .. } | Then::Floats | Then::Residual(_) => rows,
        }
    }

    fn call(
        &mut self,
        routed: &super::routing::RoutingBuffers,
        each: u32,
        table: Vec<(gemc_kernels::ir::KernelId, Vec<Arg>)>,
        origin: &str,
    ) {
        let items = self.count_items(routed.active, each, routed.modules as u32);
        let modules = routed.modules;
        let kernel = self.phases.kernel(CallModules { modules, each });
        let table = self.phases.table(format!("modules as {origin}"), table);
        let args = vec![Arg::of(routed.active), table];
        let doc = format!("{origin} and its siblings: active modules");
        self.phases.phase(
            kernel,
            args,
            ItemCount::Loaded(items, modules as u32 * each),
            doc,
        );
    }
}
