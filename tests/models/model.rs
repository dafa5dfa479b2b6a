//! Choices -> a model to be tried: its config, how it is compiled, what is run. As JSON it can be kept and tried again.

use gemc::import::Findings;
use gemc::import::config;
use gemc::plan::KvFormat;
use gemc::target::Target;
use serde_json::{Map, Value, json};

use crate::features::{FEATURES, feature};
use crate::random::Random;

/// A value of each feature, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices(pub Vec<usize>);

/// A feature and one of its values.
pub type Choice = (usize, usize);

/// A random model: config, formats, target and the tokens it is run on.
#[derive(Clone, Debug)]
pub struct Model {
    /// Of its weights, ids and chunks.
    pub seed: u64,
    /// `config.json`.
    pub config: Value,
    /// Type of every tensor in the file.
    pub stored: String,
    /// Of every unit, or `mixed`.
    pub codec: String,
    /// Of every unit, or `mixed`.
    pub activations: String,
    /// Of keys and values.
    pub kv: KvFormat,
    /// The target that kernels are made for.
    pub target: Target,
    /// Number of tokens it is run on.
    pub length: usize,
}

impl Choices {
    /// Any choices with these among them; the plainest more often than others, so that what makes sizes equal to each
    /// other meets.
    pub fn random(random: &mut Random, pinned: &[Choice]) -> Self {
        const PLAIN: usize = 6;
        let any = FEATURES.iter().map(|f| match random.below(PLAIN) {
            0 => 0,
            _ => random.below(f.values.len()),
        });
        let mut choices = Self(any.collect());
        for &(feature, value) in pinned {
            choices.0[feature] = value;
        }
        choices
    }

