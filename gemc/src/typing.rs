//! `Graph` -> `Graph<Typed>`: every wire gets element type and shape, and every relation between them is checked here,
//! so that nothing later handles a wire without a type or a weight that does not fit.

mod left_out;

pub use left_out::{DropError, without};

use crate::graph::{
    Graph, Guard, LinearPart, Node, NodeId, NormKind, Op, Pooling, QkNorm, QkNormOver, Rope, Task,
    TensorId, Typed, Untyped, WireType,
};

/// A node that does not fit its inputs or weights. A checkpoint that import accepts never gives one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{node} ({origin}): {what}")]
pub struct TypingError {
    /// The node whose inputs or tensors do not fit.
    pub node: NodeId,
    /// Where it came from.
    pub origin: String,
    /// What does not fit.
    pub what: String,
}

/// Gives every wire its type.
///
/// # Errors
/// With the first node, in evaluation order, that does not fit.
pub fn infer(graph: Graph<Untyped>) -> Result<Graph<Typed>, TypingError> {
    let mut wires: Vec<WireType> = Vec::new();
    for (id, node) in graph.topo() {
        let scope = Scope {
            graph: &graph,
            wires: &wires,
            id,
            node,
        };
        let wire = scope.guarded().and_then(|()| scope.wire());
        wires.push(wire.map_err(|what| TypingError {
            node: id,
            origin: node.origin.clone(),
            what,
        })?);
    }
    Ok(graph.with_types(wires))
}

/// A wire of a width.
type OfWidth = fn(usize) -> WireType;

type Check<T> = Result<T, String>;

fn need(holds: bool, what: impl FnOnce() -> String) -> Check<()> {
    if holds { Ok(()) } else { Err(what()) }
}

/// One node and the types of what comes before it.
struct Scope<'a> {
    graph: &'a Graph<Untyped>,
    wires: &'a [WireType],
    id: NodeId,
    node: &'a Node,
}

