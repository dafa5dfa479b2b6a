//! `model_type` of a `config.json` -> the front end that reads it, or why there is none.

use serde_json::{Map, Value};

use super::error::{Finding, Place, nearest, shown};
use super::{CONFIG, FRONT_ENDS, FrontEnd, json};

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
    front.ok_or_else(|| {
        let place = Place::Key {
            file: CONFIG.to_owned(),
            key: "model_type".to_owned(),
        };
        let what = match (found, name) {
            (None | Some(Value::Null), _) => "is missing".to_owned(),
            (_, Some(name)) => other(name),
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
fn other(name: &str) -> String {
    let found = format!("found \"{}\"", shown(name));
    if let Some(family) = public(name) {
        return format!("{found}: public checkpoints such as {family}'s are not read yet");
    }
    let lower = name.to_lowercase();
    match nearest(&lower, FRONT_ENDS.iter().map(|f| f.model_type)) {
        Some(near) => format!("{found}: did you mean \"{near}\"?"),
        None => format!("{found}: checkpoints of other families are not read yet"),
    }
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
            (
                "llama4",
                "found \"llama4\": public checkpoints such as Llama's",
            ),
            ("llama4_text", "such as Llama's"),
            ("qwen2_vl", "such as Qwen's"),
            ("qwen4_exp", "such as Qwen's"),
            ("gemma", "such as Gemma's"),
            ("gpt_neox", "GPT-Neo"),
            ("albert", "such as ALBERT's"),
            ("deberta-v2", "such as DeBERTa's"),
            ("phimoe", "such as Phi's"),
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
        assert!(told(Value::Null).contains("key `model_type`: is missing"));
        assert!(told(json!(3)).contains("found 3"));
    }
}
