//! What is known of checkpoints that are not read -> why not, and what to do instead.

use serde_json::{Map, Value};

use super::error::{Finding, Place, shown};
use super::{CONFIG, json};

/// `model_type`s by the reason for which their models are not built. Longer names first where one begins another.
const REASONS: &[(&str, &[&str])] = &[
    (
        "its attention keeps one latent row for keys and values (MLA), which is not built",
        &[
            "deepseek_v2",
            "deepseek_v3",
            "deepseek_v4",
            "glm4_moe_lite",
            "minicpm3",
            "youtu",
            "kimi_linear",
            "kimi_k2",
            "mistral4",
            "bailing_hybrid",
            "longcat_flash",
        ],
    ),
    (
        "its layers keep a state instead of keys and values, which is not built",
        &[
            "bamba",
            "falcon_h1",
            "falcon_mamba",
            "jamba",
            "mamba",
            "mamba2",
            "minimax",
            "nemotron_h",
            "qwen3_next",
            "qwen3_5",
            "qwen3_5_text",
            "qwen3_5_moe",
            "qwen3_5_moe_text",
            "recurrent_gemma",
            "rwkv",
            "rwkv7",
            "xlstm",
            "zamba",
            "zamba2",
        ],
    ),
    (
        "it has an encoder and a decoder, and decoders that read an encoder are not built",
        &[
            "bart",
            "blenderbot",
            "bigbird_pegasus",
            "encoder-decoder",
            "fsmt",
            "led",
            "longt5",
            "m2m_100",
            "marian",
            "mbart",
            "moonshine",
            "mt5",
            "mvp",
            "pegasus",
            "plbart",
            "prophetnet",
            "seamless_m4t",
            "speech_to_text",
            "switch_transformers",
            "t5",
            "t5gemma",
            "umt5",
            "whisper",
        ],
    ),
    (
        "its attention adds a bias for the distance of two tokens, which is not built",
        &["alibi", "bloom", "deberta", "deberta-v2", "mpnet", "mpt"],
    ),
    (
        "attention in chunks, and experts that are fed what their gate is multiplied with, are not built",
        &["llama4", "llama4_text"],
    ),
    (
        "its router has two masked softmaxes (sparsemixer), which are not built",
        &["phimoe"],
    ),
    (
        "its layers share embeddings and corrections of their own (AltUp, Laurel), which are not built",
        &["gemma3n", "gemma3n_text"],
    ),
    (
        "layers that share keys and values, and embeddings of layers, are not built",
        &["gemma4", "gemma4_text"],
    ),
    (
        "attention is parallel to the MLP, which is not built",
        &[
            "cohere", "cohere2", "falcon", "gpt_neox", "gptj", "phi", "stablelm",
        ],
    ),
];

/// Why models of a `model_type` are not built, where that is known.
pub fn reason(model_type: &str) -> Option<&'static str> {
    let known = REASONS
        .iter()
        .find(|(_, types)| types.contains(&model_type));
    known.map(|(why, _)| *why)
}

/// Ways in which weights are quantised for other engines, by `quant_method`. Strictly by that: nothing is guessed from tensors.
const QUANTISED: &[(&str, &str)] = &[
    ("aqlm", "codebooks of AQLM"),
    ("auto-round", "integers of AutoRound"),
    ("awq", "4-bit integers of AWQ"),
    ("bitnet", "ternary weights of BitNet"),
    ("bitsandbytes", "blocks of bitsandbytes"),
    ("compressed-tensors", "tensors of compressed-tensors"),
    ("eetq", "8-bit integers of EETQ"),
    ("fbgemm_fp8", "FP8 of FBGEMM"),
    ("fp_quant", "FP4 of FP-Quant"),
    ("gptq", "integers of GPTQ"),
    ("higgs", "codebooks of HIGGS"),
    ("hqq", "integers of HQQ"),
    ("modelopt", "NVFP4 or FP8 of ModelOpt"),
    ("quanto", "integers of Quanto"),
    ("quark", "tensors of Quark"),
    ("spqr", "integers of SpQR"),
    ("torchao", "tensors of torchao"),
    ("vptq", "codebooks of VPTQ"),
];

/// Methods that front ends read.
const READ: &[&str] = &["fp8", "mxfp4"];

const INSTEAD: &str = "the checkpoint that it was made from, which has no quantization_config: gemc quantises it itself";

/// What is said of weights that were quantised for another engine.
pub fn quantised(config: &Map<String, Value>) -> Option<Finding> {
    // Written by mlx-lm.
    let (key, value) = match (
        config.get("quantization_config"),
        config.get("quantization"),
    ) {
        (Some(value), _) if !value.is_null() => ("quantization_config", value),
        (_, Some(value)) if value.get("bits").is_some() => ("quantization", value),
        _ => return None,
    };
    let method = value.get("quant_method").and_then(Value::as_str);
    if method.is_some_and(|method| READ.contains(&method)) {
        return None;
    }
    let known = method.and_then(|method| QUANTISED.iter().find(|(known, _)| *known == method));
    let what = match (known, method) {
        (Some((method, what)), _) => format!("quant_method is \"{method}\": {what} are not read"),
        (None, Some(method)) => format!("quant_method is \"{}\", which is not read", shown(method)),
        (None, None) if key == "quantization" => {
            "weights are quantised for MLX, which is not read".to_owned()
        }
        (None, None) => format!("says no quant_method: found {}", json::kind(value)),
    };
    let place = Place::Key {
        file: CONFIG.to_owned(),
        key: key.to_owned(),
    };
    Some(Finding::at(place, what).allowed(INSTEAD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(config: &Value) -> Option<String> {
        quantised(config.as_object().expect("an object")).map(|finding| finding.to_string())
    }

    #[test]
    fn quantised_weights_are_refused_by_their_method() {
        for (method, _) in QUANTISED {
            // What the tensors may look like plays no part.
            let config =
                json!({"quantization_config": {"quant_method": method, "bits": 4, "fmt": "e4m3"}});
            let told = told(&config).expect("refused");
            assert!(
                told.contains(&format!(
                    "`quantization_config`: quant_method is \"{method}\": "
                )),
                "{told}"
            );
            assert!(
                told.contains("; allowed: the checkpoint that it was made from"),
                "{told}"
            );
        }
        for (config, words) in [
            (
                json!({"quantization_config": {"quant_method": "new\u{7}"}}),
                "is \"new\\u{7}\", which is not read",
            ),
            (
                json!({"quantization_config": {"load_in_4bit": true}}),
                "says no quant_method",
            ),
            (
                json!({"quantization_config": 4}),
                "says no quant_method: found 4",
            ),
            (
                json!({"quantization": {"bits": 4, "group_size": 64}}),
                "quantised for MLX",
            ),
        ] {
            let told = told(&config).expect(words);
            assert!(told.contains(words), "{told}");
        }
        for read in [
            json!({}),
            json!({"quantization_config": null}),
            json!({"quantization_config": {"quant_method": "fp8"}}),
            json!({"quantization_config": {"quant_method": "mxfp4"}}),
        ] {
            assert_eq!(told(&read), None, "{read}");
        }
    }
}
