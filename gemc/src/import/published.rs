//! The state dict of the script published with the paper (`gem_trainer.py`) -> a GEM checkpoint: a BERT encoder, the rows of its
//! router, SCAR and a classifier.
//!
//! What the script computes and a checkpoint cannot say: clusters that k-means fits to every batch anew, and padding that SCAR
//! sees. Without either, tokens see each other when both are specialised, or neither is.

use std::borrow::Cow;
use std::path::Path;

use safetensors::tensor::Dtype;
use safetensors::{View, serialize_to_file};
use serde_json::{Value, json};

use super::error::{Finding, Findings, ImportError};
use super::files::{StoredType, TensorFiles, TensorPlace};
use crate::output::{OutputError, OutputFolder};

/// Heads of encoder and SCAR, which the script fixes and no tensor says.
const HEADS: usize = 12;
/// Probability above which a token is specialised.
const THRESHOLD: f64 = 0.65;
/// Layers at most.
const MOST_LAYERS: usize = 1024;

/// Beginnings of what the script keeps and no inference needs.
const UNUSED: &[(&str, &str)] = &[
    ("teacher.", "the teacher, which only training asks"),
    (
        "bert.bert.pooler.",
        "the pooler, whose output the script does not read",
    ),
    ("bert.bert.embeddings.position_ids", "positions are counted"),
    ("bert.bert.embeddings.token_type_ids", "types are zeros"),
];

/// Parts of an encoder layer: in the script, in a GEM checkpoint.
const LAYER: &[(&str, &str)] = &[
    ("attention.self.query", "self_attn.q_proj"),
    ("attention.self.key", "self_attn.k_proj"),
    ("attention.self.value", "self_attn.v_proj"),
    ("attention.output.dense", "self_attn.o_proj"),
    ("attention.output.LayerNorm", "post_attention_norm"),
    ("intermediate.dense", "general.up_proj"),
    ("output.dense", "general.down_proj"),
    ("output.LayerNorm", "output_norm"),
];

/// Tensors beside the layers.
const BESIDE: &[(&str, &str)] = &[
    (
        "bert.bert.embeddings.word_embeddings.weight",
        "model.embed_tokens.weight",
    ),
    (
        "bert.bert.embeddings.position_embeddings.weight",
        "model.position_embeddings.weight",
    ),
    (
        "bert.bert.embeddings.token_type_embeddings.weight",
        "model.token_type_embeddings.weight",
    ),
    (
        "bert.bert.embeddings.LayerNorm.weight",
        "model.embed_norm.weight",
    ),
    (
        "bert.bert.embeddings.LayerNorm.bias",
        "model.embed_norm.bias",
    ),
    ("router.W_r", "model.router.weight"),
    ("scar.qkv.weight", "model.scar.qkv.weight"),
    ("scar.qkv.bias", "model.scar.qkv.bias"),
    ("scar.out.weight", "model.scar.out.weight"),
    ("scar.out.bias", "model.scar.out.bias"),
    ("classifier.weight", "classifier.weight"),
    ("classifier.bias", "classifier.bias"),
];

/// What was made of a state dict.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Published {
    /// Encoder layers.
    pub layers: usize,
    /// Labels, which are the router's domains as well.
    pub labels: usize,
    /// Tensors that a GEM checkpoint has.
    pub tensors: usize,
    /// Tensors that were left out.
    pub left_out: usize,
}

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// The file is not the script's.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The folder cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Writes the GEM checkpoint of a state dict in a safetensors file to a new folder.
///
/// # Errors
/// When the file is none, or lacks a tensor of the script; when the folder cannot be written.
pub fn convert(file: &Path, out: &Path) -> Result<Published, PublishedError> {
    let files = open(file)?;
    let read = StateDict::read(&files)?;
    let config = read.config()?;
    let folder = OutputFolder::create(out)?;
    let write = || {
        let pretty = serde_json::to_vec_pretty(&config)?;
        std::fs::write(folder.path().join(super::CONFIG), pretty)?;
        let tensors = read.tensors.iter().map(|(name, found)| {
            (
                name,
                Stored {
                    files: &files,
                    found: *found,
                },
            )
        });
        serialize_to_file(tensors, None, &folder.path().join("model.safetensors"))
            .map_err(std::io::Error::other)
    };
    write().map_err(|e| folder.error("model.safetensors", e))?;
    folder.commit()?;
    Ok(Published {
        layers: read.layers,
        labels: read.shape("classifier.bias")[0],
        tensors: read.tensors.len(),
        left_out: read.left_out,
    })
}

/// Opens the file; one of PyTorch's own is told how to become one that is read.
fn open(file: &Path) -> Result<TensorFiles, ImportError> {
    let pickled = file.extension().is_some_and(|e| {
        ["pt", "pth", "bin", "ckpt"]
            .iter()
            .any(|known| e.eq_ignore_ascii_case(known))
    });
    if pickled {
        let what = "is a file of PyTorch, which may run code when it is read; convert it where it is trusted: python -c \"import sys, \
                    torch, safetensors.torch as s; s.save_file({k: v.contiguous().clone() for k, v in torch.load(sys.argv[1], \
                    map_location='cpu', weights_only=True).items()}, sys.argv[2])\" gem_model.pth gem_model.safetensors";
        let name = file.display().to_string();
        return Err(Finding::file(super::printable(&name), what)
            .allowed("a safetensors file")
            .into());
    }
    TensorFiles::single(file)
}

