//! The modules of one routed block: stage by stage (first product, last product), each stage one phase whose units
//! call the active modules through a table. Formats differ freely between modules.

use super::kernels::dispatch::{CallModules, Dispatch};
use super::kernels::matmul::Rows;
use super::linear::Fusion;
use super::phases::{Arg, UnitCount};
use super::{Lowering, QuantisedRows};
use crate::graph::{LinearPart, NodeId, Op};

impl Lowering<'_> {
    /// Lowers all modules of a routing decision at once; called at the first of their nodes.
    pub(super) fn modules(&mut self, routing: NodeId) {
        let count = self.routed[&routing].modules;
        let modules: Vec<Vec<NodeId>> = (0..count as u32)
            .map(|m| self.products_of(routing, m))
            .collect();
        self.place_in_order(&modules);
        let mut input = None;
        for stage in 0..modules[0].len() {
            let nodes: Vec<NodeId> = modules.iter().map(|m| m[stage]).collect();
            input = self.stage(routing, &nodes, input);
        }
        for module in 0..count as u32 {
            self.done.extend(self.graph.module_nodes(routing, module));
        }
    }

    fn products_of(&self, routing: NodeId, module: u32) -> Vec<NodeId> {
        let nodes = self.graph.module_nodes(routing, module);
        nodes
            .into_iter()
            .filter(|n| matches!(self.graph.node(*n).op, Op::Linear { .. }))
            .collect()
    }

    /// Each module's parts stand together in the file.
    fn place_in_order(&mut self, modules: &[Vec<NodeId>]) {
        for &id in modules.iter().flatten() {
            let tensors = Self::part_tensors(self.parts(id));
            self.place(id, tensors);
        }
    }

    fn parts(&self, id: NodeId) -> &[LinearPart] {
        match &self.graph.node(id).op {
            Op::Linear { parts } => parts,
            _ => &[],
        }
    }

    /// One product of every module. The first stage reads the step's rows, later ones the entries that the stage
    /// before wrote; gives the quantised entries, or nothing when the stage was the last.
    fn stage(
        &mut self,
        routing: NodeId,
        nodes: &[NodeId],
        entries: Option<QuantisedRows>,
    ) -> Option<QuantisedRows> {
        let routed = self.routed[&routing];
        let slots = self.max_rows * routed.top_k;
        let (input, input_rows, input_div) = match entries {
            Some(entries) => (entries, slots, 1),
            None => {
                let wire = self.graph.node(nodes[0]).inputs[0];
                (self.quantised(wire), self.max_rows, routed.top_k as u32)
            }
        };
        let rows = Rows::List {
            input_div,
            entries: self.max_rows,
        };
        let width = self.stage_width(nodes[0]);
        let next = match self.fusion(nodes[0]) {
            Fusion::Quantise { wire, .. } => {
                Some(self.quantised_rows(slots, width, self.activations(wire)))
            }
            _ => None,
        };
        let floats = next.is_none().then(|| self.floats(slots, width));
        let stride = Dispatch {
            modules: routed.modules,
            top_k: routed.top_k,
            max_rows: self.max_rows,
        }
        .list_stride();
        let mut table = Vec::with_capacity(nodes.len());
        let mut each = 0;
        for (module, &id) in nodes.iter().enumerate() {
            let parts = self.parts(id).to_vec();
            let matrix = self.place(id, Self::part_tensors(&parts));
            let fusion = self.fusion(id);
            let input_as = (input_rows, input.format);
            let spec = self.matmul(&matrix, &parts, rows, input_as, slots, fusion);
            let mut args = self.inputs(&matrix, &parts, input);
            args.push(Arg::Arena(routed.lists, (4 * module * stride) as u32));
            args.push(Arg::Arena(
                routed.counts,
                (4 * module * Dispatch::COUNT_STRIDE) as u32,
            ));
            args.extend(next.into_iter().flat_map(QuantisedRows::args));
            args.extend(floats.map(|rows| Arg::of(rows.buffer)));
            each = spec.units();
            table.push((self.phases.kernel(spec), args));
            if let Some(rows) = floats {
                self.values.insert(id, rows);
            }
        }
        self.call(
            &routed,
            each,
            table,
            &self.graph.node(nodes[0]).origin.clone(),
        );
        next
    }

    /// Columns of a stage's result, padded.
    fn stage_width(&self, id: NodeId) -> usize {
        let rows: usize = self
            .parts(id)
            .iter()
            .map(|p| self.graph.tensor(p.weight).shape[0].next_multiple_of(32))
            .sum();
        match self.fusion(id) {
            Fusion::Quantise { gated: true, .. } => rows / 2,
            _ => rows,
        }
    }

    fn call(
        &mut self,
        routed: &super::routing::Routed,
        each: u32,
        table: Vec<(crate::kernel::KernelId, Vec<Arg>)>,
        origin: &str,
    ) {
        let units = self.count_units(routed.active, each, routed.modules as u32);
        let modules = routed.modules;
        let kernel = self.phases.kernel(CallModules { modules, each });
        let table = self.phases.table(format!("modules as {origin}"), table);
        let args = vec![Arg::of(routed.active), table];
        let doc = format!("{origin} and its siblings: active modules");
        self.phases.phase(
            kernel,
            args,
            UnitCount::Loaded(units, modules as u32 * each),
            doc,
        );
    }
}
