//! The model as a graph of typed operations: what front ends produce and every analysis reads.
//!
//! Nodes are only ever added by [`Builder`], inputs before users, so node order is a topological order and two builds of
//! one checkpoint agree.

mod branch;
mod dot;
mod op;
mod prune;
mod role;
mod rope;
mod table;
mod units;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use branch::Branch;
pub use dot::dot;
pub use gem_runtime::{Conventions, LabelScore};
pub use gemc_kernels::choices::{
    Activation, CLAMPED_FACTOR, CLAMPED_LIMIT, NormKind, Pooling, Score,
};
pub use op::{Gates, Guard, LinearPart, Op, QkNorm, QkNormOver, ScarMask, attention_scale};
pub use prune::Needed;
pub use role::Role;
pub use rope::Rope;
pub use table::{GroupMap, Id, Table, UnitMap};
pub use units::{Group, GroupId, Unit, UnitId, Units};
pub use view::View;

gemc_kernels::id_type!(
    /// A node; also names the wire it produces.
    NodeId,
    "n"
);
gemc_kernels::id_type!(
    /// A checkpoint tensor that the graph uses.
    TensorId,
    "t"
);

/// Where in the model a node belongs; routed sites are keys of routing records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Before the first layer.
    Embedding,
    /// Inside layer `l`.
    Layer(u32),
    /// After the last layer: final norm and the routed block of placement `final`.
    Final,
    /// Head or classifier.
    Head,
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedding => f.write_str("embedding"),
            Self::Layer(l) => write!(f, "layers.{l}"),
            Self::Final => f.write_str("final"),
            Self::Head => f.write_str("head"),
        }
    }
}

/// A node with its place and condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The operation, with its tensors and constants.
    pub op: Op,
    /// Wires it reads, in the order `op` documents.
    pub inputs: Vec<NodeId>,
    /// The rows it is computed for: all, or those that routing chose.
    pub guard: Guard,
    /// Embedding, a layer, the last router or the head.
    pub site: Site,
    /// Path of the module it came from, such as `model.layers.0.self_attn.qkv`; unique among `Linear` nodes.
    pub origin: String,
}

/// A tensor the graph refers to.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name: where it is all of a stored tensor, the path of that.
    pub path: String,
    /// Where its values are.
    pub view: View,
}

impl Tensor {
    /// Row-major shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.view.shape()
    }
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Next-token logits.
    CausalLm,
    /// Label logits of a whole text.
    SequenceClassification,
    /// Label logits of every token of a whole text.
    TokenClassification,
    /// A vector for a whole text.
    Embedding,
}

/// Model-wide facts that no node carries.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    /// What it is for.
    pub task: Task,
    /// Width d of the rows between layers.
    pub hidden_size: usize,
    /// Token ids are below.
    pub vocab_size: usize,
    /// Positions are below.
    pub max_positions: usize,
    /// Names of the domains = modules; empty for a dense model.
    pub domains: Vec<String>,
    /// Label names by index; empty for what is no classifier.
    pub labels: Vec<String>,
    /// Width of a text's vector; 0 for what gives none.
    pub embedding: usize,
    /// What stands between texts and ids, and between logits and answers.
    pub conventions: Conventions,
}

impl ModelFacts {
    /// Ids are below: those of the second type stand behind the vocabulary.
    #[must_use]
    pub fn ids(&self) -> usize {
        self.vocab_size * self.conventions.token_types as usize
    }
}

/// Type state: wires have no types yet.
#[derive(Clone, Copy, Debug)]
pub struct Untyped;

/// Element type and shape of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// Token ids and positions, one per row.
    Ids,
    /// f32 `[rows, width]`.
    Rows {
        /// Number of columns.
        width: usize,
    },
    /// f32 `[outputs, width]`.
    Outputs {
        /// Number of columns.
        width: usize,
    },
    /// p, fired, flag and domain of each row over so many modules.
    Routing {
        /// Number of modules, D.
        modules: usize,
    },
    /// A cluster id per row.
    Clusters {
        /// Ids are below.
        count: usize,
    },
}

/// Type state: every wire has a type; made by [`crate::typing::infer`] alone.
#[derive(Clone, Debug)]
pub struct Typed {
    wires: Vec<WireType>,
    units: Arc<Units>,
}

/// A model's operations, tensors and facts; `S` says whether its shapes have been checked.
#[derive(Clone, Debug)]
pub struct Graph<S = Untyped> {
    nodes: Vec<Node>,
    /// By node: who reads its wire, in evaluation order, each once.
    readers: Vec<Vec<NodeId>>,
    /// By router and module: nodes computed only where it fired, in evaluation order.
    modules: HashMap<(NodeId, u32), Vec<NodeId>>,
    /// The first node of each place in the model.
    starts: BTreeMap<Site, NodeId>,
    tensors: Vec<Tensor>,
    facts: ModelFacts,
    state: S,
}

impl<S> Graph<S> {
    /// The linear map that gives the logits.
    #[must_use]
    pub fn head(&self) -> Option<NodeId> {
        let mut id = self.output();
        loop {
            id = *self.node(id).inputs.first()?;
            match self.node(id).op {
                Op::Softcap { .. } => {}
                Op::Linear { .. } => return Some(id),
                _ => return None,
            }
        }
    }

    /// Task, sizes and names that hold for the whole model.
    #[must_use]
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// The node of this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// A tensor's path and shape.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }

    /// All tensors, by id.
    pub fn tensors(&self) -> impl Iterator<Item = (TensorId, &Tensor)> {
        self.tensors
            .iter()
            .enumerate()
            .map(|(i, t)| (TensorId::from_index(i), t))
    }