/// The script's tensors by the names of a GEM checkpoint.
struct StateDict<'f> {
    files: &'f TensorFiles,
    tensors: Vec<(String, TensorPlace)>,
    layers: usize,
    left_out: usize,
}

impl<'f> StateDict<'f> {
    fn read(files: &'f TensorFiles) -> Result<Self, ImportError> {
        let mut findings = Findings::default();
        // `DataParallel` puts a word before every name.
        let prefix = match files.find("module.classifier.bias") {
            Some(_) => "module.",
            None => "",
        };
        let find = |name: &str| files.find(&format!("{prefix}{name}"));
        let is_there = |layer: &usize| {
            find(&format!(
                "bert.bert.encoder.layer.{layer}.output.dense.bias"
            ))
            .is_some()
        };
        let layers = (0..MOST_LAYERS).take_while(is_there).count();
        let mut wanted: Vec<(String, String)> = BESIDE
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect();
        for layer in 0..layers.max(1) {
            for (from, to) in LAYER {
                wanted.extend(["weight", "bias"].map(|kind| {
                    let from = format!("bert.bert.encoder.layer.{layer}.{from}.{kind}");
                    (from, format!("model.layers.{layer}.{to}.{kind}"))
                }));
            }
        }
        let mut tensors = Vec::with_capacity(wanted.len());
        for (from, to) in &wanted {
            match find(from) {
                Some(found) if files.entry(found).stored == Ok(StoredType::F32) => {
                    tensors.push((to.clone(), found))
                }
                Some(found) => {
                    let what = format!("has type {:?}", files.entry(found).stored);
                    findings.push(Finding::tensor(from, what).allowed("F32"));
                }
                None => findings.push(Finding::tensor(
                    from,
                    "is missing; the published script writes it",
                )),
            }
        }
        let mut left_out = 0;
        for name in files.names() {
            let own = name.strip_prefix(prefix).unwrap_or(name);
            if UNUSED.iter().any(|(begin, _)| own.starts_with(begin)) {
                left_out += 1;
            } else if !wanted.iter().any(|(from, _)| from == own) {
                findings.push(Finding::tensor(name, "is not of the published script"));
            }
        }
        findings.into_result(Self {
            files,
            tensors,
            layers,
            left_out,
        })
    }

    /// Shape of a tensor by its new name; of one that there is not, zeros.
    fn shape(&self, name: &str) -> [usize; 2] {
        let found = self.tensors.iter().find(|(known, _)| known == name);
        let shape = found.map_or(&[][..], |(_, found)| &self.files.entry(*found).shape);
        [
            shape.first().copied().unwrap_or(0),
            shape.get(1).copied().unwrap_or(0),
        ]
    }

    fn config(&self) -> Result<Value, ImportError> {
        let [vocab, hidden] = self.shape("model.embed_tokens.weight");
        let [labels, _] = self.shape("classifier.bias");
        if hidden == 0 || !hidden.is_multiple_of(HEADS) {
            let what = format!("has {hidden} columns");
            let allowed = format!("a multiple of the script's {HEADS} heads");
            return Err(
                Finding::tensor("bert.bert.embeddings.word_embeddings.weight", what)
                    .allowed(allowed)
                    .into(),
            );
        }
        let domains: Vec<String> = (0..labels).map(|label| format!("label_{label}")).collect();
        Ok(json!({
            "model_type": "gem", "gem_version": 1, "architectures": ["GemForSequenceClassification"],
            "hidden_size": hidden, "num_hidden_layers": self.layers, "num_attention_heads": HEADS,
            "intermediate_size": self.shape("model.layers.0.general.up_proj.weight")[0],
            "vocab_size": vocab, "max_position_embeddings": self.shape("model.position_embeddings.weight")[0],
            "type_vocab_size": self.shape("model.token_type_embeddings.weight")[0],
            "hidden_act": "gelu", "mlp_gated": false, "mlp_bias": true, "attention_bias": true,
            "norm": "layernorm", "norm_eps": 1e-12, "norm_position": "post", "position_embedding": "learned",
            "domains": domains, "num_labels": labels,
            "router": {"layers": "final", "score": "softmax", "top_k": 1, "threshold": THRESHOLD},
            "scar": {"mask": "cluster_or_flag", "heads": HEADS},
            "modules": {"kind": "off"}
        }))
    }
}

