//! The tokenizer in a GGUF file's metadata -> `tokenizer.json` and the files beside it.
//!
//! `tokenizer.ggml.model` names the kind: `gpt2` and `gemma4` merge by a list, `llama` by scores, `t5` is unigram, `bert`
//! WordPiece. What the metadata does not tell is in `docs/families.md`.

mod bytes;
mod pieces;
mod splits;
mod words;

use gem_runtime::text::{
    CHAT_TEMPLATE, GENERATION_CONFIG, MORE_CHAT_TEMPLATES, TOKENIZER, TOKENIZER_CONFIG, TextFolder,
};
use serde_json::{Map, Value as Json, json};

use super::Metadata;
use crate::import::error::shown;

/// Kinds of tokens in `tokenizer.ggml.token_type`.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER: i64 = 4;

/// Bytes of a token at most.
const LONGEST_TOKEN: usize = 1024;

/// The files; none where the metadata has no tokenizer.
///
/// # Errors
/// When it is of a kind that is not rebuilt.
pub fn files(metadata: &Metadata<'_>) -> Result<TextFolder, String> {
    let Some(kind) = metadata.text("tokenizer.ggml.model")? else {
        return Ok(TextFolder::default());
    };
    let vocabulary = Vocabulary::read(metadata)?;
    let tokenizer = match metadata.text("tokenizer.huggingface.json")? {
        // Some converters keep the file itself.
        Some(whole) => whole.to_owned(),
        None => rebuilt(kind, metadata, &vocabulary)?.to_string(),
    };
    let mut files = vec![
        (TOKENIZER.to_owned(), tokenizer.into_bytes()),
        (
            TOKENIZER_CONFIG.to_owned(),
            settings(metadata, &vocabulary)?.to_string().into_bytes(),
        ),
    ];
    if let Some(sampling) = sampling(metadata)? {
        let bytes = sampling.to_string().into_bytes();
        files.push((GENERATION_CONFIG.to_owned(), bytes));
    }
    templates(metadata, &mut files)?;
    Ok(TextFolder::of(files))
}

/// Tokens that end a text: those that the file names, and those whose names say it.
///
/// # Errors
/// When an entry is not what it should be.
pub fn ends(metadata: &Metadata<'_>) -> Result<Vec<u64>, String> {
    let mut ids = Vec::new();
    for key in ["eos", "eot", "eom"] {
        ids.extend(metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?);
    }
    if metadata.text("tokenizer.ggml.model")?.is_some() {
        ids.extend(Vocabulary::read(metadata)?.ends());
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// `tokenizer.json` of a kind.
fn rebuilt(
    kind: &str,
    metadata: &Metadata<'_>,
    vocabulary: &Vocabulary<'_>,
) -> Result<Json, String> {
    match kind {
        "gpt2" => bytes::tokenizer(metadata, vocabulary),
        "gemma4" => pieces::by_list(metadata, vocabulary),
        "llama" => pieces::by_scores(metadata, vocabulary),
        "t5" => pieces::unigram(metadata, vocabulary),
        "bert" => words::tokenizer(metadata, vocabulary),
        other => Err(format!(
            "metadata: `tokenizer.ggml.model` is \"{}\"; allowed: bert, gemma4, gpt2, llama, t5, or a tokenizer.json \
             beside the file",
            shown(other)
        )),
    }
}

/// Chat templates: the one without a name, and those with one.
fn templates(metadata: &Metadata<'_>, files: &mut Vec<(String, Vec<u8>)>) -> Result<(), String> {
    if let Some(template) = metadata.text("tokenizer.chat_template")? {
        files.push((CHAT_TEMPLATE.to_owned(), template.as_bytes().to_vec()));
    }
    let names = metadata.texts("tokenizer.chat_templates")?;
    for name in names.unwrap_or_default() {
        // It becomes the name of a file.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!(
                "metadata: `tokenizer.chat_templates` has the name \"{}\"; allowed: letters, digits, _ and -",
                shown(name)
            ));
        }
        if let Some(template) = metadata.text(&format!("tokenizer.chat_template.{name}"))? {
            let file = format!("{MORE_CHAT_TEMPLATES}/{name}.jinja");
            files.push((file, template.as_bytes().to_vec()));
        }
    }
    Ok(())
}

