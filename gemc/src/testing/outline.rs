//! A typed graph with formats -> lines that say what is computed, in words of the model. Nothing of the lowering is in
//! them: neither kernels, nor where things lie in memory.

use std::fmt::Write as _;

use crate::graph::{
    Gates, Graph, Guard, Node, NodeId, Op, Pooling, QkNormOver, Task, TensorId, Typed, Unit,
    WireType, attention_scale,
};
use crate::import::shown;
use crate::pipeline::LoadedCheckpoint;
use crate::plan::{BitPlan, kv};
use crate::target::Target;

/// The text.
pub fn text(loaded: &LoadedCheckpoint, plan: &BitPlan, target: &Target) -> String {
    let graph = &loaded.graph;
    let mut out = facts(loaded, plan, target);
    out.push_str("\nphases\n");
    for (id, node) in graph.topo() {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {}", phase(graph, id, node).trim_end());
    }
    out.push_str("\nquantised tensors\n");
    for unit in graph.units().iter() {
        let _ = writeln!(out, "  {}", quantised(unit, plan));
    }
    out.push_str("\nother tensors, as f32\n");
    for (id, tensor) in graph.tensors() {
        if !is_quantised(graph, id) {
            let shape = shape(tensor.shape());
            let _ = writeln!(out, "  {}  {shape}", shown(&tensor.path));
        }
    }
    out
}

fn facts(loaded: &LoadedCheckpoint, plan: &BitPlan, target: &Target) -> String {
    let (graph, facts) = (&loaded.graph, loaded.graph.facts());
    let task = match facts.task {
        Task::CausalLm => "causal language model",
        Task::SequenceClassification => "classifier of texts",
        Task::TokenClassification => "classifier of tokens",
        Task::Embedding => "encoder of texts",
    };
    let units = graph.units().iter();
    let bytes: u64 = units
        .map(|unit| unit.shape.bytes(plan.codec(unit.id)))
        .sum();
    let mut out = format!(
        "{task}, width {}, {} tokens, {} positions\n",
        facts.hidden_size, facts.vocab_size, facts.max_positions
    );
    for (what, names) in [("domains", &facts.domains), ("labels", &facts.labels)] {
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|name| shown(name)).collect();
            let _ = writeln!(out, "{what}: {}", names.join(", "));
        }
    }
    let kv::Sizes {
        per_position,
        rings,
    } = kv::sizes(graph, plan.kv());
    let rings = match rings {
        0 => String::new(),
        bytes => format!(", {bytes} bytes for windows"),
    };
    let _ = writeln!(out, "checkpoint {}", loaded.checkpoint.content_hash());
    let _ = writeln!(out, "target {}", target.name);
    let _ = writeln!(out, "{bytes} bytes of quantised tensors");
    let _ = writeln!(
        out,
        "keys and values as {}: {per_position} bytes for a position{rings}",
        plan.kv().name()
    );
    out
}

/// Where it stands, what it does, what it gives.
fn phase(graph: &Graph<Typed>, id: NodeId, node: &Node) -> String {
    let mut line = format!("{}  {}", node.site, node.op.name());
    let _ = write!(
        line,
        "{}  {}  {}",
        details(graph, &node.op),
        shown(&node.origin),
        wire(graph.wire(id))
    );
    match node.guard {
        Guard::Always => {}
        Guard::Module { module, .. } => {
            let _ = write!(
                line,
                "  where {} fires",
                shown(&graph.facts().domains[module as usize])
            );
        }
        Guard::Fallback { .. } => line.push_str("  where nothing fires"),
    }
    line
}

