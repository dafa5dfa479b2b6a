//! A typed graph -> the steps of its lowering, or what it has that no kernel computes.
//!
//! Typing says that shapes fit; here stands what the fusions and the kernels need beyond that: who may feed attention and
//! activations, modules that are equal chains of products, one head. The lowering gets [`Step`]s and never a graph's
//! operation, so that what was not checked cannot reach it. `graph::Op` is taken apart in one place, [`kind`].

mod chains;
pub(super) mod kind;
mod products;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use gemc_format::BLOCK;
use gemc_kernels::kernels::combine::Base;
use gemc_kernels::kernels::elementwise::Function;

use kind::Kind;

use super::steps::{
    ClustersStep, CombineStep, LowerableGraph, NormStep, On, RouterStep, ScarStep, SelectStep, Step,
};
use gemc_kernels::kernels::vector;

use crate::graph::{Graph, Guard, NodeId, Pooling, Site, Typed};

/// Something in a graph that cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin} ({node}): {what}; allowed: {allowed}")]
pub struct Finding {
    /// The node that cannot be lowered, or whose reader cannot.
    pub node: NodeId,
    /// Path of that node in the checkpoint.
    pub origin: String,
    /// What the graph has there, in words.
    pub what: String,
    /// What the lowering can do instead, in words.
    pub allowed: String,
}

type Check<T> = Result<T, Finding>;

/// Checks everything that the lowering relies on.
///
/// # Errors
/// With every finding, in evaluation order.
pub fn check(graph: &Graph<Typed>) -> Result<LowerableGraph<'_>, Vec<Finding>> {
    let checker = Checker::new(graph);
    let mut findings = Vec::new();
    let mut steps = Vec::new();
    for (id, _) in graph.topo() {
        match checker.step(id) {
            Ok(step) => steps.extend(step.map(|step| (id, step))),
            Err(finding) => findings.push(finding),
        }
    }
    let result = checker.result();
    let result = result.map_err(|finding| findings.push(finding)).ok();
    // A module that is no chain is found with the others, too.
    findings.sort_by_key(|finding| finding.node);
    findings.dedup_by_key(|finding| finding.node);
    match result.filter(|_| findings.is_empty()) {
        Some(result) => Ok(LowerableGraph {
            graph,
            steps,
            result,
        }),
        None => Err(findings),
    }
}

struct Checker<'g> {
    graph: &'g Graph<Typed>,
    /// What the lowering makes of each node, by its index.
    kinds: Vec<Kind<'g>>,
    /// Nodes of each module of a router, in evaluation order.
    modules: HashMap<NodeId, Vec<Vec<NodeId>>>,
    /// The first router of a site.
    routers: HashMap<Site, NodeId>,
    /// The first clusters of a site.
    clusters: HashMap<Site, NodeId>,
    /// The first node of these kinds.
    embed: Option<NodeId>,
    select: Option<NodeId>,
    /// The first unit of a path: plans and weight files know them by it.
    names: HashMap<&'g str, NodeId>,
}

impl<'g> Checker<'g> {
    fn new(graph: &'g Graph<Typed>) -> Self {
        let mut checker = Self {
            graph,
            kinds: Vec::new(),
            modules: HashMap::new(),
            routers: HashMap::new(),
            clusters: HashMap::new(),
            embed: None,
            select: None,
            names: HashMap::new(),
        };
        for (id, node) in graph.topo() {
            let kind = kind::of(node);
            match kind {
                Kind::Router(ref router) => {
                    let count = graph.tensor(router.weight).shape()[0];
                    checker.modules.insert(id, vec![Vec::new(); count]);
                    checker.routers.entry(node.site).or_insert(id);
                }
                Kind::Clusters { .. } => {
                    checker.clusters.entry(node.site).or_insert(id);
                }
                Kind::Embed { .. } => {
                    checker.embed.get_or_insert(id);
                    checker.names.entry(&node.origin).or_insert(id);
                }
                Kind::Select { .. } => {
                    checker.select.get_or_insert(id);
                }
                Kind::Product(_) => {
                    checker.names.entry(&node.origin).or_insert(id);
                }
                _ => {}
            }
            if let Guard::Module { routing, module } = node.guard {
                let modules = checker.modules.get_mut(&routing);
                let nodes = modules.and_then(|all| all.get_mut(module as usize));
                nodes.into_iter().for_each(|nodes| nodes.push(id));
            }
            checker.kinds.push(kind);
        }
        checker
    }

