//! A typed graph -> Graphviz's DOT, a box per node inside a frame per site: to be read as text or drawn.

use std::fmt::Write as _;

use super::{Graph, Guard, Node, NodeId, Op, Site, Typed, WireType};

/// The text: nodes in evaluation order, each with its operation, origin and wire type.
#[must_use]
pub fn dot(graph: &Graph<Typed>) -> String {
    let mut out = String::from("digraph model {\n  node [shape=box, fontname=monospace]\n");
    let mut site: Option<Site> = None;
    for (id, node) in graph.topo() {
        if site != Some(node.site) {
            if site.is_some() {
                out.push_str("  }\n");
            }
            let _ = writeln!(
                out,
                "  subgraph \"cluster_{0}\" {{\n    label=\"{0}\"",
                node.site
            );
            site = Some(node.site);
        }
        let label = label(graph, id, node);
        let _ = writeln!(out, "    {id} [label=\"{label}\"{}]", style(node.guard));
    }
    out.push_str("  }\n");
    for (id, node) in graph.topo() {
        for input in &node.inputs {
            let _ = writeln!(out, "  {input} -> {id}");
        }
    }
    out.push_str("}\n");
    out
}

fn label(graph: &Graph<Typed>, id: NodeId, node: &Node) -> String {
    let mut label = format!("{id} {}", node.op.name());
    if let Op::Linear { parts } = &node.op {
        let shape = graph.tensor(parts[0].weight).shape();
        let _ = write!(label, " {} -> {}", shape[1], width(graph.wire(id)));
    }
    let _ = write!(label, "\\n{}", escaped(&node.origin));
    let _ = write!(label, "\\n{}", wire(graph.wire(id)));
    if let Guard::Module { routing, module } = node.guard {
        let domain = &graph.facts().domains[module as usize];
        let _ = write!(label, "\\nwhere {routing} fires {}", escaped(domain));
    }
    if let Guard::Fallback { routing } = node.guard {
        let _ = write!(label, "\\nwhere {routing} fires nothing");
    }
    label
}

fn width(wire: WireType) -> usize {
    match wire {
        WireType::Rows { width } | WireType::Outputs { width } => width,
        WireType::Ids | WireType::Routing { .. } | WireType::Clusters { .. } => 1,
    }
}

fn wire(wire: WireType) -> String {
    match wire {
        WireType::Ids => "ids".to_owned(),
        WireType::Rows { width } => format!("f32 [rows, {width}]"),
        WireType::Outputs { width } => format!("f32 [outputs, {width}]"),
        WireType::Routing { modules } => format!("routing over {modules}"),
        WireType::Clusters { count } => format!("cluster of {count}"),
    }
}

fn style(guard: Guard) -> &'static str {
    match guard {
        Guard::Always => "",
        Guard::Module { .. } | Guard::Fallback { .. } => ", style=dashed",
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
