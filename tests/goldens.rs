//! `golden.safetensors` -> ids, logits and routing of PyTorch runs, in the executor's own types.
//!
//! Names are `{i}.ids`, `{i}.logits` (of the last positions, or of the labels) and `{i}.{site}.p`, `.fired`,
//! `.domain`, `.cluster` with site `layers.{l}` or `final`.

use std::path::Path;
use std::sync::Arc;

use gemc::graph::{Graph, Op, Site, Typed, WireType};
use gemc::reference::{ClusterIds, Decisions, RouterRule, RoutingRecords, SiteRouting};
use safetensors::{Dtype, SafeTensors};

/// One run of PyTorch in f32 on the saved weights.
#[derive(Debug)]
pub struct Golden {
    /// Token ids that the model was run on.
    pub ids: Vec<u32>,
    /// Rows of the last positions; one row of label logits for a classifier.
    pub logits: Vec<Vec<f32>>,
    /// What every routed site decided.
    pub routing: RoutingRecords,
}

/// Reads all goldens of a checkpoint folder; `graph` is its model.
///
/// # Errors
/// When the file is not there or does not fit the model.
pub fn read(dir: &Path, graph: &Graph<Typed>) -> Result<Vec<Golden>, String> {
    let path = dir.join("golden.safetensors");
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    let cases = (0..).take_while(|i| file.tensor(&format!("{i}.ids")).is_ok());
    cases.map(|i| golden(&file, i, graph)).collect()
}

fn golden(file: &SafeTensors<'_>, i: usize, graph: &Graph<Typed>) -> Result<Golden, String> {
    let mut routing = RoutingRecords::default();
    for (id, node) in graph.topo() {
        if let Op::Router {
            score,
            top_k,
            threshold,
            gates,
            ..
        } = &node.op
        {
            let rule = RouterRule {
                score: *score,
                top_k: *top_k as usize,
                threshold: *threshold,
                gates: *gates,
            };
            let modules = graph.facts().domains.len();
            routing.insert(
                node.site,
                site(file, &format!("{i}.{}", node.site), rule, modules)?,
            );
        }
        if let WireType::Clusters { count } = graph.wire(id) {
            let ids = integers(file, &format!("{i}.{}.cluster", node.site))?;
            add_clusters(&mut routing, node.site, ids, count)?;
        }
    }
    let (shape, logits) = floats(file, &format!("{i}.logits"))?;
    let width = shape.last().copied().unwrap_or(1).max(1);
    Ok(Golden {
        ids: integers(file, &format!("{i}.ids"))?,
        logits: logits.chunks(width).map(<[f32]>::to_vec).collect(),
        routing,
    })
}

fn site(
    file: &SafeTensors<'_>,
    prefix: &str,
    rule: RouterRule,
    modules: usize,
) -> Result<SiteRouting, String> {
    let fired = bytes(file, &format!("{prefix}.fired"), &[Dtype::U8, Dtype::BOOL])?;
    Ok(SiteRouting {
        decisions: Arc::new(Decisions {
            select_bias: Vec::new(),
            modules,
            rule,
            p: floats(file, &format!("{prefix}.p"))?.1,
            fired: fired.iter().map(|byte| *byte != 0).collect(),
            domain: integers(file, &format!("{prefix}.domain"))?,
        }),
        clusters: None,
    })
}

fn add_clusters(
    routing: &mut RoutingRecords,
    site: Site,
    ids: Vec<u32>,
    count: usize,
) -> Result<(), String> {
    let record = routing
        .get(site)
        .ok_or("a cluster node comes after its router")?;
    let clusters = ClusterIds {
        count,
        margins: vec![f32::INFINITY; ids.len()],
        ids,
    };
    let record = SiteRouting {
        clusters: Some(Arc::new(clusters)),
        ..record.clone()
    };
    routing.insert(site, record);
    Ok(())
}

fn bytes<'a>(file: &SafeTensors<'a>, name: &str, allowed: &[Dtype]) -> Result<&'a [u8], String> {
    let tensor = file
        .tensor(name)
        .map_err(|e| format!("golden {name}: {e}"))?;
    if allowed.contains(&tensor.dtype()) {
        Ok(tensor.data())
    } else {
        Err(format!(
            "golden {name} is {:?}, expected {allowed:?}",
            tensor.dtype()
        ))
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> + '_ {
    bytes
        .chunks_exact(4)
        .map(|word| [word[0], word[1], word[2], word[3]])
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
    let values = words(bytes(file, name, &[Dtype::F32])?)
        .map(f32::from_le_bytes)
        .collect();
    let tensor = file
        .tensor(name)
        .map_err(|e| format!("golden {name}: {e}"))?;
    Ok((tensor.shape().to_vec(), values))
}

fn integers(file: &SafeTensors<'_>, name: &str) -> Result<Vec<u32>, String> {
    let values = words(bytes(file, name, &[Dtype::I32])?).map(i32::from_le_bytes);
    let unsigned = |value| u32::try_from(value).map_err(|_| format!("golden {name} holds {value}"));
    values.map(unsigned).collect()
}
