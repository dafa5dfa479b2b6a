//! A model's graph -> its sizes, its structure in words, its routed places.

use super::{RoutedReport, ScarReport, Sizes};
use crate::graph::{
    Activation, Graph, Guard, Node, NodeId, NormKind, Op, Role, ScarMask, Score, Site, Untyped,
};

/// Sizes; where layers differ, the first one's.
pub fn sizes(graph: &Graph<Untyped>) -> Sizes {
    let facts = graph.facts();
    let layers = graph
        .starts()
        .filter(|(site, _)| matches!(site, Site::Layer(_)));
    let attention = graph.topo().find_map(|(_, node)| match node.op {
        Op::Attention {
            heads,
            kv_heads,
            head_dim,
            ..
        } => Some([heads, kv_heads, head_dim].map(|n| n as usize)),
        _ => None,
    });
    let [heads, kv_heads, head_dim] = attention.unwrap_or_default();
    let general = graph.topo().find_map(|(id, node)| match node.op {
        Op::Activate { .. } => mlp_width(graph, id, Role::General),
        _ => None,
    });
    Sizes {
        hidden_size: facts.hidden_size,
        num_hidden_layers: layers.count(),
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim,
        intermediate_size: general.unwrap_or(0),
        vocab_size: facts.vocab_size,
        max_position_embeddings: facts.max_positions,
    }
}

/// Width of the MLP around an activation, when its weights are for `role`.
fn mlp_width(graph: &Graph<Untyped>, activation: NodeId, role: Role) -> Option<usize> {
    let reader = *graph.consumers(activation).first()?;
    if graph.role(reader) != Some(role) {
        return None;
    }
    match &graph.node(reader).op {
        Op::Linear { parts } => Some(graph.tensor(parts[0].weight).shape()[1]),
        _ => None,
    }
}

/// Norms, positions and MLPs in words.
pub fn structure(graph: &Graph<Untyped>) -> String {
    let mut words = vec![norms(graph), positions(graph)];
    words.extend(mlp(graph));
    words.join(", ")
}

fn norms(graph: &Graph<Untyped>) -> String {
    let norms = || {
        graph
            .topo()
            .filter_map(|(_, node)| norm(node).map(|kind| (node, kind)))
    };
    let kind = norms().next().map(|(_, kind)| match kind {
        NormKind::Rms => "RMS norm",
        NormKind::Layer => "layer norm",
    });
    let in_layer = |node: &Node| matches!(node.site, Site::Layer(_));
    let of = |node: &Node| graph.node(node.inputs[0]);
    // What a layer adds is normed by itself: behind a map.
    let sandwich = norms().any(|(node, _)| in_layer(node) && of(node).op.name() == "linear");
    let before = graph.topo().any(|(id, node)| {
        let attends = |id: &NodeId| matches!(graph.node(*id).op, Op::Attention { .. });
        let projection = matches!(node.op, Op::Linear { .. }) && in_layer(node);
        projection && graph.consumers(id).iter().any(attends) && own_norm(graph, node)
    });
    let place = match (before, sandwich) {
        (true, true) => "before and after",
        (true, false) => "before",
        (false, _) => "after",
    };
    format!("{} {place} each block", kind.unwrap_or("no norm"))
}

/// Whether a map reads a norm that nothing else is added to.
fn own_norm(graph: &Graph<Untyped>, map: &Node) -> bool {
    let input = map.inputs[0];
    let added = |id: &NodeId| matches!(graph.node(*id).op, Op::Add);
    norm(graph.node(input)).is_some() && !graph.consumers(input).iter().any(added)
}

fn norm(node: &Node) -> Option<NormKind> {
    match node.op {
        Op::Norm { kind, .. } => Some(kind),
        _ => None,
    }
}

fn positions(graph: &Graph<Untyped>) -> String {
    let found = graph.topo().find_map(|(_, node)| match &node.op {
        Op::Embed {
            position: Some(_), ..
        } => Some("learned positions".to_owned()),
        Op::Attention {
            rope: Some(rope),
            head_dim,
            ..
        } => Some(format!(
            "rope of {}{}",
            rope.words,
            part(rope.width(), *head_dim as usize)
        )),
        _ => None,
    });
    found.unwrap_or_else(|| "no positions".to_owned())
}