/// What an operation does beside its name: everything that changes its results.
fn details(graph: &Graph<Typed>, op: &Op) -> String {
    match op {
        Op::Embed { scale, .. } if *scale != 1.0 => format!(" times {scale:?}"),
        Op::Softcap { cap } => format!(" at {cap:?}"),
        Op::Tokens
        | Op::Embed { .. }
        | Op::Clusters { .. }
        | Op::Add
        | Op::Normalize
        | Op::Output => String::new(),
        Op::Norm {
            kind,
            eps,
            weight: _,
            bias: _,
        } => format!(" {kind:?}, eps {eps:?}"),
        Op::ShortConv { weight, bias } => {
            let shape = graph.tensor(*weight).shape();
            let bias = if bias.is_some() { ", bias" } else { "" };
            format!(" of {} taps{bias}", shape[0])
        }
        Op::Linear { parts } => {
            let shape = graph.tensor(parts[0].weight).shape();
            let bias = if parts.iter().any(|part| part.bias.is_some()) {
                ", bias"
            } else {
                ""
            };
            format!(" of {} columns{bias}", shape[1])
        }
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
            let mut more = String::new();
            let mut say = |words: String| more.push_str(&words);
            if *scale != attention_scale(*head_dim as usize) {
                say(format!(", scores times {scale:?}"));
            }
            window.map(|window| say(format!(", a window of {window}")));
            softcap.map(|cap| say(format!(", scores capped at {cap:?}")));
            if let Some(rope) = rope {
                say(format!(
                    ", rope of {} on {} columns",
                    rope.words,
                    rope.width()
                ));
                if rope.factor != 1.0 {
                    say(format!(", times {:?}", rope.factor));
                }
            }
            if let Some(norm) = qk_norm {
                let over = match norm.over {
                    QkNormOver::HeadBeforeRope => "",
                    QkNormOver::HeadAfterRope => " once rotated",
                    QkNormOver::AllHeads => " over all heads",
                };
                say(format!(", norms of q and k{over}, eps {:?}", norm.eps));
            }
            sinks.map(|_| say(", sinks".to_owned()));
            format!(
                " of {heads} heads, {kv_heads} for keys, {head_dim} wide, {}{more}",
                seen(*causal)
            )
        }
        Op::Router {
            score,
            top_k,
            threshold,
            gates,
            select_bias,
            base_gate,
            weight: _,
            bias: _,
        } => {
            let mut more = String::new();
            if gates.renormalize {
                more.push_str(", gates sum to 1");
            }
            if *gates != Gates::plain(gates.renormalize) {
                let _ = write!(
                    more,
                    ", sum plus {:?}, at least {:?}, gates times {:?}",
                    gates.added, gates.least, gates.scale
                );
            }
            if select_bias.is_some() {
                more.push_str(", chosen with a bias");
            }
            if base_gate.is_some() {
                more.push_str(", base gated");
            }
            format!(" by {score:?}, at most {top_k} above {threshold}{more}")
        }
        Op::ScarAttention {
            heads,
            mask,
            causal,
        } => {
            format!(" of {heads} heads, {mask:?}, {}", seen(*causal))
        }
        Op::Activate { act, gated } => format!(" {act:?}{}", if *gated { ", gated" } else { "" }),
        Op::Combine { base } => (if *base { " on a base" } else { "" }).to_owned(),
        Op::SelectOutputs { pooling } => match pooling.as_slice() {
            [] => ": those asked for".to_owned(),
            [Pooling::First] => ": the first".to_owned(),
            ways => {
                let ways: Vec<String> = ways.iter().map(|way| format!("{way:?}")).collect();
                format!(": {} of the text", ways.join(" and ")).to_lowercase()
            }
        },
    }
}

fn seen(causal: bool) -> &'static str {
    if causal { "causal" } else { "both ways" }
}

fn wire(wire: WireType) -> String {
    match wire {
        WireType::Ids => "ids".to_owned(),
        WireType::Rows { width } => format!("[rows, {width}]"),
        WireType::Outputs { width } => format!("[outputs, {width}]"),
        WireType::Routing { modules } => format!("routing over {modules}"),
        WireType::Clusters { count } => format!("cluster of {count}"),
    }
}

fn quantised(unit: &Unit, plan: &BitPlan) -> String {
    let codec = plan.codec(unit.id);
    let planned = plan.planes(unit.id).is_ok_and(|planes| planes.is_some());
    format!(
        "{}  {} x {}  {} inputs {}  {} bytes{}",
        shown(&unit.name),
        unit.shape.rows(),
        unit.shape.cols,
        codec.name(),
        plan.activations(unit.id).name(),
        unit.shape.bytes(codec),
        if planned { "  rounded by the plan" } else { "" }
    )
}

/// Whether a tensor is of a unit.
fn is_quantised(graph: &Graph<Typed>, tensor: TensorId) -> bool {
    let mut nodes = graph.units().iter().flat_map(|unit| &unit.nodes);
    nodes.any(|id| match &graph.node(*id).op {
        Op::Embed { token, .. } => *token == tensor,
        Op::Linear { parts } => parts.iter().any(|part| part.weight == tensor),
        _ => false,
    })
}

fn shape(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    sizes.join(" x ")
}
