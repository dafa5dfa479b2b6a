//! The files of sentence-transformers -> how the rows of a text become its vector.
//!
//! `modules.json` lists the steps; each has a folder with its settings, and `Dense` its own weights there. Both generations of
//! pooling's keys are read: `pooling_mode_*` flags, and `pooling_mode` as a name or a list.

use std::path::Path;

use gem_runtime::regular;
use serde_json::{Map, Value};

use super::super::error::{Finding, Findings, shown};
use super::super::json;
use super::super::source::Source;
use crate::graph::{Activation, Pooling};

const MODULES: &str = "modules.json";

const ALLOWED: &str = "Transformer, Pooling, any number of Dense, and perhaps Normalize";

/// What follows an encoder's last layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// What stands behind what; at least one.
    pub pooling: Vec<Pooling>,
    /// Whether the rows of a prompt are pooled with the others.
    pub pools_prompt: bool,
    pub dense: Vec<Dense>,
    pub normalize: bool,
    /// Tokens of a text at most, with those around it.
    pub longest: Option<usize>,
}

/// A linear map behind the pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Its folder, which is the beginning of its tensors' names.
    pub folder: String,
    /// Columns and rows.
    pub input: usize,
    pub output: usize,
    pub bias: bool,
    pub act: Option<Activation>,
}

impl Sentence {
    /// Width of a vector, for rows of a width.
    pub fn width(&self, hidden: usize) -> usize {
        let pooled = hidden * self.pooling.len();
        self.dense.last().map_or(pooled, |dense| dense.output)
    }
}