    fn kind(&self, id: NodeId) -> &Kind<'g> {
        &self.kinds[id.index()]
    }

    fn readers(&self, id: NodeId) -> &[NodeId] {
        self.graph.consumers(id)
    }

    fn guard(&self, id: NodeId) -> Guard {
        self.graph.node(id).guard
    }

    fn origin(&self, id: NodeId) -> &str {
        &self.graph.node(id).origin
    }

    fn finding(&self, node: NodeId, what: impl Into<String>, allowed: &str) -> Finding {
        Finding {
            node,
            origin: self.origin(node).to_owned(),
            what: what.into(),
            allowed: allowed.to_owned(),
        }
    }

    fn need(&self, holds: bool, node: NodeId, what: impl Into<String>, allowed: &str) -> Check<()> {
        if holds {
            Ok(())
        } else {
            Err(self.finding(node, what, allowed))
        }
    }

    /// What a node is lowered to: nothing where another node's step computes it.
    fn step(&self, id: NodeId) -> Check<Option<Step<'g>>> {
        self.placed(id)?;
        let node = self.graph.node(id);
        // Typing has counted the inputs of each.
        let input = |slot: usize| node.inputs[slot];
        Ok(match *self.kind(id) {
            Kind::Tokens => {
                self.need(
                    id == NodeId(0),
                    id,
                    "token ids are read again",
                    "once, first",
                )?;
                None
            }
            Kind::Embed {
                token,
                position,
                token_type,
                scale,
            } => {
                let once = self.embed == Some(id);
                self.need(once, id, "a second embedding", "one embedding")?;
                Some(Step::Embed {
                    token,
                    position,
                    token_type,
                    scale,
                })
            }
            Kind::Norm(norm) => {
                let products = |reader: &&NodeId| matches!(self.kind(**reader), Kind::Product(_));
                let quantised = self.readers(id).iter().filter(products).count();
                Some(Step::Norm(NormStep {
                    input: input(0),
                    outputs: self.rows_of(id)? == On::Outputs,
                    norm,
                    floats: quantised < self.readers(id).len(),
                    quantised: quantised > 0,
                }))
            }
            Kind::Product(parts) => match node.guard {
                Guard::Module { routing, module: _ } => self.modules(id, routing)?,
                Guard::Always => Some(Step::Product(self.product(id, parts)?, self.rows_of(id)?)),
                Guard::Fallback { routing } => {
                    self.guarded_readers(id)?;
                    let product = self.product(id, parts)?;
                    Some(Step::Product(product, On::Idle { routing }))
                }
            },
            Kind::Activate { act, gated } if !gated && self.is_alone(id) => {
                let always = node.guard == Guard::Always;
                self.need(
                    always,
                    id,
                    "an activation on some rows only",
                    "before a linear map",
                )?;
                Some(Step::Elementwise(input(0), Function::Activation(act)))
            }
            Kind::Activate { act: _, gated } => {
                self.activate(id, gated)?;
                match node.guard {
                    // Where a module begins with it, this is the place that finds out.
                    Guard::Module { routing, module: _ } => self.modules(id, routing)?,
                    Guard::Always | Guard::Fallback { .. } => None,
                }
            }
            Kind::Attention(op) => {
                let projection = self.projection(id, Some(&op))?;
                self.keys_can_be_indexed(id, op.kv_heads, op.head_dim)?;
                Some(Step::Attention(op, projection))
            }
            Kind::ShortConv(op) => {
                let width = self.width(id);
                let what = format!("{width} columns of a short convolution");
                self.need(
                    width.is_multiple_of(vector::LANES),
                    id,
                    what,
                    "a multiple of 16",
                )?;
                Some(Step::ShortConv(op, self.projection(id, None)?.id))
            }
            Kind::Scar { heads, mask } => {
                let projection = self.projection(id, None)?.id;
                self.keys_can_be_indexed(id, heads, self.width(id) / heads.max(1))?;
                Some(Step::ScarAttention(ScarStep {
                    heads,
                    mask,
                    projection,
                    routing: input(1),
                    clusters: node.inputs.get(2).copied(),
                }))
            }
            Kind::Router(op) => Some(Step::Router(self.router(id, op)?)),
            Kind::Clusters { .. } => {
                self.clusters(id)?;
                None
            }
            Kind::Add => Some(Step::Add([input(0), input(1)])),
            Kind::Combine { base } => Some(Step::Combine(self.combine(id, base)?)),
            Kind::Select { pooling } => {
                let once = self.select == Some(id);
                self.need(once, id, "rows are selected again", "one head")?;
                let product = |reader: &NodeId| matches!(self.kind(*reader), Kind::Product(_));
                // The runtime names a classifier's first row: linear maps read it where it is.
                let named = pooling == [Pooling::First] && self.readers(id).iter().all(product);
                let pooling = if named { &[] } else { pooling };
                for &reader in self.readers(id) {
                    let reads = product(&reader) || !pooling.is_empty();
                    self.need(reads, reader, "reads selected rows", "a linear map")?;
                }
                let width = self.width(input(0));
                let aligned = pooling.len() < 2 || width.is_multiple_of(BLOCK);
                let what = format!("several poolings of rows of {width} columns");
                self.need(aligned, id, what, "a multiple of 32 columns")?;
                Some(Step::Select(SelectStep {
                    input: input(0),
                    pooling,
                }))
            }
            Kind::Normalize => Some(Step::Normalize(input(0))),
            Kind::Softcap { cap } => {
                Some(Step::Elementwise(input(0), Function::Softcap(cap.into())))
            }
            Kind::Output => None,
        })
    }

    /// Rules on where any node may stand: guards, and the head behind everything else.
    fn placed(&self, id: NodeId) -> Check<()> {
        let kind = self.kind(id);
        let guarded = matches!(kind, Kind::Product(_) | Kind::Activate { .. });
        let always = self.guard(id) == Guard::Always;
        let what = format!("{} on some rows only", kind.name());
        let allowed = "linear maps and activations between them";
        self.need(always || guarded, id, what, allowed)?;
        let named = matches!(kind, Kind::Product(_)).then(|| self.names.get(self.origin(id)));
        let own = named.flatten().is_none_or(|first| *first == id);
        self.need(
            own,
            id,
            "a second linear map of this path",
            "one of each path",
        )?;
        let Some(select) = self.select else {
            return Ok(());
        };
        let head = matches!(
            kind,
            Kind::Product(_)
                | Kind::Activate { .. }
                | Kind::Norm(_)
                | Kind::Normalize
                | Kind::Softcap { .. }
                | Kind::Select { .. }
                | Kind::Output
        );
        let what = format!("{} behind the selected rows", kind.name());
        let allowed = "linear maps, activations and norms of those rows";
        self.need(id < select || head, id, what, allowed)?;
        if id > select && matches!(kind, Kind::Product(_)) {
            let outputs = self.rows_of(id)? == On::Outputs;
            let what = "a linear map of all rows behind the selected rows";
            self.need(outputs && always, id, what, "linear maps of those rows")?;
            let one = self.readers(id).len() == 1;
            let what = format!("{} readers of a linear map", self.readers(id).len());
            self.need(one, id, what, "one, in the head")?;
        }
        Ok(())
    }

    /// The node whose rows are the result.
    fn result(&self) -> Check<NodeId> {
        let output = self.graph.output();
        let allowed =
            "a linear map, an activation, a norm or a normalisation of the selected rows, or those";
        let Some(&result) = self.graph.node(output).inputs.first() else {
            return Err(self.finding(output, "no result", allowed));
        };
        let fits = matches!(
            self.kind(result),
            Kind::Product(_)
                | Kind::Norm(_)
                | Kind::Activate { .. }
                | Kind::Normalize
                | Kind::Softcap { .. }
        ) || matches!(self.kind(result), Kind::Select { pooling } if !pooling.is_empty());
        let what = format!("the result is that of {}", self.kind(result).name());
        self.need(fits, output, what, allowed)?;
        Ok(result)
    }

    fn router(&self, id: NodeId, op: kind::RouterOp) -> Check<RouterStep> {
        let site = self.graph.node(id).site;
        let first = self.routers.get(&site) == Some(&id);
        let what = format!("a second router at {site}");
        self.need(first, id, what, "one router a site")?;
        let input = self.graph.node(id).inputs[0];
        let clusters = match self.clusters.get(&site) {
            None => None,
            Some(&clusters) => Some(self.clusters(clusters)?),
        };
        Ok(RouterStep {
            input,
            op,
            clusters,
        })
    }

    /// Clusters are found with the decisions of their site, for which they stand in its records.
    fn clusters(&self, id: NodeId) -> Check<ClustersStep> {
        let node = self.graph.node(id);
        let Kind::Clusters { centroids } = *self.kind(id) else {
            return Err(self.finding(id, self.kind(id).name(), "clusters"));
        };
        let first = self.clusters.get(&node.site) == Some(&id);
        let what = format!("second clusters at {}", node.site);
        self.need(first, id, what, "one a router")?;
        let router = self.routers.get(&node.site).filter(|router| **router < id);
        let allowed = "clusters behind the router of their site, of the same rows";
        let Some(&router) = router else {
            let what = format!("no router before it at {}", node.site);
            return Err(self.finding(id, what, allowed));
        };
        let same = self.graph.node(router).inputs == node.inputs;
        self.need(same, id, "other rows than the router's", allowed)?;
        Ok(ClustersStep {
            id,
            input: node.inputs[0],
            centroids,
        })
    }

    fn combine(&self, id: NodeId, has_base: bool) -> Check<CombineStep> {
        let inputs = &self.graph.node(id).inputs;
        let (routing, rest) = (inputs[0], &inputs[1..]);
        let (base, modules) = match rest.split_first() {
            Some((&base, modules)) if has_base => {
                // Typing lets a base be there always or as a fallback.
                let kind = match self.guard(base) {
                    Guard::Always => Base::Always,
                    Guard::Fallback { .. } | Guard::Module { .. } => Base::Fallback,
                };
                (Some((base, kind)), modules)
            }
            _ => (None, rest),
        };
        for &module in modules {
            let last = matches!(self.kind(module), Kind::Product(_));
            let what = format!("takes {} of a module", self.kind(module).name());
            self.need(last, id, what, "the last linear map of each module")?;
        }
        Ok(CombineStep {
            routing,
            base,
            outputs: modules.first().copied(),
            residual: self.residual(id),
        })
    }
}