    fn get(&self, name: &str) -> &'static str {
        let feature = feature(name);
        &FEATURES[feature].values[self.0[feature]]
    }

    fn number(&self, name: &str) -> usize {
        let value = self.get(name);
        value
            .parse()
            .unwrap_or_else(|_| unreachable!("{name} {value}"))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(self.get(name)).unwrap_or_else(|e| unreachable!("{name}: {e}"))
    }

    /// The model, unless the choices exclude each other: some do by what they mean, others because import refuses them.
    pub fn model(&self, seed: u64) -> Option<Model> {
        let context = self.number("context");
        let length = match self.get("length") {
            "context" => context,
            _ => self.number("length"),
        };
        let config = self.config()?;
        if length > context || !accepted(&config) {
            return None;
        }
        Some(Model {
            seed,
            config,
            stored: self.get("stored").to_owned(),
            codec: self.get("codec").to_owned(),
            activations: self.get("activations").to_owned(),
            kv: kv(self.get("kv"))?,
            target: Target::find(self.get("target")).ok()?,
            length,
        })
    }

    fn config(&self) -> Option<Value> {
        let mut config = Map::new();
        let mut put = |key: &str, value: Value| config.insert(key.to_owned(), value);
        let architecture = match self.get("task") {
            "causal" => "GemForCausalLM",
            _ => "GemForSequenceClassification",
        };
        put("model_type", json!("gem"));
        put("gem_version", json!(1));
        put("architectures", json!([architecture]));
        put("hidden_size", self.json("hidden"));
        put("num_hidden_layers", self.json("layers"));
        put("num_attention_heads", self.json("heads"));
        put("num_key_value_heads", json!(self.kv_heads()?));
        if self.get("head_dim") != "derived" {
            put("head_dim", self.json("head_dim"));
        }
        put("intermediate_size", json!(self.size("width")));
        put("vocab_size", self.json("vocab"));
        put("max_position_embeddings", self.json("context"));
        put("hidden_act", json!(self.get("hidden_act")));
        put("mlp_gated", self.json("gated"));
        put("norm", json!(self.get("norm")));
        put("norm_eps", self.json("eps"));
        put("norm_position", json!(self.get("norm_position")));
        put("type_vocab_size", self.json("token_types"));
        for key in ["attention_bias", "mlp_bias", "qk_norm"] {
            put(key, self.json(key));
        }
        put("tie_word_embeddings", self.json("tied"));
        put("general_path", json!(self.get("general_path")));
        match self.get("labels") {
            "named" => put("id2label", json!({"1": "no", "0": "yes"})),
            _ => put("num_labels", self.json("labels")),
        };
        config.extend(self.positions());
        config.extend(self.routing());
        Some(Value::Object(config))
    }

    /// A size that may be as large as another.
    fn size(&self, name: &str) -> usize {
        match self.get(name) {
            "width" => self.size("width"),
            "hidden" => self.number("hidden"),
            "heads" => self.number("heads"),
            _ => self.number(name),
        }
    }

    fn kv_heads(&self) -> Option<usize> {
        let heads = self.number("heads");
        match self.get("kv_heads") {
            "all" => Some(heads),
            "one" => Some(1),
            _ => (2..heads).find(|n| heads.is_multiple_of(*n)),
        }
    }

    fn positions(&self) -> Map<String, Value> {
        let theta = self.json("theta");
        let value = match self.get("positions") {
            "linear" => json!({"position_embedding": "rope", "rope_theta": theta,
                "rope_scaling": {"rope_type": "linear", "factor": 2.5}}),
            "llama3" => json!({"position_embedding": "rope", "rope_theta": theta,
                "rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                    "original_max_position_embeddings": 64}}),
            "parameters" => json!({"position_embedding": "rope",
                "rope_parameters": {"rope_theta": theta, "rope_type": "default"}}),
            other => {
                json!({"position_embedding": other, "rope_theta": theta, "rope_scaling": null})
            }
        };
        into_object(value)
    }

    fn routing(&self) -> Map<String, Value> {
        let last = self.number("layers") - 1;
        let (layers, domains) = match self.get("routed") {
            "none" => (json!([]), 0),
            "first" => (json!([0]), self.number("domains")),
            "last" => (json!([last]), self.number("domains")),
            other => (json!(other), self.number("domains")),
        };
        let one = usize::from(self.get("routed") != "first") * last;
        let names: Vec<String> = (0..domains).map(|d| format!("domain {d}")).collect();
        let top_k = match self.get("top_k") {
            "all" => domains.max(1),
            _ => self.number("top_k"),
        };
        let scar_layers = match self.get("scar_layers") {
            "one" => json!([one]),
            other => json!(other),
        };
        let width = match self.get("modules") {
            "lora" => "rank",
            _ => "intermediate_size",
        };
        into_object(json!({
            "domains": names,
            "router": {"layers": layers, "score": self.get("score"), "top_k": top_k, "threshold": self.json("threshold"),
                "renormalize": self.json("renormalize"), "clusters": self.json("clusters"),
                "bias": self.json("router_bias")},
            "scar": {"mask": self.get("mask"), "layers": scar_layers, "heads": self.size("scar_heads"),
                "residual": self.json("scar_residual")},
            "modules": {"kind": self.get("modules"), width: self.size("module_width")},
        }))
    }
}

impl Model {
    /// For people, and for [`Model::parse`].
    pub fn to_json(&self) -> String {
        let value = json!({"seed": self.seed, "stored": self.stored, "codec": self.codec,
            "activations": self.activations, "kv": self.kv.name(), "target": self.target.name, "length": self.length, "config": self.config});
        value.to_string()
    }

    /// What [`Model::to_json`] gave; any of its values may have been changed.
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        Some(Self {
            seed: value.get("seed")?.as_u64()?,
            config: value.get("config")?.clone(),
            stored: text("stored")?.to_owned(),
            codec: text("codec")?.to_owned(),
            activations: text("activations")?.to_owned(),
            kv: kv(text("kv")?)?,
            target: Target::find(text("target")?).ok()?,
            length: value.get("length")?.as_u64()? as usize,
        })
    }

    /// Token ids that it is run on.
    pub fn ids(&self) -> Vec<u32> {
        let mut random = Random::new(self.seed, "ids");
        let vocab = self.config["vocab_size"].as_u64().unwrap_or(1) as usize;
        (0..self.length)
            .map(|_| random.below(vocab) as u32)
            .collect()
    }

    /// How many of the tokens each call takes.
    pub fn chunks(&self) -> Vec<u32> {
        let mut random = Random::new(self.seed, "chunks");
        let mut chunks = Vec::new();
        let mut left = self.length;
        while left > 0 {
            let most = [1, 3, 20, 140, left][random.below(5)];
            let chunk = 1 + random.below(most.min(left));
            chunks.push(chunk as u32);
            left -= chunk;
        }
        chunks
    }
}

fn kv(name: &str) -> Option<KvFormat> {
    KvFormat::ALL.into_iter().find(|kv| kv.name() == name)
}

fn accepted(config: &Value) -> bool {
    let mut findings = Findings::default();
    let (read, _) = match config {
        Value::Object(map) => config::read(map, &mut findings),
        _ => return false,
    };
    read.is_some() && findings.is_empty()
}

fn into_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
