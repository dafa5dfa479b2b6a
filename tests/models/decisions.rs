//! What the kernels decided -> whether that is right: p against a product in f64 of the executor's rows, what fired exactly
//! by the rule from the kernels' own p, and the cluster by distances in f64.

use gemc::graph::{Node, NodeId, Op, Score, TensorId};
use gemc::pipeline::LoadedCheckpoint;
use gemc::reference::{
    Activations, Batch, Decisions, OutputRows, Reference, RoutingRecords, RoutingSource, RunOptions,
};
use gemc::tensors::TensorSource;

use crate::check::BEYOND;
use crate::model::Model;

/// How far p may be from that of the executor.
const P: f64 = 1e-3;

/// How much farther than the nearest centroid, as a share, the chosen one may be.
const DISTANCE: f64 = 1e-3;

/// What a site decides by, a row after the other: logits of a router, distances of clusters.
type Values = Vec<Vec<f64>>;

/// Holds every decision against the executor's rows. Where one is wrong by itself, it may be as far off as changes of the
/// weights lead that are no larger than roundings: `disturbed` gives executors with such.
///
/// # Errors
/// The first that is wrong.
pub fn check(
    model: &Model,
    loaded: &LoadedCheckpoint,
    reference: &Reference,
    disturbed: impl FnOnce() -> Result<Vec<Reference>, String>,
    found: &RoutingRecords,
) -> Result<(), String> {
    let sites = values_of(model, loaded, reference, found)?;
    if judged(loaded, &sites, &[], found).is_ok() {
        return Ok(());
    }
    let disturbed = disturbed()?;
    let others = disturbed
        .iter()
        .map(|other| values_of(model, loaded, other, found));
    let others: Vec<Vec<Values>> = others.collect::<Result<_, _>>()?;
    judged(loaded, &sites, &others, found)
}

/// The nodes that decide.
fn deciding(loaded: &LoadedCheckpoint) -> Vec<(NodeId, Node)> {
    let nodes = loaded.graph.topo();
    nodes
        .filter(|(_, n)| matches!(n.op, Op::Router { .. } | Op::Clusters { .. }))
        .map(|(id, n)| (id, n.clone()))
        .collect()
}

/// What each of them decides by, from the executor's rows.
fn values_of(
    model: &Model,
    loaded: &LoadedCheckpoint,
    reference: &Reference,
    found: &RoutingRecords,
) -> Result<Vec<Values>, String> {
    let deciding = deciding(loaded);
    let capture: Vec<NodeId> = deciding.iter().map(|(_, n)| n.inputs[0]).collect();
    let options = RunOptions {
        outputs: OutputRows::None,
        routing: RoutingSource::Forced(found),
        activations: Activations::Rounded,
        capture: &capture,
        without_logits: false,
    };
    let run = reference.run(&Batch::one(&model.ids()), &options);
    let run = run.map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    for (_, node) in &deciding {
        let rows = run.captured.rows(node.inputs[0]);
        let rows = rows.ok_or_else(|| format!("{}: no rows", node.site))?;
        let rule = Rule::of(loaded, node);
        let of = |row| match &rule {
            Rule::Router { weight, bias } => products(weight, bias, rows.row(row)),
            Rule::Clusters { centroids } => distances(centroids, rows.row(row)),
        };
        all.push((0..rows.rows()).map(of).collect());
    }
    Ok(all)
}

/// Judges decisions by what the sites decide by; `others` is the same of executors as good.
fn judged(
    loaded: &LoadedCheckpoint,
    sites: &[Values],
    others: &[Vec<Values>],
    found: &RoutingRecords,
) -> Result<(), String> {
    for (at, ((_, node), values)) in deciding(loaded).iter().zip(sites).enumerate() {
        let site = node.site;
        let record = found.get(site);
        let record = record.ok_or_else(|| format!("{site}: no decisions"))?;
        for (row, values) in values.iter().enumerate() {
            let others: Vec<&[f64]> = others.iter().map(|all| &*all[at][row]).collect();
            let right = match node.op {
                Op::Router { .. } => decided(&record.decisions, row, values, &others),
                _ => {
                    let chosen = record.clusters.as_ref().map(|c| c.ids[row]);
                    nearest(values, chosen, BEYOND * farthest(values, &others))
                }
            };
            right.map_err(|e| format!("{site}, row {row}: {e}"))?;
        }
    }
    Ok(())
}