fn mlp(graph: &Graph<Untyped>) -> Option<String> {
    graph.topo().find_map(|(_, node)| match node.op {
        Op::Activate { act, gated } => {
            let mlp = if gated { "gated" } else { "plain" };
            let act = match act {
                Activation::Silu => "silu",
                Activation::Gelu => "gelu",
                Activation::GeluTanh => "gelu_pytorch_tanh",
                Activation::Relu => "relu",
                Activation::Tanh => "tanh",
                Activation::ClampedSilu => "clamped silu",
            };
            Some(format!("{mlp} MLP with {act}"))
        }
        _ => None,
    })
}

/// Routed places in order.
pub fn routing(graph: &Graph<Untyped>) -> Vec<RoutedReport> {
    let mut places: Vec<RoutedReport> = Vec::new();
    for (id, node) in graph.topo() {
        match &node.op {
            Op::Router {
                score,
                top_k,
                threshold,
                gates,
                ..
            } => places.push(RoutedReport {
                site: node.site.to_string(),
                score: match score {
                    Score::Softmax => "softmax",
                    Score::Sigmoid => "sigmoid",
                },
                top_k: *top_k,
                threshold: *threshold,
                renormalize: gates.renormalize,
                modules: modules(graph, id),
                general_path: general_path(graph, id),
                scar: None,
            }),
            Op::ScarAttention { heads, mask, .. } => {
                if let Some(place) = places.last_mut() {
                    place.scar = Some(ScarReport {
                        mask: match mask {
                            ScarMask::ClusterOrFlag => "cluster_or_flag",
                            ScarMask::ClusterOrDomain => "cluster_or_domain",
                        },
                        heads: *heads,
                        clusters: clusters(graph, node),
                        residual: adds_back(graph, id),
                    });
                }
            }
            _ => {}
        }
    }
    places
}

/// What the first module of a router is.
fn modules(graph: &Graph<Untyped>, routing: NodeId) -> String {
    let nodes = graph.module_nodes(routing, 0);
    let mlp = nodes.iter().find_map(|id| match graph.node(*id).op {
        Op::Activate { .. } => mlp_width(graph, *id, Role::Module),
        _ => None,
    });
    let lora = nodes.iter().find_map(|id| match &graph.node(*id).op {
        Op::Linear { parts } => Some(graph.tensor(parts[0].weight).shape()[0]),
        _ => None,
    });
    match (mlp, lora) {
        (Some(width), _) => format!("mlp {width}"),
        (None, Some(rank)) => format!("lora {rank}"),
        (None, None) => "off".to_owned(),
    }
}

fn general_path(graph: &Graph<Untyped>, routing: NodeId) -> &'static str {
    if graph.node(routing).site == Site::Final {
        return "input";
    }
    let combined = graph.consumers(routing).iter().find_map(|id| {
        let node = graph.node(*id);
        matches!(node.op, Op::Combine { .. }).then_some(node)
    });
    // Where nothing is combined, there is the general path alone.
    let Some(combined) = combined else {
        return "always";
    };
    match (&combined.op, combined.inputs.get(1)) {
        (Op::Combine { base: true }, Some(base)) => match graph.node(*base).guard {
            Guard::Always => "always",
            _ => "fallback",
        },
        _ => "none",
    }
}

fn clusters(graph: &Graph<Untyped>, scar: &Node) -> usize {
    let clusters = scar.inputs.get(2).map(|id| &graph.node(*id).op);
    match clusters {
        Some(Op::Clusters { centroids }) => graph.tensor(*centroids).shape()[0],
        _ => 0,
    }
}

/// Whether x is added to what SCAR's last map gives.
fn adds_back(graph: &Graph<Untyped>, scar: NodeId) -> bool {
    let out = graph.consumers(scar).first();
    out.is_some_and(|out| {
        let readers = graph.consumers(*out).iter();
        readers.into_iter().any(|id| {
            let add = graph.node(*id);
            matches!(add.op, Op::Add) && add.inputs[1] == *out
        })
    })
}

/// How much of a head is rotated, unless all is.
fn part(width: usize, head_dim: usize) -> String {
    if width == head_dim {
        String::new()
    } else {
        format!(" on {width} of {head_dim} columns")
    }
}
