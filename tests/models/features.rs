//! The space of models: every key of `config.json` that shapes a program, how it is compiled and how it is run, each with
//! the values that are tried. The first value is the plainest; a failing model is made plainer by it.

use std::sync::LazyLock;

use gemc::plan::KvFormat;
use gemc::target::Target;
use gemc_format::Codec;

/// A property of random models, with the values it can have.
#[derive(Debug)]
pub struct Feature {
    /// Name of the property in tables.
    pub name: &'static str,
    /// All values that it can have.
    pub values: Vec<String>,
}

/// Sizes below, at and above a lane, a tile, a block of weights and several.
const OF_MODELS: &[(&str, &[&str])] = &[
    ("task", &["causal", "classification"]),
    ("labels", &["2", "1", "3", "17", "named"]),
    ("layers", &["1", "2", "3"]),
    (
        "hidden",
        &[
            "32", "64", "16", "48", "96", "8", "60", "26", "100", "260", "2", "1",
        ],
    ),
    ("heads", &["1", "2", "4", "3", "12"]),
    ("kv_heads", &["all", "one", "some"]),
    (
        "head_dim",
        &[
            "derived", "16", "32", "2", "6", "8", "24", "48", "64", "128", "1", "3", "33",
        ],
    ),
    (
        "width",
        &["64", "hidden", "32", "16", "48", "100", "33", "1", "300"],
    ),
    ("vocab", &["64", "300", "256", "33", "17", "2", "1"]),
    (
        "context",
        &[
            "64", "512", "300", "257", "256", "129", "128", "33", "17", "16", "2", "1",
        ],
    ),
    ("hidden_act", &["silu", "gelu", "gelu_pytorch_tanh", "relu"]),
    ("gated", &["false", "true"]),
    ("norm", &["rmsnorm", "layernorm"]),
    ("eps", &["1e-5", "1e-12", "0.1", "0"]),
    ("norm_position", &["pre", "post"]),
    (
        "positions",
        &["none", "learned", "rope", "linear", "llama3", "parameters"],
    ),
    ("theta", &["10000", "1000000", "1"]),
    ("token_types", &["0", "1", "2"]),
    ("attention_bias", &["false", "true"]),
    ("mlp_bias", &["false", "true"]),
    ("qk_norm", &["false", "true"]),
    ("tied", &["false", "true"]),
    ("routed", &["all", "none", "first", "last", "final"]),
    ("domains", &["2", "1", "3", "8", "16", "17", "33"]),
    ("score", &["softmax", "sigmoid"]),
    ("top_k", &["1", "2", "3", "all"]),
    ("threshold", &["0", "0.3", "0.5", "0.9"]),
    ("renormalize", &["false", "true"]),
    ("router_bias", &["false", "true"]),
    ("clusters", &["0", "1", "2", "16", "17", "40"]),
    ("mask", &["off", "cluster_or_flag", "cluster_or_domain"]),
    ("scar_layers", &["routed", "one"]),
    ("scar_heads", &["heads", "1", "2", "hidden"]),
    ("scar_residual", &["false", "true"]),
    ("modules", &["off", "mlp", "lora"]),
    (
        "module_width",
        &["32", "width", "hidden", "16", "48", "5", "1", "100"],
    ),
    ("general_path", &["always", "fallback", "none"]),
    ("stored", &["bf16", "f16", "f32"]),
];

/// Around a lane, two rows, the rows of a step and the positions of a chunk of attention.
const LENGTHS: &[&str] = &[
    "2", "1", "3", "15", "16", "17", "33", "127", "128", "129", "255", "256", "257", "context",
];

/// All features, in the order of [`super::model::Choices`].
pub static FEATURES: LazyLock<Vec<Feature>> = LazyLock::new(|| {
    let of_models = OF_MODELS.iter().map(|(name, values)| Feature {
        name,
        values: values.iter().map(|&v| v.to_owned()).collect(),
    });
    let names = |name, values: Vec<&str>| Feature {
        name,
        values: values.into_iter().map(str::to_owned).collect(),
    };
    let codecs = Codec::ALL.iter().map(|c| c.name()).chain(["mixed"]);
    let activations = ["int16", "int8", "int8-256", "mixed"].into_iter();
    let targets = Target::with_own_kernels()
        .into_iter()
        .map(|target| target.name);
    of_models
        .chain([
            names("codec", codecs.collect()),
            names("activations", activations.collect()),
            names("kv", KvFormat::ALL.iter().map(|kv| kv.name()).collect()),
            Feature {
                name: "target",
                values: targets.collect(),
            },
            names("length", LENGTHS.to_vec()),
        ])
        .collect()
});

/// The number of a feature.
///
/// # Panics
/// When there is none of this name.
pub fn feature(name: &str) -> usize {
    let found = FEATURES.iter().position(|f| f.name == name);
    found.unwrap_or_else(|| unreachable!("there is no feature {name}"))
}
