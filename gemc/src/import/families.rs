//! `model_type` of a `config.json` -> the front end that reads it, or why there is none.

use serde_json::{Map, Value};

use super::error::{Finding, Place, nearest, shown};
use super::{CONFIG, FRONT_ENDS, FrontEnd, json, refusals};

/// Families of public checkpoints, by their `model_type` in Hugging Face's configs without version and variant.
const PUBLIC: &[(&str, &str)] = &[
    ("albert", "ALBERT"),
    ("bart", "BART"),
    ("bert", "BERT"),
    ("bloom", "BLOOM"),
    ("chatglm", "ChatGLM"),
    ("cohere", "Command R"),
    ("dbrx", "DBRX"),
    ("deberta", "DeBERTa"),
    ("deepseek", "DeepSeek"),
    ("distilbert", "DistilBERT"),
    ("electra", "ELECTRA"),
    ("ernie", "ERNIE"),
    ("exaone", "EXAONE"),
    ("falcon", "Falcon"),
    ("gemma", "Gemma"),
    ("glm", "GLM"),
    ("gpt2", "GPT-2"),
    ("gpt_bigcode", "StarCoder"),
    ("gpt_neo", "GPT-Neo"),
    ("gpt_neox", "GPT-NeoX"),
    ("gpt_oss", "gpt-oss"),
    ("gptj", "GPT-J"),
    ("granite", "Granite"),
    ("internlm", "InternLM"),
    ("jamba", "Jamba"),
    ("lfm", "LFM"),
    ("llama", "Llama"),
    ("mamba", "Mamba"),
    ("minicpm", "MiniCPM"),
    ("ministral", "Ministral"),
    ("mistral", "Mistral"),
    ("mixtral", "Mixtral"),
    ("modernbert", "ModernBERT"),
    ("mpt", "MPT"),
    ("nemotron", "Nemotron"),
    ("olmo", "OLMo"),
    ("opt", "OPT"),
    ("phi", "Phi"),
    ("qwen", "Qwen"),
    ("roberta", "RoBERTa"),
    ("rwkv", "RWKV"),
    ("smollm", "SmolLM"),
    ("stablelm", "StableLM"),
    ("starcoder", "StarCoder"),
    ("switch_transformers", "Switch Transformers"),
    ("t5", "T5"),
    ("xlm-roberta", "XLM-RoBERTa"),
];

const WHAT_IS_READ: &str = "docs/families.md says what is read of each";

/// The front end for a config.
///
/// # Errors
/// Naming what is read, and what was found.
pub fn front_end(config: &Map<String, Value>) -> Result<&'static FrontEnd, Finding> {
    let found = config.get("model_type");
    let name = found.and_then(Value::as_str);
    let front = FRONT_ENDS.iter().find(|f| name == Some(f.model_type));
    if let (Some(_), Some(refused)) = (front, refusals::quantised(config)) {
        return Err(refused);
    }
    front.ok_or_else(|| {
        let place = Place::Key {
            file: CONFIG.to_owned(),
            key: "model_type".to_owned(),
        };
        let what = match (found, name) {
            (None | Some(Value::Null), _) => "is missing".to_owned(),
            (_, Some(name)) => other(name, config),
            (Some(value), None) => format!("found {}", json::kind(value)),
        };
        let read: Vec<String> = FRONT_ENDS
            .iter()
            .map(|f| format!("\"{}\"", f.model_type))
            .collect();
        Finding::at(place, what).allowed(format!("{}; {WHAT_IS_READ}", read.join(", ")))
    })
}

/// What is said of a family that nobody reads.
fn other(name: &str, config: &Map<String, Value>) -> String {
    let found = format!("found \"{}\"", shown(name));
    if let Some(why) = refusals::reason(name) {
        return format!("{found}: {why}");
    }
    if let Some(text) = text_part(config) {
        return format!(
            "{found}: its part that reads text is \"{}\", which is not read",
            shown(text)
        );
    }
    if config.get("auto_map").is_some_and(|map| !map.is_null()) {
        return format!(
            "{found}: its model is Python code of its own (auto_map), which is not run"
        );
    }
    if let Some(family) = public(name) {
        return format!("{found}: public checkpoints such as {family}'s are not read yet");
    }
    let lower = name.to_lowercase();
    match nearest(&lower, FRONT_ENDS.iter().map(|f| f.model_type)) {
        Some(near) => format!("{found}: did you mean \"{near}\"?"),
        None => format!("{found}: checkpoints of other families are not read yet"),
    }
}

/// The `model_type` of the part of a model that reads text, beside others.
fn text_part(config: &Map<String, Value>) -> Option<&str> {
    config.get("text_config")?.get("model_type")?.as_str()
}

/// The family of a `model_type` such as `qwen2_moe` or `llama4_text`: the longest name that it begins with, before a version
/// or variant.
fn public(model_type: &str) -> Option<&'static str> {
    let begins = |name: &str| {
        let rest = model_type.strip_prefix(name)?;
        let apart = |c: char| c.is_ascii_digit() || matches!(c, '_' | '-');
        (rest.is_empty() || rest.starts_with(apart) || rest.starts_with("moe"))
            .then_some(name.len())
    };
    let known = PUBLIC
        .iter()
        .filter_map(|(name, family)| Some((begins(name)?, *family)));
    known.max().map(|(_, family)| family)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn other_families_are_told_what_is_read() {
        let told = |model_type: Value| {
            let config = json!({"model_type": model_type});
            let finding = front_end(config.as_object().expect("an object"));
            finding.err().expect("not read").to_string()
        };
        for (name, words) in [
            ("llama4", "found \"llama4\": attention in chunks"),
            ("deepseek_v3", "one latent row for keys and values (MLA)"),
            ("mamba2", "keep a state instead of keys and values"),
            ("qwen3_5_moe", "keep a state instead of keys and values"),
            ("t5", "has an encoder and a decoder"),
            ("mpnet", "adds a bias for the distance of two tokens"),
            ("gemma3n", "AltUp"),
            ("qwen2_vl", "such as Qwen's"),
            ("qwen4_exp", "such as Qwen's"),
            ("gemma", "such as Gemma's"),
            ("albert", "such as ALBERT's"),
            ("deberta-v2", "adds a bias"),
            ("phimoe", "sparsemixer"),
            ("gme", "did you mean \"gem\"?"),
            ("GEM", "did you mean \"gem\"?"),
            ("hyena_striped", "checkpoints of other families"),
            ("x\u{1b}[31m", "x\\u{1b}[31m"),
        ] {
            let told = told(json!(name));
            assert!(told.contains(words), "{told}");
            let allowed = "; allowed: \"gem\", \"bert\",";
            assert!(told.contains(allowed), "{told}");
        }
        let other = |config: Value| {
            let finding = front_end(config.as_object().expect("an object"));
            finding.err().expect("not read").to_string()
        };
        let remote =
            other(json!({"model_type": "own", "auto_map": {"AutoModel": "modeling_own.Own"}}));
        assert!(
            remote.contains("Python code of its own (auto_map)"),
            "{remote}"
        );
        let pictures =
            other(json!({"model_type": "own_vl", "text_config": {"model_type": "own_text"}}));
        assert!(
            pictures.contains("reads text is \"own_text\", which is not read"),
            "{pictures}"
        );
        assert!(told(Value::Null).contains("key `model_type`: is missing"));
        assert!(told(json!(3)).contains("found 3"));
    }
}
