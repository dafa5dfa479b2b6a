//! The tokenizer in a GGUF file's metadata -> `tokenizer.json` and the files beside it.
//!
//! Regular expressions of pre-tokenizers are those of the models' own `tokenizer.json`; llama.cpp names them in
//! `tokenizer.ggml.pre`.

use std::collections::HashMap;

use gem_runtime::text::{CHAT_TEMPLATE, TOKENIZER, TOKENIZER_CONFIG, TextFolder};
use serde_json::{Map, Value as Json, json};

use super::Metadata;

/// Kinds of tokens in `tokenizer.ggml.token_type`.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER: i64 = 4;

/// The files; none where the metadata has no tokenizer.
///
/// # Errors
/// When it is of a kind that is not rebuilt.
pub fn files(metadata: &Metadata<'_>) -> Result<TextFolder, String> {
    let Some(kind) = metadata.text("tokenizer.ggml.model")? else {
        return Ok(TextFolder::default());
    };
    let vocabulary = Vocabulary::read(metadata)?;
    let tokenizer = match kind {
        "gpt2" => byte_level(metadata, &vocabulary)?,
        "llama" => sentence_pieces(metadata, &vocabulary)?,
        other => {
            let other = super::super::error::shown(other);
            return Err(format!(
                "metadata: `tokenizer.ggml.model` is \"{other}\"; allowed: gpt2, llama, or a tokenizer.json beside the file"
            ));
        }
    };
    let mut files = vec![
        (TOKENIZER.to_owned(), tokenizer.to_string().into_bytes()),
        (
            TOKENIZER_CONFIG.to_owned(),
            settings(metadata, &vocabulary)?.to_string().into_bytes(),
        ),
    ];
    if let Some(template) = metadata.text("tokenizer.chat_template")? {
        files.push((CHAT_TEMPLATE.to_owned(), template.as_bytes().to_vec()));
    }
    Ok(TextFolder::of(files))
}

/// Tokens by their ids, and what they are.
struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    kinds: Vec<i64>,
}

impl<'a> Vocabulary<'a> {
    fn read(metadata: &Metadata<'a>) -> Result<Self, String> {
        let tokens = metadata.texts("tokenizer.ggml.tokens")?;
        let tokens = tokens.ok_or("metadata: `tokenizer.ggml.tokens` is missing")?;
        let kinds = metadata.integers("tokenizer.ggml.token_type")?;
        let kinds = kinds.unwrap_or_else(|| vec![1; tokens.len()]);
        if kinds.len() != tokens.len() {
            return Err(format!(
                "metadata: `tokenizer.ggml.token_type` has {} values for {} tokens",
                kinds.len(),
                tokens.len()
            ));
        }
        Ok(Self { tokens, kinds })
    }

    fn ids(&self) -> Json {
        let ids = self.tokens.iter().enumerate();
        Json::Object(
            ids.map(|(id, token)| ((*token).to_owned(), json!(id)))
                .collect(),
        )
    }

    /// Tokens that are found in a text before anything else.
    fn added(&self) -> Vec<Json> {
        let kinds = self.tokens.iter().zip(&self.kinds).enumerate();
        let added = kinds.filter(|(_, (_, kind))| [UNKNOWN, CONTROL, USER].contains(kind));
        added
            .map(|(id, (token, kind))| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind != USER
                })
            })
            .collect()
    }

    fn token(&self, metadata: &Metadata<'_>, name: &str) -> Result<Option<&'a str>, String> {
        let id = metadata.count(&format!("tokenizer.ggml.{name}_token_id"))?;
        match id {
            None => Ok(None),
            Some(id) => match self.tokens.get(id as usize) {
                Some(token) => Ok(Some(token)),
                None => Err(format!(
                    "metadata: `tokenizer.ggml.{name}_token_id` is {id}, of {} tokens",
                    self.tokens.len()
                )),
            },
        }
    }
}