    /// Nodes in evaluation order: inputs first, the same for every build.
    pub fn topo(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        let numbered = self.nodes.iter().enumerate();
        numbered.map(|(i, node)| (NodeId::from_index(i), node))
    }

    /// Nodes that read this wire, in evaluation order.
    #[must_use]
    pub fn consumers(&self, id: NodeId) -> &[NodeId] {
        &self.readers[id.index()]
    }

    /// The routing nodes in evaluation order, with their sites.
    #[must_use]
    pub fn routers(&self) -> Vec<(NodeId, Site)> {
        self.topo()
            .filter(|(_, n)| matches!(n.op, Op::Router { .. }))
            .map(|(id, n)| (id, n.site))
            .collect()
    }

    /// Nodes computed only where module `module` of this routing node fired, in evaluation order.
    #[must_use]
    pub fn module_nodes(&self, routing: NodeId, module: u32) -> &[NodeId] {
        let nodes = self.modules.get(&(routing, module));
        nodes.map_or(&[], Vec::as_slice)
    }

    /// The first node of each place in the model, in the order of places: where runs are best resumed.
    pub fn starts(&self) -> impl Iterator<Item = (Site, NodeId)> {
        self.starts.iter().map(|(site, id)| (*site, *id))
    }

    /// The first node of a place in the model; of one without nodes, the graph's first.
    #[must_use]
    pub fn start(&self, site: Site) -> NodeId {
        self.starts.get(&site).copied().unwrap_or(NodeId(0))
    }

    /// The `Output` node.
    ///
    /// # Panics
    /// When there is none, which [`Builder::finish`] rules out.
    #[must_use]
    pub fn output(&self) -> NodeId {
        NodeId::from_index(self.nodes.len() - 1)
    }
}

impl Graph<Typed> {
    /// The type of a wire.
    #[must_use]
    pub fn wire(&self, id: NodeId) -> WireType {
        self.state.wires[id.index()]
    }

    /// The quantised units. Shared, so that a plan can name them without the graph.
    #[must_use]
    pub fn units(&self) -> &Arc<Units> {
        &self.state.units
    }
}

impl Graph<Untyped> {
    /// Attaches wire types, and the units that they make sure of; `typing::infer` is the only caller.
    pub(crate) fn with_types(self, wires: Vec<WireType>) -> Graph<Typed> {
        debug_assert_eq!(wires.len(), self.nodes.len());
        let units = Arc::new(Units::of_graph(&self));
        Graph {
            nodes: self.nodes,
            readers: self.readers,
            modules: self.modules,
            starts: self.starts,
            tensors: self.tensors,
            facts: self.facts,
            state: Typed { wires, units },
        }
    }
}

/// Adds nodes inputs-first.
#[derive(Debug)]
pub struct Builder {
    graph: Graph<Untyped>,
    tensor_ids: HashMap<String, TensorId>,
    site: Site,
    guard: Guard,
}

impl Builder {
    /// An empty graph.
    #[must_use]
    pub fn new(facts: ModelFacts) -> Self {
        let graph = Graph {
            nodes: Vec::new(),
            readers: Vec::new(),
            modules: HashMap::new(),
            starts: BTreeMap::new(),
            tensors: Vec::new(),
            facts,
            state: Untyped,
        };
        Self {
            graph,
            tensor_ids: HashMap::new(),
            site: Site::Embedding,
            guard: Guard::Always,
        }
    }

    /// Facts of the model.
    #[must_use]
    pub fn facts(&self) -> &ModelFacts {
        &self.graph.facts
    }

    /// Site of the nodes added from here on.
    pub fn at(&mut self, site: Site) {
        self.site = site;
    }

    /// Guard of the nodes added from here on.
    pub fn guarded(&mut self, guard: Guard) {
        self.guard = guard;
    }

    /// The guard of a node added before.
    #[must_use]
    pub fn guard_of(&self, id: NodeId) -> Guard {
        self.graph.node(id).guard
    }

    /// Registers a stored tensor once; the same path gives the same id.
    pub fn tensor(&mut self, path: &str, shape: &[usize]) -> TensorId {
        self.view(View::whole(path, shape))
    }

    /// Registers a tensor by the name of its view once; the same name gives the same id.
    pub fn view(&mut self, view: View) -> TensorId {
        let path = view.name();
        if let Some(&id) = self.tensor_ids.get(&path) {
            debug_assert_eq!(self.graph.tensors[id.index()].view, view);
            return id;
        }
        let id = TensorId::from_index(self.graph.tensors.len());
        self.tensor_ids.insert(path.clone(), id);
        self.graph.tensors.push(Tensor { path, view });
        id
    }

    /// Adds a node that reads the wires `inputs`; `origin` is its path in the checkpoint.
    pub fn add(&mut self, op: Op, inputs: &[NodeId], origin: impl Into<String>) -> NodeId {
        let node = Node {
            op,
            inputs: inputs.to_vec(),
            guard: self.guard,
            site: self.site,
            origin: origin.into(),
        };
        let id = NodeId::from_index(self.graph.nodes.len());
        if let Guard::Module { routing, module } = node.guard {
            let nodes = self.graph.modules.entry((routing, module));
            nodes.or_default().push(id);
        }
        self.graph.starts.entry(node.site).or_insert(id);
        self.graph.nodes.push(node);
        self.graph.readers.push(Vec::new());
        for input in inputs {
            debug_assert!(*input < id, "inputs come first");
            let readers = &mut self.graph.readers[input.index()];
            if readers.last() != Some(&id) {
                readers.push(id);
            }
        }
        id
    }

    /// Marks the result and closes the graph.
    #[must_use]
    pub fn finish(mut self, result: NodeId) -> Graph<Untyped> {
        self.guard = Guard::Always;
        self.add(Op::Output, &[result], "output");
        self.graph
    }
}