impl Scope<'_> {
    /// The type of the node's wire.
    fn wire(&self) -> Check<WireType> {
        match &self.node.op {
            Op::Tokens => {
                self.inputs(0)?;
                Ok(WireType::Ids)
            }
            Op::Embed {
                token,
                position,
                token_type,
                scale,
            } => {
                need(scale.is_finite(), || format!("rows times {scale}"))?;
                self.embed(*token, *position, *token_type)
            }
            Op::Norm {
                kind,
                weight,
                bias,
                // A number; import bounds it.
                eps: _,
            } => self.norm(*kind, *weight, *bias),
            Op::Linear { parts } => self.linear(parts),
            Op::Attention {
                heads,
                kv_heads,
                head_dim,
                causal,
                scale,
                window,
                softcap,
                rope,
                qk_norm,
                sinks,
            } => {
                let heads = [*heads, *kv_heads, *head_dim].map(|n| n as usize);
                self.causality(*causal)?;
                self.scores(*scale, *window, *softcap)?;
                self.optional(*sinks, &heads[..1])?;
                self.attention(heads, rope.as_ref(), *qk_norm)
            }
            Op::ShortConv { weight, bias } => self.short_conv(*weight, *bias),
            Op::Router {
                weight,
                bias,
                // Any is right for any shape.
                score: _,
                top_k,
                threshold,
                select_bias,
                gates,
                base_gate,
            } => {
                let numbers = [gates.added, gates.least, gates.scale];
                need(numbers.iter().all(|n| n.is_finite()), || {
                    format!("{gates:?}")
                })?;
                self.optional(*base_gate, &[1, self.rows(0)?])?;
                self.optional(*select_bias, &[self.graph.facts().domains.len()])?;
                self.router(*weight, *bias, *top_k as usize, *threshold)
            }
            Op::Clusters { centroids } => self.clusters(*centroids),
            Op::ScarAttention {
                heads,
                // Any is right for any shape.
                mask: _,
                causal,
            } => {
                self.causality(*causal)?;
                self.scar(*heads as usize)
            }
            Op::Activate {
                // Any is right for any shape.
                act: _,
                gated,
            } => self.activate(*gated),
            Op::Add => self.add(),
            Op::Combine { base } => self.combine(*base),
            Op::SelectOutputs { pooling } => self.select(pooling),
            Op::Normalize => self.outputs(),
            Op::Softcap { cap } => {
                need(cap.is_finite() && *cap > 0.0, || format!("capped at {cap}"))?;
                self.outputs()
            }
            Op::Output => self.output(),
        }
    }

    fn inputs(&self, n: usize) -> Check<()> {
        let found = self.node.inputs.len();
        need(found == n, || format!("has {found} inputs, needs {n}"))
    }

    fn input(&self, slot: usize) -> Check<WireType> {
        let id = self.node.inputs.get(slot);
        let id = id.ok_or_else(|| format!("has no input {slot}"))?;
        let wire = self.wires.get(id.index()).copied();
        wire.ok_or_else(|| format!("reads {id}, which does not come before it"))
    }

    /// Width of an input that must be rows of d or whatever columns.
    fn rows(&self, slot: usize) -> Check<usize> {
        match self.input(slot)? {
            WireType::Rows { width } => Ok(width),
            other => Err(format!("input {slot} is {other:?}, must be rows")),
        }
    }

    fn hidden(&self) -> usize {
        self.graph.facts().hidden_size
    }

    fn shape(&self, id: TensorId, want: &[usize]) -> Check<()> {
        let tensor = self.graph.tensor(id);
        need(tensor.shape() == want, || {
            format!(
                "{} has shape {:?}, must be {want:?}",
                tensor.path,
                tensor.shape()
            )
        })
    }

    fn optional(&self, id: Option<TensorId>, want: &[usize]) -> Check<()> {
        id.map_or(Ok(()), |id| self.shape(id, want))
    }

    fn embed(
        &self,
        token: TensorId,
        position: Option<TensorId>,
        token_type: Option<TensorId>,
    ) -> Check<WireType> {
        self.inputs(1)?;
        let found = self.input(0)?;
        need(found == WireType::Ids, || {
            format!("input 0 is {found:?}, must be ids")
        })?;
        let (facts, width) = (self.graph.facts(), self.hidden());
        self.shape(token, &[facts.vocab_size, width])?;
        self.optional(position, &[facts.max_positions, width])?;
        if let Some(id) = token_type {
            let shape = self.graph.tensor(id).shape();
            let known = facts.conventions.token_types as usize;
            let fits = matches!(shape[..], [types, w] if types >= known && w == width);
            need(fits, || {
                format!("token types have shape {shape:?}, must be [{known} or more, {width}]")
            })?;
        }
        Ok(WireType::Rows { width })
    }

    fn norm(&self, kind: NormKind, weight: TensorId, bias: Option<TensorId>) -> Check<WireType> {
        self.inputs(1)?;
        let (wire, width) = self.floats(0)?;
        need(bias.is_none() || kind == NormKind::Layer, || {
            "a bias belongs to a layer norm and to no other".to_owned()
        })?;
        self.shape(weight, &[width])?;
        self.optional(bias, &[width])?;
        Ok(wire(width))
    }

    /// Rows or outputs: what makes a wire of them, and their width.
    fn floats(&self, slot: usize) -> Check<(OfWidth, usize)> {
        match self.input(slot)? {
            WireType::Rows { width } => Ok((|width| WireType::Rows { width }, width)),
            WireType::Outputs { width } => Ok((|width| WireType::Outputs { width }, width)),
            other => Err(format!(
                "input {slot} is {other:?}, must be rows or outputs"
            )),
        }
    }

    fn linear(&self, parts: &[LinearPart]) -> Check<WireType> {
        self.inputs(1)?;
        let (wire, columns) = self.floats(0)?;
        need(!parts.is_empty(), || "has no parts".to_owned())?;
        let mut width = 0usize;
        for part in parts {
            let shape = self.graph.tensor(part.weight).shape();
            let [out, within] = shape[..] else {
                return Err(format!("a weight has shape {shape:?}, must be [out, in]"));
            };
            need(within == columns, || {
                let path = &self.graph.tensor(part.weight).path;
                format!("{path} takes {within} columns, its input has {columns}")
            })?;
            self.optional(part.bias, &[out])?;
            width += out;
        }
        Ok(wire(width))
    }

    /// Who sees whom is the task's: rows of a step know it from there.
    fn causality(&self, causal: bool) -> Check<()> {
        match (self.graph.facts().task, causal) {
            (Task::CausalLm, true)
            // The kernel of such attention sees to it.
            | (
                Task::SequenceClassification | Task::TokenClassification | Task::Embedding,
                true | false,
            ) => Ok(()),
            (Task::CausalLm, false) => Err("sees later positions, in a decoder".to_owned()),
        }
    }

    /// Numbers that scores are changed by.
    fn scores(&self, scale: f32, window: Option<u32>, softcap: Option<f32>) -> Check<()> {
        need(scale.is_finite(), || format!("scores times {scale}"))?;
        need(window != Some(0), || "a window of no positions".to_owned())?;
        let right = |cap: f32| cap.is_finite() && cap > 0.0;
        need(softcap.is_none_or(right), || {
            format!("scores capped at {softcap:?}")
        })
    }

    fn short_conv(&self, weight: TensorId, bias: Option<TensorId>) -> Check<WireType> {
        self.inputs(1)?;
        let (found, width) = (self.rows(0)?, self.hidden());
        need(found == 3 * width, || {
            format!("input 0 has {found} columns, must have {}", 3 * width)
        })?;
        need(self.graph.facts().task == Task::CausalLm, || {
            "keeps the last positions, which only decoders do".to_owned()
        })?;
        let taps = self.graph.tensor(weight).shape()[0];
        self.shape(weight, &[taps, width])?;
        need(taps > 0, || "has no taps".to_owned())?;
        self.optional(bias, &[width])?;
        Ok(WireType::Rows { width })
    }

    fn attention(
        &self,
        [heads, kv_heads, dim]: [usize; 3],
        rope: Option<&Rope>,
        qk_norm: Option<QkNorm>,
    ) -> Check<WireType> {
        self.inputs(1)?;
        need(kv_heads > 0 && heads > 0 && heads % kv_heads == 0, || {
            format!("{kv_heads} kv heads do not divide {heads} heads")
        })?;
        let rotated = rope.map_or(0, Rope::width);
        need(dim > 0 && rotated <= dim, || {
            format!("{rotated} columns are rotated of heads of {dim}")
        })?;
        let (found, want) = (self.rows(0)?, (heads + 2 * kv_heads) * dim);
        need(found == want, || {
            format!("q|k|v is {found} wide, must be {want}")
        })?;
        if let Some(norm) = qk_norm {
            let weights = [(norm.q, heads), (norm.k, kv_heads)];
            for (weight, heads) in weights {
                match norm.over {
                    QkNormOver::AllHeads => self.shape(weight, &[heads, dim])?,
                    QkNormOver::HeadBeforeRope | QkNormOver::HeadAfterRope => {
                        self.shape(weight, &[dim])?;
                    }
                }
            }
        }
        Ok(WireType::Rows { width: heads * dim })
    }

    fn router(
        &self,
        weight: TensorId,
        bias: Option<TensorId>,
        top_k: usize,
        threshold: f32,
    ) -> Check<WireType> {
        self.inputs(1)?;
        let width = self.rows(0)?;
        let modules = self.graph.facts().domains.len();
        self.shape(weight, &[modules, width])?;
        self.optional(bias, &[modules])?;
        need((1..=modules).contains(&top_k), || {
            format!("top_k {top_k} of {modules} modules")
        })?;
        need(threshold.is_finite(), || format!("threshold {threshold}"))?;
        Ok(WireType::Routing { modules })
    }

    fn clusters(&self, centroids: TensorId) -> Check<WireType> {
        self.inputs(1)?;
        let width = self.rows(0)?;
        match self.graph.tensor(centroids).shape()[..] {
            [count, w] if count > 0 && w == width => Ok(WireType::Clusters { count }),
            _ => Err(format!("centroids must have shape [n, {width}]")),
        }
    }

    fn routing(&self, slot: usize) -> Check<usize> {
        match self.input(slot)? {
            WireType::Routing { modules } => Ok(modules),
            other => Err(format!("input {slot} is {other:?}, must be routing")),
        }
    }

    fn scar(&self, heads: usize) -> Check<WireType> {
        let (found, width) = (self.rows(0)?, self.hidden());
        need(found == 3 * width, || {
            format!("q|k|v is {found} wide, must be {}", 3 * width)
        })?;
        self.routing(1)?;
        if self.node.inputs.len() > 2 {
            let clusters = self.input(2)?;
            need(matches!(clusters, WireType::Clusters { .. }), || {
                format!("input 2 is {clusters:?}, must be clusters")
            })?;
            self.inputs(3)?;
        }
        need(heads > 0 && width % heads == 0, || {
            format!("{heads} heads over {width}")
        })?;
        Ok(WireType::Rows { width })
    }

    fn activate(&self, gated: bool) -> Check<WireType> {
        self.inputs(1)?;
        let (wire, wide) = self.floats(0)?;
        need(!gated || wide % 2 == 0, || {
            format!("gate and up of odd width {wide}")
        })?;
        Ok(wire(if gated { wide / 2 } else { wide }))
    }

    fn add(&self) -> Check<WireType> {
        self.inputs(2)?;
        let (a, b) = (self.rows(0)?, self.rows(1)?);
        need(a == b, || format!("adds rows of {a} and of {b}"))?;
        Ok(WireType::Rows { width: a })
    }

    fn combine(&self, base: bool) -> Check<WireType> {
        let modules = self.routing(0)?;
        let width = self.hidden();
        let first = 1 + usize::from(base);
        let given = self.node.inputs.len().saturating_sub(first);
        need(self.node.inputs.len() >= first, || "has no base".to_owned())?;
        need(given <= modules, || {
            format!("combines {given} of {modules} modules")
        })?;
        for slot in 1..self.node.inputs.len() {
            let found = self.rows(slot)?;
            need(found == width, || {
                format!("input {slot} is {found} wide, must be {width}")
            })?;
        }
        self.combined_guards(base, first)?;
        Ok(WireType::Rows { width })
    }

    /// The base is there always or as a fallback, each module exactly where it fired; modules ascend.
    fn combined_guards(&self, base: bool, first: usize) -> Check<()> {
        let routing = self.node.inputs[0];
        if base {
            let guard = self.graph.node(self.node.inputs[1]).guard;
            let fits = matches!(guard, Guard::Always) || guard == (Guard::Fallback { routing });
            need(fits, || format!("its base is guarded by {guard:?}"))?;
            let gated = self.graph.node(routing).op.gates_base();
            need(!gated || guard == Guard::Always, || {
                "its base has a gate, but is no sum's on every row".to_owned()
            })?;
        }
        let mut before = None;
        for input in &self.node.inputs[first..] {
            let guard = self.graph.node(*input).guard;
            let module = match guard {
                Guard::Module {
                    routing: own,
                    module,
                } if own == routing => Some(module),
                _ => None,
            };
            need(module.is_some() && module > before, || {
                format!("the output of a module is guarded by {guard:?}, behind module {before:?}")
            })?;
            before = module;
        }
        Ok(())
    }

    fn select(&self, pooling: &[Pooling]) -> Check<WireType> {
        self.inputs(1)?;
        let texts = match self.graph.facts().task {
            Task::CausalLm | Task::TokenClassification => false,
            Task::SequenceClassification | Task::Embedding => true,
        };
        need(texts != pooling.is_empty(), || {
            "selects the rows of another task".to_owned()
        })?;
        let width = self.rows(0)? * pooling.len().max(1);
        Ok(WireType::Outputs { width })
    }

    fn outputs(&self) -> Check<WireType> {
        self.inputs(1)?;
        match self.input(0)? {
            WireType::Outputs { width } => Ok(WireType::Outputs { width }),
            other => Err(format!("input 0 is {other:?}, must be outputs")),
        }
    }

    fn output(&self) -> Check<WireType> {
        self.inputs(1)?;
        let facts = self.graph.facts();
        let want = match facts.task {
            Task::CausalLm => facts.vocab_size,
            Task::SequenceClassification | Task::TokenClassification => facts.labels.len(),
            Task::Embedding => facts.embedding,
        };
        match self.input(0)? {
            WireType::Outputs { width } if width == want => Ok(WireType::Outputs { width }),
            other => Err(format!("gives {other:?}, must be outputs of width {want}")),
        }
    }

    /// A guard names a router before it, and only `Combine` reads across guards.
    fn guarded(&self) -> Check<()> {
        if let Guard::Module { routing, .. } | Guard::Fallback { routing } = self.node.guard {
            let before = self.wires.get(routing.index());
            let modules = match before {
                Some(WireType::Routing { modules }) => *modules,
                _ => return Err(format!("is guarded by {routing}, which is not a router")),
            };
            if let Guard::Module { module, .. } = self.node.guard {
                let fits = (module as usize) < modules;
                need(fits, || {
                    format!("is guarded by module {module} of {modules}")
                })?;
            }
        }
        if self.node.op.reads_across_guards() {
            return Ok(());
        }
        for input in &self.node.inputs {
            need(*input < self.id, || {
                format!("reads {input}, which does not come before it")
            })?;
            let guard = self.graph.node(*input).guard;
            need(
                matches!(guard, Guard::Always) || guard == self.node.guard,
                || format!("reads {input}, which is computed on other rows only"),
            )?;
        }
        Ok(())
    }
}
