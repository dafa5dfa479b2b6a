//! The files beside the weights that are about text -> what the model needs to know of them.
//!
//! They are the runtime's to read, so that whatever is refused here is refused by what is built, and the other way round.
//! A compiler without text in it compares the ids of the tokenizer with the vocabulary, without keeping it in memory.

use std::fmt;
use std::path::Path;
#[cfg(feature = "jit")]
use std::sync::Arc;

use gem_runtime::text::{
    GENERATION_CONFIG, SENTENCE_CONFIG, TOKENIZER, TOKENIZER_CONFIG, TemplateSource, TextConfig,
    TextFiles, TextFolder, Wrong,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

#[cfg(feature = "jit")]
use super::error::printable;
use super::error::{Finding, Findings, Place, shown};
use super::json;

/// The text side of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Companions {
    /// The files.
    pub files: TextFolder,
    /// Names of those that stand in the checkpoint's folder.
    pub in_folder: Vec<String>,
    /// What the files beside it say.
    pub config: TextConfig,
    /// All of it, ready for use.
    #[cfg(feature = "jit")]
    pub text: Option<Arc<gem_runtime::text::Text>>,
}

/// The files of a folder.
///
/// # Errors
/// With one that cannot be read.
pub fn folder(dir: &Path) -> Result<Texts, Finding> {
    let files = TextFolder::read(dir).map_err(finding)?;
    let in_folder = TextFolder::names(dir).map_err(finding)?;
    Ok(Texts { files, in_folder })
}

/// Files about text, and which of them stand in the checkpoint's folder.
#[derive(Debug, Default)]
pub struct Texts {
    pub files: TextFolder,
    pub in_folder: Vec<String>,
}

/// Reads the files as far as they exist. Without a vocabulary size, which is then a finding of its own, ids are not
/// compared.
pub fn read(
    texts: Result<Texts, Finding>,
    vocab_size: Option<usize>,
    findings: &mut Findings,
) -> Companions {
    let mut texts = texts.unwrap_or_else(|finding| {
        findings.push(finding);
        Texts::default()
    });
    if let Some(vocab_size) = vocab_size
        && let Err(finding) = fit(&mut texts.files, vocab_size)
    {
        findings.push(finding);
        return Companions {
            files: texts.files,
            in_folder: texts.in_folder,
            ..Companions::default()
        };
    }
    let mut companions = understood(&texts.files, vocab_size, findings);
    companions.files = texts.files;
    companions.in_folder = texts.in_folder;
    companions
}

/// What the files say.
fn understood(
    folder: &TextFolder,
    vocab_size: Option<usize>,
    findings: &mut Findings,
) -> Companions {
    let vocab = vocab_size.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX));
    let tokenizer = folder.get(TOKENIZER);
    let files = TextFiles {
        tokenizer: tokenizer.unwrap_or_default(),
        tokenizer_config: folder.get(TOKENIZER_CONFIG),
        generation_config: folder.get(GENERATION_CONFIG),
        sentence_config: folder.get(SENTENCE_CONFIG),
        chat_templates: &folder.chat_templates(),
    };
    let mut companions = Companions::default();
    match TextConfig::new(&files, vocab) {
        Ok(config) => companions.config = config,
        Err(wrong) => wrong
            .into_iter()
            .map(finding)
            .for_each(|f| findings.push(f)),
    }
    #[cfg(feature = "jit")]
    if findings.is_empty() {
        match gem_runtime::text::Text::of_folder(folder, vocab) {
            Ok(text) => companions.text = text.map(Arc::new),
            Err(error) => findings.push(Finding::file(TOKENIZER, without_name(&error))),
        }
    }
    companions
}

/// What is wrong with a tokenizer, without its own name in front.
#[cfg(feature = "jit")]
fn without_name(error: &gem_runtime::Error) -> String {
    let words = error.to_string();
    let behind = words
        .strip_prefix(TOKENIZER)
        .and_then(|w| w.strip_prefix(": "));
    printable(behind.unwrap_or(&words))
}

fn finding(wrong: Wrong) -> Finding {
    let place = match wrong.key {
        Some(key) => Place::Key {
            file: wrong.file,
            key,
        },
        None => Place::File(wrong.file),
    };
    let finding = Finding::at(place, wrong.what);
    match wrong.allowed {
        Some(allowed) => finding.allowed(allowed),
        None => finding,
    }
}

/// Compares the ids of the tokenizer with the vocabulary. Tokens added beyond it, such as those that stand for pictures in models
/// that share a tokenizer with others, are taken away: their texts are read as any other.
fn fit(files: &mut TextFolder, vocab_size: usize) -> Result<(), Finding> {
    let Some(tokenizer) = files.get(TOKENIZER) else {
        return Ok(());
    };
    let wrong = |what: String| Finding::file(TOKENIZER, what);
    let [own, added] = highest_ids(tokenizer).map_err(wrong)?;
    let beyond = |highest: &Option<(u64, String)>| {
        let highest = highest.as_ref();
        highest.is_some_and(|(id, _)| *id >= vocab_size as u64)
    };
    if let Some((id, token)) = own.filter(|own| beyond(&Some(own.clone()))) {
        let what = format!("gives token \"{}\" the id {id}", shown(&token));
        let allowed = format!("ids below `vocab_size` = {vocab_size}");
        return Err(wrong(what).allowed(allowed));
    }
    if !beyond(&added) {
        return Ok(());
    }
    let mut whole = json::parse_object(tokenizer).map_err(wrong)?;
    if let Some(Value::Array(added)) = whole.get_mut("added_tokens") {
        let id = |token: &Value| token.get("id").and_then(Value::as_u64);
        added.retain(|token| id(token).is_some_and(|id| id < vocab_size as u64));
    }
    let bytes = serde_json::to_vec(&whole).map_err(|e| wrong(e.to_string()))?;
    files.replace(TOKENIZER, bytes);
    Ok(())
}

