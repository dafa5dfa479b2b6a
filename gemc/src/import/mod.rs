//! A checkpoint folder -> a [`Checkpoint`]: model graph, validated config, weights in mapped files.
//!
//! Everything that can be wrong with the input is found here, located, and reported together; later stages trust what
//! they get. Each model family is one line in [`FRONT_ENDS`].

mod checkpoint;
pub mod config;
mod error;
mod families;
mod family;
pub mod files;
mod folder;
pub mod gem;
mod gguf;
pub mod hub;
pub(crate) mod json;
mod keys;
mod licenses;
pub mod published;
mod quantised;
mod refusals;
mod rope;
mod source;
mod texts;
mod tokenizer;
mod wrapper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gem_runtime::regular;
use gem_runtime::text::{GENERATION_CONFIG, TOKENIZER};
use serde_json::{Map, Value};
use tokenizer::{Companions, Texts};

use crate::graph::{Graph, Task, Untyped};
use config::{KeyAccount, SpecialTokens};
use files::{TensorFiles, first_not_finite, to_f32};

pub use checkpoint::{Account, Checkpoint, TensorUse, Weights};
pub use error::{Finding, Findings, ImportError, Place, counted, nearest, printable, shown};
pub use families::front_end;
pub(crate) use folder::name as folder_name;
pub use gguf::texts as gguf_texts;
#[cfg(any(test, feature = "fuzzing"))]
pub use gguf::understood;
#[cfg(feature = "hub")]
pub(crate) use licenses::is_license;
pub use licenses::{license_files, licenses};
pub use rope::{RopeRule, RopeScaling, Yarn};
pub use source::{Source, Wanted};
pub use texts::{
    Split, TextRecord, files as text_files, for_each as for_each_record, parse_record,
};
pub use tokenizer::highest_id;

const CONFIG: &str = "config.json";
const LONGEST_CONFIG: u64 = 4 << 20;

