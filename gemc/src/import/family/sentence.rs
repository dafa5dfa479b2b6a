//! The files of sentence-transformers -> how the rows of a text become its vector.
//!
//! `modules.json` lists the steps; each has a folder with its settings. Both generations of pooling's keys are read:
//! `pooling_mode_*` flags, and `pooling_mode` as a name or a list.

use serde_json::{Map, Value};

use super::super::error::{Finding, Findings, shown};
use super::super::json;
use super::super::source::Source;
use crate::graph::Pooling;

const MODULES: &str = "modules.json";

/// What follows an encoder's last layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    pub pooling: Pooling,
    pub normalize: bool,
    /// Tokens of a text at most, with those around it.
    pub longest: Option<usize>,
}

/// Reads the files; `None` where there are none, or something is wrong with them.
pub fn read(source: &Source<'_>, findings: &mut Findings) -> Option<Sentence> {
    let bytes = source.file(MODULES, findings)?;
    match modules(source, &bytes, findings) {
        Ok(sentence) => sentence,
        Err(finding) => {
            findings.push(finding);
            None
        }
    }
}

/// Whether there are any.
pub fn is_there(source: &Source<'_>) -> bool {
    source.has_file(MODULES)
}

fn modules(
    source: &Source<'_>,
    bytes: &[u8],
    findings: &mut Findings,
) -> Result<Option<Sentence>, Finding> {
    let wrong = |what: String| Finding::file(MODULES, what);
    let modules: Vec<Map<String, Value>> = json::parse(bytes).map_err(wrong)?;
    let mut pooling = None;
    let mut normalize = false;
    for module in &modules {
        let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = text("type").rsplit('.').next().unwrap_or_default();
        match kind {
            "Transformer" if pooling.is_none() => {}
            "Pooling" if pooling.is_none() => {
                let file = format!("{}/config.json", text("path"));
                let Some(bytes) = source.file(&file, findings) else {
                    let what = format!(
                        "names the module {}, which has no config.json",
                        shown(text("path"))
                    );
                    return Err(wrong(what));
                };
                let settings = json::parse_object(&bytes).map_err(|e| Finding::file(&file, e))?;
                pooling = Some(mode(&settings).map_err(|e| Finding::file(&file, e))?);
            }
            "Normalize" if pooling.is_some() => normalize = true,
            other => {
                let what = format!("has the module \"{}\" there", shown(other));
                return Err(wrong(what).allowed("Transformer, Pooling and perhaps Normalize"));
            }
        }
    }
    let Some(pooling) = pooling else {
        return Err(wrong("has no module that pools".to_owned()));
    };
    Ok(Some(Sentence {
        pooling,
        normalize,
        longest: longest(source, findings)?,
    }))
}

/// Tokens of a text at most: what the module of the transformer says, where it does.
fn longest(source: &Source<'_>, findings: &mut Findings) -> Result<Option<usize>, Finding> {
    const FILE: &str = "sentence_bert_config.json";
    let Some(bytes) = source.file(FILE, findings) else {
        return Ok(None);
    };
    let settings = json::parse_object(&bytes).map_err(|e| Finding::file(FILE, e))?;
    match settings.get("max_seq_length") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|n| (1..=1 << 24).contains(n)) {
            Some(n) => Ok(Some(n as usize)),
            None => {
                let what = format!("`max_seq_length` is {}", json::kind(value));
                Err(Finding::file(FILE, what).allowed("a number of tokens"))
            }
        },
    }
}

/// The one way in which rows are pooled.
fn mode(settings: &Map<String, Value>) -> Result<Pooling, String> {
    const MODES: [(&str, Pooling); 4] = [
        ("cls", Pooling::First),
        ("lasttoken", Pooling::Last),
        ("mean", Pooling::Mean),
        ("max", Pooling::Max),
    ];
    let names: Vec<String> = match settings.get("pooling_mode") {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().unwrap_or_default().to_owned())
            .collect(),
        _ => {
            let set = settings
                .iter()
                .filter(|(_, value)| **value == Value::Bool(true));
            let flag = |key: &String| {
                let name = key.strip_prefix("pooling_mode_")?;
                Some(
                    name.trim_end_matches("_tokens")
                        .trim_end_matches("_token")
                        .to_owned(),
                )
            };
            set.filter_map(|(key, _)| flag(key)).collect()
        }
    };
    let found: Vec<Option<Pooling>> = names
        .iter()
        .map(|name| {
            MODES
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, mode)| *mode)
        })
        .collect();
    match found.as_slice() {
        [Some(mode)] => Ok(*mode),
        _ => Err(format!(
            "pools by [{}]; allowed: one of cls, lasttoken, mean, max",
            shown(&names.join(", "))
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_generations_of_pooling_are_read() {
        let read = |value: Value| mode(value.as_object().expect("an object"));
        let older = json!({"word_embedding_dimension": 384, "pooling_mode_cls_token": false,
            "pooling_mode_mean_tokens": true, "include_prompt": true});
        assert_eq!(read(older), Ok(Pooling::Mean));
        assert_eq!(
            read(json!({"pooling_mode_lasttoken": true})),
            Ok(Pooling::Last)
        );
        assert_eq!(read(json!({"pooling_mode": "cls"})), Ok(Pooling::First));
        assert_eq!(read(json!({"pooling_mode": ["max"]})), Ok(Pooling::Max));
        for wrong in [
            json!({}),
            json!({"pooling_mode": ["max", "mean"]}),
            json!({"pooling_mode_mean_sqrt_len_tokens": true}),
            json!({"pooling_mode": "weightedmean"}),
        ] {
            let told = read(wrong).expect_err("refused");
            assert!(told.contains("allowed: one of cls"), "{told}");
        }
    }
}