/// A tensor where it is.
struct Stored<'f> {
    files: &'f TensorFiles,
    found: TensorPlace,
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.files.entry(self.found).shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.files.bytes(self.found).into()
    }

    fn data_len(&self) -> usize {
        self.files.bytes(self.found).len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use safetensors::tensor::TensorView;

    use super::super::checkpoint;
    use super::*;
    use crate::graph::{Op, Site};

    const HIDDEN: usize = 24;

    /// The script's tensors of a small model, each of its own values.
    fn state_dict(prefix: &str) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
        let (d, f, labels) = (HIDDEN, 40, 5);
        let mut all: Vec<(String, Vec<usize>)> = Vec::new();
        let shape = |name: &str| match name {
            "bert.bert.embeddings.word_embeddings.weight" => vec![60, d],
            "bert.bert.embeddings.position_embeddings.weight" => vec![16, d],
            "bert.bert.embeddings.token_type_embeddings.weight" => vec![2, d],
            "router.W_r" | "classifier.weight" => vec![labels, d],
            "classifier.bias" => vec![labels],
            "scar.qkv.weight" => vec![3 * d, d],
            "scar.qkv.bias" => vec![3 * d],
            "scar.out.weight" => vec![d, d],
            _ => vec![d],
        };
        all.extend(
            BESIDE
                .iter()
                .map(|(name, _)| ((*name).to_owned(), shape(name))),
        );
        for layer in 0..2 {
            for (part, _) in LAYER {
                let (rows, columns) = match *part {
                    "intermediate.dense" => (f, Some(d)),
                    "output.dense" => (d, Some(f)),
                    part if part.ends_with("LayerNorm") => (d, None),
                    _ => (d, Some(d)),
                };
                let weight: Vec<usize> = [Some(rows), columns].into_iter().flatten().collect();
                all.push((
                    format!("bert.bert.encoder.layer.{layer}.{part}.weight"),
                    weight,
                ));
                all.push((
                    format!("bert.bert.encoder.layer.{layer}.{part}.bias"),
                    vec![rows],
                ));
            }
        }
        all.push(("bert.bert.pooler.dense.bias".to_owned(), vec![d]));
        all.push(("teacher.classifier.bias".to_owned(), vec![labels]));
        let named = all.into_iter().enumerate().map(|(n, (name, shape))| {
            let values =
                (0..shape.iter().product::<usize>()).map(|i| ((n * 31 + i) as f32 * 0.37).sin());
            let bytes = values.flat_map(f32::to_le_bytes).collect();
            (format!("{prefix}{name}"), (shape, bytes))
        });
        named.collect()
    }

    fn write(file: &Path, tensors: &BTreeMap<String, (Vec<usize>, Vec<u8>)>) {
        let views = tensors.iter().map(|(name, (shape, bytes))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("fits");
            (name.clone(), view)
        });
        serialize_to_file(views, None, file).expect("space");
    }

    #[test]
    fn every_tensor_of_the_script_finds_its_place() {
        let root = tempfile::tempdir().expect("a folder");
        for prefix in ["", "module."] {
            let (file, out) = (
                root.path().join("state.safetensors"),
                root.path().join(format!("out{prefix}")),
            );
            let tensors = state_dict(prefix);
            write(&file, &tensors);
            let made = convert(&file, &out).expect("the script's");
            assert_eq!((made.layers, made.labels, made.left_out), (2, 5, 2));
            let checkpoint = checkpoint(&out).expect("a checkpoint");
            let files = checkpoint.weights().files();
            for (from, to) in BESIDE.iter().copied().chain([(
                "bert.bert.encoder.layer.1.intermediate.dense.weight",
                "model.layers.1.general.up_proj.weight",
            )]) {
                let found = files.find(to).expect(to);
                assert_eq!(
                    files.bytes(found),
                    tensors[&format!("{prefix}{from}")].1,
                    "{to}"
                );
            }
            let [(router, site)] = checkpoint.graph().routers()[..] else {
                unreachable!("one router")
            };
            assert_eq!(site, Site::Final);
            let op = &checkpoint.graph().node(router).op;
            assert!(
                matches!(op, Op::Router { top_k: 1, threshold, .. } if (*threshold - 0.65).abs() < 1e-6),
                "{op:?}"
            );
            assert!(
                checkpoint
                    .graph()
                    .topo()
                    .any(|(_, node)| matches!(node.op, Op::ScarAttention { heads: 12, .. }))
            );
        }
    }

    #[test]
    fn what_is_not_the_scripts_is_told() {
        let root = tempfile::tempdir().expect("a folder");
        let (file, out) = (
            root.path().join("state.safetensors"),
            root.path().join("out"),
        );
        let mut tensors = state_dict("");
        let kept = tensors.remove("scar.out.bias").expect("there");
        tensors.insert("scar.more".to_owned(), kept);
        write(&file, &tensors);
        let told = convert(&file, &out).expect_err("refused").to_string();
        assert!(
            told.contains("tensor `scar.out.bias`: is missing"),
            "{told}"
        );
        assert!(
            told.contains("tensor `scar.more`: is not of the published script"),
            "{told}"
        );
        let told = convert(&root.path().join("gem_model.pth"), &out)
            .expect_err("refused")
            .to_string();
        assert!(
            told.contains("torch.load") && told.contains("allowed: a safetensors file"),
            "{told}"
        );
        assert!(!out.exists());
    }
}
