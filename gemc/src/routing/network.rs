//! [`Routes`] -> the routing graph: a node per site and state, an edge where tokens go from one to the next; and that
//! graph -> Graphviz's DOT.

use std::fmt::Write as _;

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef as _;

use super::table::Routes;

/// What tokens can be in at one site.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteNode {
    /// `layers.3` or `final`.
    pub site: String,
    /// Index of the state: a module, or D.
    pub state: usize,
    /// Name of the module, `general` or `none`.
    pub name: String,
    /// Tokens whose choice it is.
    pub tokens: u64,
    /// Their share; 0 without text.
    pub share: f64,
}

/// Tokens that go from one state to a state of the next site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouteEdge {
    /// Tokens that went this way.
    pub tokens: u64,
    /// Share of the tokens of the earlier state.
    pub probability: f64,
}

/// The routing graph over all text: acyclic, nodes site by site, each with all of its D + 1 states.
pub type RouteGraph = DiGraph<RouteNode, RouteEdge>;

impl Routes {
    /// The routing graph.
    #[must_use]
    pub fn graph(&self) -> RouteGraph {
        let mut graph = RouteGraph::new();
        let mut columns: Vec<Vec<NodeIndex>> = Vec::new();
        for site in &self.sites {
            let states = site.all.states.iter().enumerate();
            let nodes = states.map(|(state, &tokens)| RouteNode {
                site: site.site.clone(),
                state,
                name: self.state_name(site, state),
                tokens,
                share: tokens as f64 / site.all.tokens.max(1) as f64,
            });
            columns.push(nodes.map(|node| graph.add_node(node)).collect());
        }
        for (pair, transition) in columns.windows(2).zip(&self.transitions) {
            for edge in &transition.all.edges {
                let weight = RouteEdge {
                    tokens: edge.tokens,
                    probability: edge.probability,
                };
                graph.add_edge(pair[0][edge.from], pair[1][edge.to], weight);
            }
        }
        graph
    }
}

/// The text: a frame per site from left to right, edges as wide as they are probable.
#[must_use]
pub fn dot(graph: &RouteGraph) -> String {
    let mut out = String::from(
        "digraph routes {\n  rankdir=LR\n  node [shape=ellipse, fontname=monospace]\n",
    );
    let mut site: Option<&str> = None;
    for index in graph.node_indices() {
        let node = &graph[index];
        if site != Some(&node.site) {
            if site.is_some() {
                out.push_str("  }\n");
            }
            let _ = writeln!(
                out,
                "  subgraph \"cluster_{0}\" {{\n    label=\"{0}\"",
                node.site
            );
            site = Some(&node.site);
        }
        let _ = writeln!(
            out,
            "    r{} [label=\"{}\\n{} tokens, {:.1} %\"]",
            index.index(),
            escaped(&node.name),
            node.tokens,
            100.0 * node.share
        );
    }
    if site.is_some() {
        out.push_str("  }\n");
    }
    for edge in graph.edge_references() {
        let weight = edge.weight();
        let _ = writeln!(
            out,
            "  r{} -> r{} [label=\"{:.3}\", penwidth={:.2}]",
            edge.source().index(),
            edge.target().index(),
            weight.probability,
            0.25 + 4.0 * weight.probability
        );
    }
    out.push_str("}\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