impl Companions {
    /// Whether there is a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.files.get(name).is_some()
    }

    /// The chat templates, each with what keeps it from being used. A compiler without text in it does not look into them.
    pub fn chat_templates(&self) -> Vec<(&TemplateSource, Option<String>)> {
        let templates = self.config.templates.iter();
        templates.map(|source| (source, problem(source))).collect()
    }
}

#[cfg(feature = "jit")]
fn problem(source: &TemplateSource) -> Option<String> {
    let template = gem_runtime::text::ChatTemplate::from(source.clone());
    template.check().err().map(|error| error.to_string())
}

#[cfg(not(feature = "jit"))]
fn problem(source: &TemplateSource) -> Option<String> {
    source
        .text
        .as_ref()
        .err()
        .map(|why| format!("{}: {why}", source.file))
}

/// The highest id that a `tokenizer.json` gives to a token, and that token.
///
/// # Errors
/// With a sentence.
pub fn highest_id(bytes: &[u8]) -> Result<Option<(u64, String)>, String> {
    Ok(highest_ids(bytes)?.into_iter().flatten().max())
}

/// The highest id of the vocabulary, and of the tokens that were added to it.
fn highest_ids(bytes: &[u8]) -> Result<[Option<(u64, String)>; 2], String> {
    #[derive(serde::Deserialize)]
    struct File {
        model: Model,
        #[serde(default)]
        added_tokens: Vec<AddedToken>,
    }
    #[derive(serde::Deserialize)]
    struct Model {
        vocab: Highest,
    }
    #[derive(serde::Deserialize)]
    struct AddedToken {
        id: u64,
        content: String,
    }
    let file: File = json::parse(bytes)?;
    let added = file.added_tokens.into_iter().map(|t| (t.id, t.content));
    Ok([file.model.vocab.0, added.max()])
}

/// Of a vocabulary: an object token -> id, or a list of tokens (Unigram).
struct Highest(Option<(u64, String)>);

impl<'de> Deserialize<'de> for Highest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Vocab;
        impl<'de> Visitor<'de> for Vocab {
            type Value = Highest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Highest, A::Error> {
                let mut highest = None;
                while let Some((token, id)) = map.next_entry::<String, u64>()? {
                    if highest.as_ref().is_none_or(|(h, _)| id > *h) {
                        highest = Some((id, token));
                    }
                }
                Ok(Highest(highest))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Highest, A::Error> {
                let mut count = 0u64;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                let last = count.checked_sub(1);
                Ok(Highest(last.map(|id| (id, format!("number {id}")))))
            }
        }
        deserializer.deserialize_any(Vocab)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_added_beyond_the_vocabulary_are_taken_away() {
        let text = br#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
            "added_tokens": [{"id": 1, "content": "b"}, {"id": 2, "content": "<picture>"}]}"#;
        let fitted = |vocab: usize| {
            let mut files = TextFolder::of(vec![(TOKENIZER.to_owned(), text.to_vec())]);
            fit(&mut files, vocab).map(|()| files.get(TOKENIZER).expect("there").to_vec())
        };
        assert_eq!(fitted(3).expect("all fit"), text);
        let two = String::from_utf8(fitted(2).expect("it fits")).expect("UTF-8");
        assert!(
            !two.contains("picture") && two.contains("\"content\":\"b\""),
            "{two}"
        );
        let told = fitted(1).expect_err("its own ids").to_string();
        assert!(told.contains("\"b\" the id 1"), "{told}");
    }

    #[test]
    fn the_highest_id_is_found_in_either_part() {
        let text = |added: &str| {
            format!(
                "{{\"model\": {{\"type\": \"BPE\", \"vocab\": {{\"a\": 0, \"b\": 7, \"c\": 3}}, \"merges\": []}}{added}}}"
            )
        };
        let highest = |text: &str| highest_id(text.as_bytes()).expect("valid");
        assert_eq!(highest(&text("")), Some((7, "b".to_owned())));
        let added = ", \"added_tokens\": [{\"id\": 9, \"content\": \"<s>\", \"special\": true}]";
        assert_eq!(highest(&text(added)), Some((9, "<s>".to_owned())));
        let unigram = "{\"model\": {\"vocab\": [[\"a\", -1.5], [\"b\", -2.0]]}}";
        assert_eq!(highest(unigram).map(|h| h.0), Some(1));
        for bad in [
            "{}",
            "{\"model\": {}}",
            "{\"model\": {\"vocab\": 3}}",
            "{\"model\": {\"vocab\": {\"a\": -1}}}",
        ] {
            assert!(highest_id(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