/// `tokenizer_config.json`.
fn settings(metadata: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json, String> {
    let mut settings = Map::new();
    for (key, name) in [
        ("bos_token", "bos"),
        ("eos_token", "eos"),
        ("unk_token", "unknown"),
        ("pad_token", "padding"),
    ] {
        if let Some(token) = vocabulary.token(metadata, name)? {
            settings.insert(key.to_owned(), json!(token));
        }
    }
    Ok(Json::Object(settings))
}

/// What precedes and follows a text.
fn post_processor(
    metadata: &Metadata<'_>,
    vocabulary: &Vocabulary<'_>,
    [bos, eos]: [bool; 2],
) -> Result<Json, String> {
    let wanted = |key: &str, default: bool| Ok::<_, String>(metadata.flag(key)?.unwrap_or(default));
    let first = wanted("tokenizer.ggml.add_bos_token", bos)?;
    let last = wanted("tokenizer.ggml.add_eos_token", eos)?;
    let first = if first {
        vocabulary.token(metadata, "bos")?
    } else {
        None
    };
    let last = if last {
        vocabulary.token(metadata, "eos")?
    } else {
        None
    };
    if first.is_none() && last.is_none() {
        return Ok(Json::Null);
    }
    let special = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let around = |text: Json| {
        let first = first.map(special).into_iter();
        let last = last.map(special);
        first.chain([text]).chain(last).collect::<Vec<_>>()
    };
    let mut tokens = Map::new();
    for token in [first, last].into_iter().flatten() {
        let id = vocabulary.tokens.iter().position(|known| *known == token);
        tokens.insert(
            token.to_owned(),
            json!({"id": token, "ids": [id], "tokens": [token]}),
        );
    }
    let mut pair = around(text("A"));
    pair.extend(around(text("B")));
    Ok(json!({
        "type": "TemplateProcessing", "single": around(text("A")), "pair": pair, "special_tokens": tokens
    }))
}

/// Splits of a text before its bytes are merged, in order.
fn splits(pre: &str) -> Result<Vec<Json>, String> {
    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let digits = json!({"type": "Digits", "individual_digits": true});
    Ok(match pre {
        "gpt-2" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" => vec![split(GPT2)],
        "llama-bpe" | "llama3" | "llama-v3" | "lfm2" | "falcon3" | "smaug-bpe" => {
            vec![split(LLAMA3)]
        }
        "qwen2" | "deepseek-r1-qwen" | "megrez" | "stablelm2" => vec![split(QWEN2)],
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" => {
            vec![digits, split(GPT2)]
        }
        other => {
            let other = super::super::error::shown(other);
            return Err(format!(
                "metadata: `tokenizer.ggml.pre` is \"{other}\", which is not rebuilt; allowed: a tokenizer.json beside the file, or gpt-2, llama-bpe, qwen2, smollm and their kin"
            ));
        }
    })
}

/// BPE over bytes.
fn byte_level(metadata: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json, String> {
    let pre = metadata.text("tokenizer.ggml.pre")?.unwrap_or("gpt-2");
    let merges = metadata.texts("tokenizer.ggml.merges")?;
    let merges = merges.ok_or("metadata: `tokenizer.ggml.merges` is missing")?;
    let pairs: Option<Vec<[&str; 2]>> = merges
        .iter()
        .map(|merge| merge.split_once(' ').map(|(a, b)| [a, b]))
        .collect();
    let pairs = pairs.ok_or("metadata: `tokenizer.ggml.merges` has one without a space")?;
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
    });
    let mut steps = splits(pre)?;
    steps.push(bytes.clone());
    // Qwen's alone are composed before they are split.
    let normalizer = match pre {
        "qwen2" | "deepseek-r1-qwen" => json!({"type": "NFC"}),
        _ => Json::Null,
    };
    let whole_words = matches!(
        pre,
        "llama-bpe" | "llama3" | "llama-v3" | "lfm2" | "falcon3"
    );
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": post_processor(metadata, vocabulary, [whole_words, false])?,
        "decoder": bytes,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": whole_words, "vocab": vocabulary.ids(), "merges": pairs
        }
    }))
}

/// SentencePiece's BPE: merges follow from the scores of what they make.
fn sentence_pieces(metadata: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json, String> {
    const SPACE: &str = "\u{2581}";
    let scores = metadata.numbers("tokenizer.ggml.scores")?;
    let scores = scores.filter(|scores| scores.len() == vocabulary.tokens.len());
    let scores = scores.ok_or("metadata: `tokenizer.ggml.scores` has no number for each token")?;
    let unknown = vocabulary.token(metadata, "unknown")?;
    let prefix = metadata
        .flag("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(true);
    let mut normalizers = Vec::new();
    if prefix {
        normalizers.push(json!({"type": "Prepend", "prepend": SPACE}));
    }
    normalizers.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE}));
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": post_processor(metadata, vocabulary, [true, false])?,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocabulary.ids(), "merges": merges(vocabulary, &scores)
        }
    }))
}

/// Every pair of tokens that makes a token: by that one's score, then by the ids of the two.
fn merges<'a>(vocabulary: &Vocabulary<'a>, scores: &[f64]) -> Vec<[&'a str; 2]> {
    let ids: HashMap<&str, usize> = vocabulary
        .tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (*token, id))
        .collect();
    let mut found: Vec<(f64, usize, [&str; 2], [usize; 2])> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        for (at, _) in token.char_indices().skip(1) {
            let (a, b) = token.split_at(at);
            if let (Some(&left), Some(&right)) = (ids.get(a), ids.get(b)) {
                found.push((scores[id], id, [a, b], [left, right]));
            }
        }
    }
    found.sort_by(|x, y| {
        let of_one = || x.1.cmp(&y.1).then(x.3.cmp(&y.3));
        y.0.total_cmp(&x.0).then_with(of_one)
    });
    found.into_iter().map(|(_, _, pair, _)| pair).collect()
}