/// `generation_config.json`, where the file's makers recommend something.
fn sampling(metadata: &Metadata<'_>) -> Result<Option<Json>, String> {
    let mut sampling = Map::new();
    for (key, name) in [
        ("temp", "temperature"),
        ("top_k", "top_k"),
        ("top_p", "top_p"),
        ("min_p", "min_p"),
        ("penalty_repeat", "repetition_penalty"),
    ] {
        if let Some(number) = metadata.number(&format!("general.sampling.{key}"))? {
            sampling.insert(name.to_owned(), json!(number));
        }
    }
    if sampling.is_empty() {
        return Ok(None);
    }
    sampling.insert("do_sample".to_owned(), json!(true));
    Ok(Some(Json::Object(sampling)))
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
        // Work grows with the square of a token's length.
        if let Some(token) = tokens.iter().find(|token| token.len() > LONGEST_TOKEN) {
            return Err(format!(
                "metadata: `tokenizer.ggml.tokens` has a token of {} bytes; allowed: at most {LONGEST_TOKEN}",
                token.len()
            ));
        }
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

    /// Ids of control tokens that end a text by their names, as llama.cpp has it (`llama-vocab.cpp`): a file says one or two.
    fn ends(&self) -> Vec<u64> {
        const NAMES: [&str; 20] = [
            "<|eot_id|>",
            "<|im_end|>",
            "<|end|>",
            "<|return|>",
            "<|call|>",
            "<|flush|>",
            "<|calls|>",
            "<end_of_turn>",
            "<|endoftext|>",
            "</s>",
            "<|eom_id|>",
            "<EOT>",
            "_<EOT>",
            "[EOT]",
            "[EOS]",
            "<|end_of_text|>",
            "<end_of_utterance>",
            "<eos>",
            "<turn|>",
            "<｜end▁of▁sentence｜>",
        ];
        let has = |name: &str| self.tokens.contains(&name);
        // There it ends a part of an answer.
        let parts = has("<|return|>") && (has("<|call|>") || has("<|calls|>"));
        let kinds = self.tokens.iter().zip(&self.kinds).enumerate();
        let named = kinds.filter(|(_, (token, kind))| {
            **kind == CONTROL && NAMES.contains(token) && !(parts && **token == "<|end|>")
        });
        named.map(|(id, _)| id as u64).collect()
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
        ("sep_token", "seperator"),
        ("cls_token", "cls"),
        ("mask_token", "mask"),
    ] {
        if let Some(token) = vocabulary.token(metadata, name)? {
            settings.insert(key.to_owned(), json!(token));
        }
    }
    Ok(Json::Object(settings))
}

/// What precedes and follows a text: tokens by their names in the metadata, where it has them and wants them there.
struct Around<'a> {
    first: Option<&'a str>,
    last: Option<&'a str>,
}

impl<'a> Around<'a> {
    /// `bos` and `eos`: whether they are there where the metadata does not say.
    fn of(
        metadata: &Metadata<'_>,
        vocabulary: &Vocabulary<'a>,
        [bos, eos]: [bool; 2],
    ) -> Result<Self, String> {
        let token = |name: &str, default: bool| {
            let wanted = metadata.flag(&format!("tokenizer.ggml.add_{name}_token"))?;
            match wanted.unwrap_or(default) {
                true => vocabulary.token(metadata, name),
                false => Ok(None),
            }
        };
        Ok(Self {
            first: token("bos", bos)?,
            last: token("eos", eos)?,
        })
    }

    fn post_processor(&self, vocabulary: &Vocabulary<'_>) -> Json {
        let Self { first, last } = *self;
        if first.is_none() && last.is_none() {
            return Json::Null;
        }
        let special = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
        let around = |name: &str| {
            let text = json!({"Sequence": {"id": name, "type_id": 0}});
            let first = first.map(special).into_iter();
            first
                .chain([text])
                .chain(last.map(special))
                .collect::<Vec<_>>()
        };
        let mut tokens = Map::new();
        for token in [first, last].into_iter().flatten() {
            let id = vocabulary.tokens.iter().position(|known| *known == token);
            tokens.insert(
                token.to_owned(),
                json!({"id": token, "ids": [id], "tokens": [token]}),
            );
        }
        let pair = [around("A"), around("B")].concat();
        json!({
            "type": "TemplateProcessing", "single": around("A"), "pair": pair, "special_tokens": tokens
        })
    }
}

/// Pairs of a list of merges.
fn merges<'a>(metadata: &Metadata<'a>) -> Result<Vec<[&'a str; 2]>, String> {
    let merges = metadata.texts("tokenizer.ggml.merges")?;
    let merges = merges.ok_or("metadata: `tokenizer.ggml.merges` is missing")?;
    let pairs: Option<Vec<[&str; 2]>> = merges
        .iter()
        .map(|merge| merge.split_once(' ').map(|(a, b)| [a, b]))
        .collect();
    pairs.ok_or_else(|| "metadata: `tokenizer.ggml.merges` has one without a space".to_owned())
}

/// The BPE model: `fill` has what differs.
fn bpe(vocab: Json, merges: &[[&str; 2]], fill: Json) -> Json {
    let mut model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
    });
    if let (Json::Object(model), Json::Object(fill)) = (&mut model, fill) {
        model.extend(fill);
        model.insert("vocab".to_owned(), vocab);
        model.insert("merges".to_owned(), json!(merges));
    }
    model
}

/// The whole file: `steps` are normalizer, pre-tokenizer, post-processor and decoder.
fn file(vocabulary: &Vocabulary<'_>, steps: [Json; 4], model: Json) -> Json {
    let [normalizer, pre_tokenizer, post_processor, decoder] = steps;
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
        "decoder": decoder, "model": model
    })
}