/// A model family.
pub struct FrontEnd {
    /// The `model_type` that it reads.
    pub model_type: &'static str,
    /// Turns config and tensors into a graph; `None` when it noted findings.
    pub build: fn(&mut Source<'_>, &mut Findings) -> Option<ImportedModel>,
}

/// The families this compiler reads.
pub const FRONT_ENDS: &[FrontEnd] = &[
    front("gem", gem::front),
    front("bert", family::bert),
    front("distilbert", family::distilbert),
    front("ernie4_5", family::ernie4_5),
    front("gemma2", family::gemma2),
    front("gemma3_text", family::gemma3_text),
    front("gpt_oss", family::gpt_oss),
    front("granite", family::granite),
    front("granitemoe", family::granitemoe),
    front("granitemoehybrid", family::granitemoehybrid),
    front("granitemoeshared", family::granitemoeshared),
    front("lfm2", family::lfm2),
    front("lfm2_moe", family::lfm2_moe),
    front("llama", family::llama),
    front("mistral", family::mistral),
    front("mixtral", family::mixtral),
    front("modernbert", family::modernbert),
    front("olmoe", family::olmoe),
    front("phi3", family::phi3),
    front("qwen2", family::qwen2),
    front("qwen2_moe", family::qwen2_moe),
    front("qwen3", family::qwen3),
    front("qwen3_moe", family::qwen3_moe),
    front("roberta", family::roberta),
    front("smollm3", family::smollm3),
    front("xlm-roberta", family::xlm_roberta),
];

const fn front(
    model_type: &'static str,
    build: fn(&mut Source<'_>, &mut Findings) -> Option<ImportedModel>,
) -> FrontEnd {
    FrontEnd { model_type, build }
}

/// What a front end makes.
#[derive(Debug)]
pub struct ImportedModel {
    /// The model's graph, its shapes not checked yet.
    pub graph: Graph<Untyped>,
    /// What became of every config key.
    pub keys: KeyAccount,
    /// Tokens that begin and end a text.
    pub special: SpecialTokens,
}

/// Imports a checkpoint: a folder, a GGUF file, or what the cache of the Hugging Face hub holds of `org/name`. Reads every
/// tensor once, to rule out NaN and infinity.
///
/// # Errors
/// With everything that is wrong; a file that cannot be parsed at all stops at once.
pub fn checkpoint(path: &Path) -> Result<Checkpoint, ImportError> {
    checkpoint_with(path, u64::MAX)
}

/// The same, but values of files of more than `most` bytes are not looked at: they may hold NaN or infinity.
///
/// # Errors
/// As of `checkpoint`.
pub fn checkpoint_with(path: &Path, most: u64) -> Result<Checkpoint, ImportError> {
    let path = &hub::locate(Path::new(""), path).path;
    if let Some(file) = folder::gguf(path) {
        return gguf_file(&file, most);
    }
    folder::check(path)?;
    let config_bytes = json::read_bounded(&path.join(CONFIG), CONFIG, LONGEST_CONFIG)?;
    let config = json::parse_object(&config_bytes).map_err(|e| Finding::file(CONFIG, e))?;
    let text = wrapper::text(&config);
    // A family that is not read is told before anything large is opened.
    front_end(text.as_ref().unwrap_or(&config))?;
    let mut files = TensorFiles::open(path)?;
    let (config, whole, others) = match text {
        Some(text) => (text, Some(config), wrapper::rename(&mut files)?),
        None => (config, None, Vec::new()),
    };
    let source = Container {
        dir: path.to_owned(),
        gguf: None,
        config,
        config_bytes,
        differences: None,
        keys: None,
        whole,
        others,
    };
    for folder in family::weight_folders(path) {
        files = files.with_folder(path, &folder)?;
    }
    let files = match quantised::scheme(&source.config)? {
        None => files,
        Some(scheme) => files.unite(scheme)?,
    };
    source.read(files, tokenizer::folder(path), most)
}

/// Imports a GGUF file; what belongs to its text stands in it, or in files beside it.
fn gguf_file(file: &Path, most: u64) -> Result<Checkpoint, ImportError> {
    let model = gguf::open(file)?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new(".")).to_owned();
    let text = serde_json::Value::Object(model.config.clone()).to_string();
    let beside = regular::is_there(&dir.join(TOKENIZER));
    let texts = match beside {
        true => tokenizer::folder(&dir),
        false => Ok(Texts {
            files: model.texts,
            in_folder: Vec::new(),
        }),
    };
    let source = Container {
        dir,
        gguf: Some(file.to_owned()),
        config: model.config,
        config_bytes: text.into_bytes(),
        differences: Some(model.architecture),
        keys: Some(model.keys),
        whole: None,
        others: Vec::new(),
    };
    source.read(model.files, texts, most)
}

/// What a checkpoint is read from, beside its tensors and texts.
struct Container {
    /// The folder that it stands in.
    dir: PathBuf,
    /// The file, where it is one.
    gguf: Option<PathBuf>,
    config: Map<String, Value>,
    config_bytes: Vec<u8>,
    /// What weights are stored differently, in a file.
    differences: Option<&'static gguf::Architecture>,
    /// What became of every key, where `config` is not as it was read.
    keys: Option<KeyAccount>,
    /// The config as it was read, where `config` is that of the part that reads text.
    whole: Option<Map<String, Value>>,
    /// Tensors of other parts.
    others: Vec<String>,
}

impl Container {
    fn read(
        self,
        files: TensorFiles,
        texts: Result<Texts, Finding>,
        most: u64,
    ) -> Result<Checkpoint, ImportError> {
        let front = front_end(&self.config)?;
        let mut findings = Findings::default();
        let source = Source::of_files(&self.config, &files);
        let mut source = source
            .with_differences(self.differences)
            .with_folder(&self.dir);
        self.others
            .iter()
            .for_each(|name| source.drop(name, wrapper::left_out()));
        let built = (front.build)(&mut source, &mut findings);
        let beside = source.beside();
        let (uses, _) = source.finish();
        check_surplus(&files, &uses, &mut findings);
        let read = files.files().map(|(_, bytes)| bytes as u64).sum::<u64>() <= most;
        if read {
            check_values(&files, &uses, &mut findings);
        }
        let vocab = built.as_ref().map(|b| b.graph.facts().vocab_size);
        let mut companions = tokenizer::read(texts, vocab, &mut findings);
        let Some(mut built) = built else {
            return findings.into_result(()).and_then(|()| Err(unexplained()));
        };
        special_tokens(&mut built, &mut companions);
        check_blocks(&built.graph, &files, &mut findings);
        findings.into_result(())?;
        let weights = Weights::of(&built.graph, files).ok_or_else(unexplained)?;
        Ok(Checkpoint {
            dir: self.dir,
            gguf: self.gguf,
            config_bytes: self.config_bytes,
            family: front.model_type,
            values_read: read,
            beside,
            graph: built.graph,
            weights,
            account: Account {
                tensors: uses.into_iter().collect(),
                keys: match &self.whole {
                    Some(whole) => wrapper::account(whole, built.keys),
                    None => self.keys.unwrap_or(built.keys),
                },
            },
            companions,
        })
    }
}

/// Refuses tensors that are stored in blocks of values where what is read of them is not made of whole ones.
fn check_blocks(graph: &Graph<Untyped>, files: &TensorFiles, findings: &mut Findings) {
    for (_, tensor) in graph.tensors() {
        let found = files.find(tensor.view.stored());
        let stored = found.and_then(|found| files.entry(found).stored.clone().ok());
        let Some(stored) = stored else { continue };
        let (block, _) = stored.block();
        if block > 1 && !tensor.view.is_of_blocks(block) {
            let what =
                format!("is stored in blocks of {block}, which what is read of it would cut");
            findings.push(Finding::tensor(tensor.view.stored(), what));
        }
    }
}

/// Joins the tokens that begin and end a text of `config.json` with those of `generation_config.json`, and notes whether they
/// have an effect. Any token that one of the files names ends a text; what a family has where its config says nothing counts
/// only without a `generation_config.json`. An id beyond the vocabulary is never generated.
fn special_tokens(built: &mut ImportedModel, companions: &mut Companions) {
    let facts = built.graph.facts();
    if facts.task != Task::CausalLm {
        for key in ["bos_token_id", "eos_token_id"] {
            ignore(&mut built.keys, key, "a classifier generates no text");
        }
        return;
    }
    let known = |id: &u64| {
        u32::try_from(*id)
            .ok()
            .filter(|_| *id < facts.vocab_size as u64)
    };
    let alone = !companions.has(GENERATION_CONFIG);
    let counts = |key: &str| alone || built.keys.iter().any(|(given, _)| given == key);
    let generation = &mut companions.config.generation;
    if counts("eos_token_id") {
        let ids = &mut generation.eos_token_ids;
        ids.extend(built.special.eos.iter().filter_map(known));
    }
    generation.eos_token_ids.sort_unstable();
    generation.eos_token_ids.dedup();
    if generation.bos_token_id.is_some() {
        ignore(
            &mut built.keys,
            "bos_token_id",
            "generation_config.json says it",
        );
    } else if counts("bos_token_id") {
        generation.bos_token_id = built.special.bos.as_ref().and_then(known);
    }
}

/// Notes that a key has no effect.
fn ignore(keys: &mut KeyAccount, key: &str, why: &str) {
    for (_, becomes) in keys.iter_mut().filter(|(given, _)| given == key) {
        *becomes = config::KeyUse::Ignored(why.to_owned());
    }
}

/// A front end that fails without saying why is at fault itself; the input is refused all the same.
fn unexplained() -> ImportError {
    Finding::file(CONFIG, "describes a model that this compiler cannot build").into()
}

/// Every tensor of the file is used or dropped; any other is a finding. When the front end noted none, the config was
/// not readable and nothing can be said.
fn check_surplus(files: &TensorFiles, uses: &BTreeMap<String, TensorUse>, findings: &mut Findings) {
    if uses.is_empty() {
        return;
    }
    for name in files.names().filter(|n| !uses.contains_key(*n)) {
        let what = "is surplus: this config has no such tensor";
        findings.push(Finding::tensor(name, what));
    }
}

/// Looks for NaN and infinity in everything that is not dropped.
fn check_values(files: &TensorFiles, uses: &BTreeMap<String, TensorUse>, findings: &mut Findings) {
    for name in files.names() {
        if matches!(uses.get(name), Some(TensorUse::Dropped(_))) {
            continue;
        }
        let Some(found) = files.find(name) else {
            continue;
        };
        let entry = files.entry(found);
        let Ok(stored) = entry.stored else {
            continue;
        };
        if let Some(flat) = first_not_finite(stored, files.bytes(found)) {
            let (block, _) = stored.block();
            let first = flat - flat % block;
            let mut values = vec![0f32; block];
            let bytes = stored.bytes(first)..stored.bytes(first + block);
            to_f32(stored, &files.bytes(found)[bytes], &mut values);
            let at = index(&entry.shape, flat);
            let what = format!("holds {} at {at:?}", values[flat - first]);
            findings.push(Finding::tensor(name, what).allowed("finite values"));
        }
        let scales = files.scales(found);
        if let Some(at) = scales.and_then(|scales| scales.first_not_finite()) {
            let what = format!("has a scale that is no number, the {}th", at + 1);
            findings.push(Finding::tensor(name, what).allowed("finite values"));
        }
    }
}

/// A flat index as one per dimension.
fn index(shape: &[usize], flat: usize) -> Vec<usize> {
    let mut rest = flat;
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&d| {
            let i = rest % d.max(1);
            rest /= d.max(1);
            i
        })
        .collect();
    at.reverse();
    at
}

#[cfg(test)]
pub(crate) mod tests;
