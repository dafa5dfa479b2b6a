//! Graphs from a few words, records from rows, and checkpoints of `examples/checkpoints`.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::graph::{Gates, Graph, Score, Site, Typed};
use crate::import::{Findings, config, gem};
use crate::pipeline::{LoadedCheckpoint, load};
use crate::reference::{ClusterIds, Decisions, RouterRule, RoutingRecords, SiteRouting};

/// A decoder over the domains `law "x"` and `stem`, routed in these sites, with SCAR and four clusters.
pub fn graph(sites: &[&str]) -> Graph<Typed> {
    let layers: Vec<usize> = (0..2)
        .filter(|l| sites.contains(&format!("layers.{l}").as_str()))
        .collect();
    let mut config = json!({
        "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"],
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "vocab_size": 50, "max_position_embeddings": 300,
        "hidden_act": "silu", "mlp_gated": true, "norm": "rmsnorm", "norm_eps": 1e-5, "norm_position": "pre",
        "position_embedding": "rope", "tie_word_embeddings": true,
    });
    if !sites.is_empty() {
        config["domains"] = json!(["law \"x\"", "stem"]);
        let places = if sites.contains(&"final") {
            json!("final")
        } else {
            json!(layers)
        };
        config["router"] = json!({"layers": places, "score": "softmax", "top_k": 2, "threshold": 0.3,
            "renormalize": true, "clusters": 4});
        config["scar"] = json!({"heads": 2, "mask": "cluster_or_domain", "residual": true});
        config["modules"] = json!({"kind": "mlp", "intermediate_size": 32});
        config["general_path"] = json!("fallback");
    }
    let mut findings = Findings::default();
    let (read, _) = config::read(config.as_object().unwrap(), &mut findings);
    let read = read.unwrap_or_else(|| panic!("{findings:?}"));
    crate::typing::infer(gem::graph(&read)).unwrap()
}

/// What is decided for one token.
#[derive(Clone)]
pub struct Row {
    p: Vec<f32>,
    fired: Vec<bool>,
    cluster: u32,
}

impl Row {
    pub fn new(p: &[f32], fired: &[usize], cluster: u32) -> Self {
        Self {
            p: p.to_vec(),
            fired: (0..p.len()).map(|m| fired.contains(&m)).collect(),
            cluster,
        }
    }

    fn domain(&self) -> u32 {
        let best = crate::metrics::argmax(&self.p);
        let none = self.p.len();
        (if self.fired.contains(&true) {
            best
        } else {
            none
        }) as u32
    }
}

/// The record of a layer.
pub fn site(layer: u32, rows: &[Row]) -> (Site, SiteRouting) {
    let rule = RouterRule {
        score: Score::Softmax,
        top_k: 2,
        threshold: 0.3,
        gates: Gates::plain(true),
    };
    let decisions = Decisions {
        select_bias: Vec::new(),
        modules: rows[0].p.len(),
        rule,
        p: rows.iter().flat_map(|r| r.p.clone()).collect(),
        fired: rows.iter().flat_map(|r| r.fired.clone()).collect(),
        domain: rows.iter().map(Row::domain).collect(),
    };
    let clusters = ClusterIds {
        count: 4,
        ids: rows.iter().map(|r| r.cluster).collect(),
        margins: vec![f32::INFINITY; rows.len()],
    };
    let routing = SiteRouting {
        decisions: Arc::new(decisions),
        clusters: Some(Arc::new(clusters)),
    };
    (Site::Layer(layer), routing)
}

pub fn records(sites: &[(Site, SiteRouting)]) -> RoutingRecords {
    let mut records = RoutingRecords::default();
    for (site, routing) in sites {
        records.insert(*site, routing.clone());
    }
    records
}

/// A checkpoint of `examples/checkpoints`.
pub fn checkpoint(name: &str) -> LoadedCheckpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    load(&folder.join(name)).unwrap()
}

/// Ids below the tiny checkpoints' vocabularies.
pub fn tokens(n: usize, seed: usize) -> Vec<u32> {
    let id = |i: usize| ((i * 31 + seed * 17 + i * i * 7) % 250) as u32;
    (0..n).map(id).collect()
}

pub fn near(found: Option<f64>, want: f64) {
    let found = found.unwrap();
    assert!((found - want).abs() < 1e-12, "{found} is not {want}");
}