/// Reads the files for rows of a width; `None` where there are none, or something is wrong with them.
pub fn read(source: &Source<'_>, hidden: usize, findings: &mut Findings) -> Option<Sentence> {
    let bytes = source.file(MODULES, findings)?;
    match modules(source, &bytes, hidden, findings) {
        Ok(sentence) => Some(sentence),
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

/// What the file of a cross-encoder names as the function of its logits, where it is one of the newest kind.
pub fn activation(source: &Source<'_>, findings: &mut Findings) -> Option<Value> {
    const FILE: &str = "config_sentence_transformers.json";
    let bytes = source.file(FILE, findings)?;
    match json::parse_object(&bytes) {
        Ok(settings) if settings.get("model_type")?.as_str() == Some("CrossEncoder") => settings
            .get("activation_fn")
            .filter(|f| !f.is_null())
            .cloned(),
        Ok(_) => None,
        Err(what) => {
            findings.push(Finding::file(FILE, what));
            None
        }
    }
}

/// Folders beside a checkpoint that hold weights of their own; none where `modules.json` is not what it should be, which [`read`] tells.
pub fn weight_folders(dir: &Path) -> Vec<String> {
    let path = dir.join(MODULES);
    if !regular::is_there(&path) {
        return Vec::new();
    }
    let bytes = json::read_bounded(&path, MODULES, 1 << 20).unwrap_or_default();
    let modules: Vec<Map<String, Value>> = json::parse(&bytes).unwrap_or_default();
    let folder = |module: &Map<String, Value>| {
        let text = |key: &str| module.get(key).and_then(Value::as_str);
        let dense = text("type").is_some_and(|kind| kind.ends_with(".Dense"));
        text("path")
            .filter(|path| dense && is_plain(path))
            .map(str::to_owned)
    };
    modules.iter().filter_map(folder).collect()
}

/// Whether a path names a folder right below.
fn is_plain(folder: &str) -> bool {
    !folder.is_empty()
        && folder.len() <= 255
        && !folder.starts_with('.')
        && !folder.contains(['/', '\\', ':'])
        && !folder.chars().any(char::is_control)
}

/// The settings of a module.
fn settings(
    source: &Source<'_>,
    folder: &str,
    findings: &mut Findings,
) -> Result<(String, Map<String, Value>), Finding> {
    if !is_plain(folder) {
        let what = format!("has a module in \"{}\"", shown(folder));
        return Err(Finding::file(MODULES, what).allowed("names of folders beside it"));
    }
    let file = format!("{folder}/config.json");
    let Some(bytes) = source.file(&file, findings) else {
        let what = format!(
            "names the module {}, which has no config.json",
            shown(folder)
        );
        return Err(Finding::file(MODULES, what));
    };
    let settings = json::parse_object(&bytes).map_err(|e| Finding::file(&file, e))?;
    Ok((file, settings))
}

fn modules(
    source: &Source<'_>,
    bytes: &[u8],
    hidden: usize,
    findings: &mut Findings,
) -> Result<Sentence, Finding> {
    let wrong = |what: String| Finding::file(MODULES, what);
    let modules: Vec<Map<String, Value>> = json::parse(bytes).map_err(wrong)?;
    let mut pooling = None;
    let mut dense: Vec<Dense> = Vec::new();
    let mut normalize = false;
    for module in &modules {
        let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = text("type").rsplit('.').next().unwrap_or_default();
        let folder = text("path");
        match kind {
            "Transformer" if pooling.is_none() && folder.is_empty() => {}
            "Pooling" if pooling.is_none() => {
                let (file, settings) = settings(source, folder, findings)?;
                let read = pooled(&settings, hidden).map_err(|e| Finding::file(&file, e))?;
                pooling = Some(read);
            }
            "Dense" if pooling.is_some() && !normalize => {
                let (file, settings) = settings(source, folder, findings)?;
                let ways = pooling.as_ref().map_or(1, |(ways, _)| ways.len());
                let width = dense.last().map_or(hidden * ways, |dense| dense.output);
                let read = map(folder, &settings, width).map_err(|e| Finding::file(&file, e))?;
                dense.push(read);
            }
            "Normalize" if pooling.is_some() => normalize = true,
            other => {
                let what = format!("has the module \"{}\" there", shown(other));
                return Err(wrong(what).allowed(ALLOWED));
            }
        }
    }
    let Some((pooling, pools_prompt)) = pooling else {
        return Err(wrong("has no module that pools".to_owned()));
    };
    Ok(Sentence {
        pooling,
        pools_prompt,
        dense,
        normalize,
        longest: longest(source, findings)?,
    })
}

/// Tokens of a text at most: what the module of the transformer says, else the tokenizer's settings, where one of them does.
fn longest(source: &Source<'_>, findings: &mut Findings) -> Result<Option<usize>, Finding> {
    let sizes = [
        ("sentence_bert_config.json", "max_seq_length"),
        ("sentence_roberta_config.json", "max_seq_length"),
        ("sentence_distilbert_config.json", "max_seq_length"),
        ("sentence_xlm-roberta_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ];
    for (file, key) in sizes {
        let Some(bytes) = source.file(file, findings) else {
            continue;
        };
        let settings = json::parse_object(&bytes).map_err(|e| Finding::file(file, e))?;
        if settings.get("do_lower_case") == Some(&Value::Bool(true)) && key == "max_seq_length" {
            lowers(source, file, findings)?;
        }
        match settings.get(key) {
            None | Some(Value::Null) => {}
            // Tokenizers without a limit of their own have one of 1e30.
            Some(value) => match value.as_f64().filter(|n| *n >= 1.0 && n.fract() == 0.0) {
                Some(n) => return Ok(Some(n.min(f64::from(1 << 24)) as usize)),
                None => {
                    let what = format!("`{key}` is {}", json::kind(value));
                    return Err(Finding::file(file, what).allowed("a number of tokens"));
                }
            },
        }
    }
    Ok(None)
}

/// Refuses `do_lower_case` where the tokenizer does not do it itself.
fn lowers(source: &Source<'_>, file: &str, findings: &mut Findings) -> Result<(), Finding> {
    let tokenizer = source.file("tokenizer.json", findings);
    let tokenizer = tokenizer.and_then(|bytes| json::parse_object(&bytes).ok());
    let normalizer = tokenizer.as_ref().and_then(|t| t.get("normalizer"));
    let lower = |one: &Value| {
        let kind = one.get("type").and_then(Value::as_str);
        kind == Some("Lowercase")
            || kind == Some("BertNormalizer") && one.get("lowercase") == Some(&Value::Bool(true))
    };
    let several = normalizer
        .and_then(|n| n.get("normalizers"))
        .and_then(Value::as_array);
    let does = normalizer.is_some_and(lower) || several.is_some_and(|all| all.iter().any(lower));
    match does {
        true => Ok(()),
        false => {
            let what =
                "`do_lower_case` is true, and the normalizer of tokenizer.json keeps capitals";
            Err(Finding::file(file, what).allowed("false, or a tokenizer that does it"))
        }
    }
}

/// The ways in which rows are pooled, and whether those of a prompt are.
fn pooled(settings: &Map<String, Value>, hidden: usize) -> Result<(Vec<Pooling>, bool), String> {
    for key in ["embedding_dimension", "word_embedding_dimension"] {
        match settings.get(key) {
            None | Some(Value::Null) => {}
            Some(n) if n.as_u64() == Some(hidden as u64) => {}
            Some(other) => {
                let found = json::kind(other);
                return Err(format!(
                    "`{key}` is {found}; allowed: the width of rows, {hidden}"
                ));
            }
        }
    }
    let prompt = match settings.get("include_prompt") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(included)) => *included,
        Some(other) => {
            let found = json::kind(other);
            return Err(format!(
                "`include_prompt` is {found}; allowed: true or false"
            ));
        }
    };
    Ok((ways(settings)?, prompt))
}

/// The ways of pooling by their names, and by the flags of older files, in the order in which their results stand.
const WAYS: [(&str, &str, Pooling); 6] = [
    ("cls", "pooling_mode_cls_token", Pooling::First),
    ("max", "pooling_mode_max_tokens", Pooling::Max),
    ("mean", "pooling_mode_mean_tokens", Pooling::Mean),
    (
        "mean_sqrt_len_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        Pooling::MeanSqrt,
    ),
    (
        "weightedmean",
        "pooling_mode_weightedmean_tokens",
        Pooling::Weighted,
    ),
    ("lasttoken", "pooling_mode_lasttoken", Pooling::Last),
];

fn ways(settings: &Map<String, Value>) -> Result<Vec<Pooling>, String> {
    let flag = |key: &str| key.starts_with("pooling_mode_");
    let on = |value: &Value| *value == Value::Bool(true);
    let unknown = settings.iter().find(|(key, value)| {
        flag(key) && on(value) && !WAYS.iter().any(|(_, known, _)| known == key)
    });
    let names: Vec<&str> = match settings.get("pooling_mode") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().unwrap_or_default())
            .collect(),
        _ => match unknown {
            Some((key, _)) => vec![key.as_str()],
            None => {
                let set = |key: &&str| settings.get(*key).is_some_and(on);
                let set = WAYS.iter().filter(|(_, key, _)| set(key));
                let set: Vec<&str> = set.map(|(name, ..)| *name).collect();
                // What sentence-transformers takes where nothing is on.
                if set.is_empty() { vec!["mean"] } else { set }
            }
        },
    };
    let way = |name: &&str| {
        let known = WAYS.iter().find(|(known, ..)| known == name);
        known.map(|(.., way)| *way)
    };
    let found: Option<Vec<Pooling>> = names.iter().map(way).collect();
    found.filter(|ways| !ways.is_empty()).ok_or_else(|| {
        let known = WAYS.map(|(name, ..)| name).join(", ");
        let names = shown(&names.join(", "));
        format!("pools by [{names}]; allowed: one or more of {known}")
    })
}