/// How far any of some values is at most from its like.
fn farthest(values: &[f64], others: &[&[f64]]) -> f64 {
    let pairs = others.iter().flat_map(|other| values.iter().zip(*other));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The values that a node decides by.
enum Rule {
    Router { weight: Vec<f32>, bias: Vec<f32> },
    Clusters { centroids: Vec<f32> },
}

impl Rule {
    fn of(loaded: &LoadedCheckpoint, node: &Node) -> Self {
        match node.op {
            Op::Router { weight, bias, .. } => Self::Router {
                weight: values(loaded, weight),
                bias: bias.map(|b| values(loaded, b)).unwrap_or_default(),
            },
            Op::Clusters { centroids } => Self::Clusters {
                centroids: values(loaded, centroids),
            },
            _ => unreachable!("only deciding nodes are asked"),
        }
    }
}

/// The rows of a matrix, or the values of a vector.
fn values(loaded: &LoadedCheckpoint, tensor: TensorId) -> Vec<f32> {
    let shape = loaded.graph.tensor(tensor).shape();
    let mut out = vec![0.0; shape.iter().product()];
    let weights = loaded.checkpoint.weights();
    weights.read_rows(tensor, 0..shape[0], &mut out);
    out
}

fn products(weight: &[f32], bias: &[f32], x: &[f32]) -> Vec<f64> {
    let product = |row: &[f32]| -> f64 {
        let terms = row.iter().zip(x);
        terms.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()
    };
    let mut sums: Vec<f64> = weight.chunks(x.len()).map(product).collect();
    let biased = sums.iter_mut().zip(bias);
    biased.for_each(|(sum, bias)| *sum += f64::from(*bias));
    sums
}

fn distances(centroids: &[f32], x: &[f32]) -> Vec<f64> {
    let distance = |c: &[f32]| -> f64 {
        let terms = c.iter().zip(x).map(|(c, x)| f64::from(*c) - f64::from(*x));
        terms.map(|d| d * d).sum()
    };
    centroids.chunks(x.len()).map(distance).collect()
}

fn nearest(distances: &[f64], chosen: Option<u32>, more: f64) -> Result<(), String> {
    let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let found = chosen.and_then(|c| distances.get(c as usize));
    match found {
        Some(found) if *found <= least * (1.0 + DISTANCE) + 1e-6 + more => Ok(()),
        _ => Err(format!("cluster {chosen:?} of distances {distances:?}")),
    }
}

fn decided(found: &Decisions, row: usize, logits: &[f64], others: &[&[f64]]) -> Result<(), String> {
    let p = scored(found.rule.score, logits);
    let others = others.iter().map(|logits| scored(found.rule.score, logits));
    let others: Vec<Vec<f64>> = others.collect();
    let others: Vec<&[f64]> = others.iter().map(|p| &**p).collect();
    let limit = P.max(BEYOND * farthest(&p, &others));
    let kernels = found.p_row(row);
    let mut pairs = p.iter().zip(kernels);
    if !pairs.all(|(a, b)| (a - f64::from(*b)).abs() <= limit) {
        return Err(format!("p is {kernels:?}, not {p:?}"));
    }
    // Ties go to the lower index: the sort is stable.
    let mut order: Vec<usize> = (0..kernels.len()).collect();
    order.sort_by(|a, b| kernels[*b].total_cmp(&kernels[*a]));
    order.truncate(found.rule.top_k);
    order.retain(|m| kernels[*m] > found.rule.threshold);
    let domain = order.first().map_or(found.modules, |m| *m) as u32;
    let fired: Vec<bool> = (0..kernels.len()).map(|m| order.contains(&m)).collect();
    if found.fired_row(row) != fired || found.domain[row] != domain {
        return Err(format!(
            "from p {kernels:?} fired {:?}, domain {}",
            found.fired_row(row),
            found.domain[row]
        ));
    }
    Ok(())
}

fn scored(score: Score, logits: &[f64]) -> Vec<f64> {
    match score {
        Score::Sigmoid => logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        Score::Softmax => {
            let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = logits.iter().map(|x| (x - most).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.iter().map(|p| p / sum).collect()
        }
    }
}