/// Names of classes of PyTorch, without their modules.
const ACTS: [(&str, Option<Activation>); 5] = [
    ("Identity", None),
    ("Tanh", Some(Activation::Tanh)),
    ("ReLU", Some(Activation::Relu)),
    ("GELU", Some(Activation::Gelu)),
    ("SiLU", Some(Activation::Silu)),
];

/// A linear map that is given rows of a width.
fn map(folder: &str, settings: &Map<String, Value>, width: usize) -> Result<Dense, String> {
    const MOST: u64 = 1 << 20;
    let size = |key: &str| {
        let value = settings.get(key);
        let found = value
            .and_then(Value::as_u64)
            .filter(|n| (1..=MOST).contains(n));
        found.map(|n| n as usize).ok_or_else(|| {
            let found = value.map_or("is missing".to_owned(), |v| format!("is {}", json::kind(v)));
            format!("`{key}` {found}; allowed: 1..={MOST}")
        })
    };
    let [input, output] = [size("in_features")?, size("out_features")?];
    if input != width {
        return Err(format!(
            "`in_features` is {input}; allowed: {width}, as wide as what stands before it"
        ));
    }
    let flag = |key: &str, default| match settings.get(key) {
        None => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(format!(
            "`{key}` is {}; allowed: true or false",
            json::kind(other)
        )),
    };
    if flag("use_residual", false)? {
        return Err("`use_residual` is true; allowed: false".to_owned());
    }
    for key in ["module_input_name", "module_output_name"] {
        match settings.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name == "sentence_embedding" => {}
            Some(other) => {
                let found = json::kind(other);
                return Err(format!(
                    "`{key}` is {found}; allowed: \"sentence_embedding\""
                ));
            }
        }
    }
    let name = match settings.get("activation_function") {
        None => "Tanh",
        Some(value) => value.as_str().unwrap_or_default(),
    };
    let class = name.rsplit('.').next().unwrap_or_default();
    let act = ACTS.iter().find(|(known, _)| *known == class);
    let Some((_, act)) = act else {
        let known = ACTS.map(|(name, _)| name).join(", ");
        return Err(format!(
            "`activation_function` is \"{}\"; allowed: {known}",
            shown(name)
        ));
    };
    Ok(Dense {
        folder: folder.to_owned(),
        input,
        output,
        bias: flag("bias", true)?,
        act: *act,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> &Map<String, Value> {
        value.as_object().expect("an object")
    }

    #[test]
    fn both_generations_of_pooling_are_read() {
        let read = |value: Value| pooled(object(&value), 384);
        let older = json!({"word_embedding_dimension": 384, "pooling_mode_cls_token": false,
            "pooling_mode_mean_tokens": true, "include_prompt": true});
        assert_eq!(read(older), Ok((vec![Pooling::Mean], true)));
        let two = json!({"pooling_mode_lasttoken": true, "pooling_mode_max_tokens": true,
            "include_prompt": false});
        assert_eq!(read(two), Ok((vec![Pooling::Max, Pooling::Last], false)));
        let named = json!({"pooling_mode": "mean_sqrt_len_tokens", "embedding_dimension": 384});
        assert_eq!(read(named), Ok((vec![Pooling::MeanSqrt], true)));
        let list = json!({"pooling_mode": ["weightedmean", "cls"]});
        assert_eq!(
            read(list),
            Ok((vec![Pooling::Weighted, Pooling::First], true))
        );
        assert_eq!(read(json!({})), Ok((vec![Pooling::Mean], true)));
        for (wrong, words) in [
            (json!({"pooling_mode": []}), "one or more of cls"),
            (json!({"pooling_mode": ["mean", 3]}), "one or more of cls"),
            (json!({"pooling_mode": "median"}), "[median]"),
            (json!({"pooling_mode_median": true}), "pooling_mode_median"),
            (json!({"include_prompt": 1}), "true or false"),
            (
                json!({"embedding_dimension": 768}),
                "the width of rows, 384",
            ),
        ] {
            let told = read(wrong).expect_err("refused");
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn dense_modules_are_read_or_refused_by_key() {
        let good = json!({"in_features": 8, "out_features": 16, "bias": false,
            "activation_function": "torch.nn.modules.linear.Identity"});
        let read = map("2_Dense", object(&good), 8).expect("read");
        assert_eq!((read.output, read.bias, read.act), (16, false, None));
        let bare = json!({"in_features": 8, "out_features": 16});
        let read = map("2_Dense", object(&bare), 8).expect("read");
        assert_eq!((read.bias, read.act), (true, Some(Activation::Tanh)));
        for (key, value, words) in [
            ("in_features", json!(9), "as wide as what stands before it"),
            ("out_features", json!(0), "1..="),
            ("out_features", json!(null), "1..="),
            ("bias", json!("no"), "true or false"),
            ("use_residual", json!(true), "allowed: false"),
            ("module_output_name", json!("x"), "sentence_embedding"),
            (
                "activation_function",
                json!("torch.nn.modules.activation.ELU"),
                "Identity, Tanh",
            ),
        ] {
            let mut wrong = good.clone();
            wrong[key] = value;
            let told = map("2_Dense", object(&wrong), 8).expect_err("refused");
            assert!(told.contains(words) && told.contains(key), "{told}");
        }
    }
}
