//! The files of a revision -> those that gemc reads.

use std::path::PathBuf;

use gem_runtime::text::{GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG, is_chat_template};

use super::HubError;
use super::listing::{File, Listing};
use crate::import::files::parse_index;
use crate::import::hub::HubName;
use crate::import::{is_license, printable};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Files about a model, beside those about its text.
const ABOUT: &[&str] = &["config.json", "README.md", "modules.json"];

/// Files about text.
const TEXT: &[&str] = &[TOKENIZER, TOKENIZER_CONFIG, GENERATION_CONFIG];

/// How the settings of sentence-transformers end, in the model's folder and in those of its steps.
const SENTENCE: &str = "sentence_";

/// Folders of texts that calibrate and judge plans.
const TEXTS: &[&str] = &["calibration/", "evaluation/"];

/// The files that gemc reads. `get` fetches one that says which others there are, and gives its place.
pub(super) fn files<'a>(
    name: &HubName,
    listing: &'a Listing,
    get: &mut dyn FnMut(&File) -> Result<PathBuf, HubError>,
) -> Result<Vec<&'a File>, HubError> {
    let find = |wanted: &str| listing.files.iter().find(|file| file.name == wanted);
    let unread = |what: String| HubError::Unread {
        repository: name.repository(),
        what,
    };
    let gguf: Vec<&File> = listing
        .files
        .iter()
        .filter(|file| file.name.to_lowercase().ends_with(".gguf"))
        .collect();
    let weights: Vec<&File> = match (name.file(), find(SINGLE), find(INDEX), &gguf[..]) {
        (Some(wanted), ..) => match find(wanted) {
            Some(file) => vec![file],
            None => {
                return Err(HubError::NoFile {
                    repository: name.repository(),
                    file: wanted.to_owned(),
                });
            }
        },
        (None, Some(single), ..) => vec![single],
        (None, None, Some(index), _) => {
            let place = get(index)?;
            let bytes = std::fs::read(&place).map_err(|source| HubError::Io {
                path: place,
                source,
            })?;
            let map = parse_index(&bytes).map_err(|what| unread(format!("{INDEX}: {what}")))?;
            let mut names: Vec<&String> = map.values().collect();
            names.sort_unstable();
            names.dedup();
            let shard = |shard: &String| {
                find(shard).ok_or_else(|| {
                    unread(format!(
                        "{INDEX} names {}, which is not there",
                        printable(shard)
                    ))
                })
            };
            let shards = names
                .into_iter()
                .map(shard)
                .collect::<Result<Vec<_>, _>>()?;
            [vec![index], shards].concat()
        }
        (None, None, None, [one]) => vec![*one],
        (None, None, None, several) => return Err(unread(without_weights(name, listing, several))),
    };
    let of_folder = weights
        .iter()
        .any(|file| [SINGLE, INDEX].contains(&file.name.as_str()));
    let others = listing.files.iter().filter(|file| {
        is_read(&file.name, of_folder) && !weights.iter().any(|w| w.name == file.name)
    });
    Ok(others.chain(weights.iter().copied()).collect())
}

/// Whether a file beside the weights is read: of a folder of tensors, or beside a GGUF file, which says most itself.
fn is_read(name: &str, of_folder: bool) -> bool {
    let always = TEXT.contains(&name)
        || is_chat_template(name)
        || name == "README.md"
        || is_license(name) && !name.contains('/');
    let text = TEXTS.iter().any(|folder| {
        name.strip_prefix(folder)
            .is_some_and(|rest| rest.ends_with(".jsonl") && !rest.contains('/'))
    });
    let step = |name: &str| match name.split_once('/') {
        // `1_Pooling/config.json`, `2_Dense/model.safetensors`
        Some((folder, file)) => {
            folder.starts_with(|c: char| c.is_ascii_digit())
                && ["config.json", SINGLE].contains(&file)
        }
        None => {
            name.ends_with(".json")
                && (name.starts_with(SENTENCE) || name == "config_sentence_transformers.json")
        }
    };
    always || of_folder && (ABOUT.contains(&name) || text || step(name))
}

/// Where there is nothing to read, or too much to choose from.
fn without_weights(name: &HubName, listing: &Listing, gguf: &[&File]) -> String {
    const TOLD: usize = 12;
    if !gguf.is_empty() {
        let told = |file: &&File| {
            format!(
                "{} ({:.1} GB)",
                printable(&file.name),
                file.size as f64 / 1e9
            )
        };
        let mut files: Vec<String> = gguf.iter().take(TOLD).map(told).collect();
        if gguf.len() > TOLD {
            files.push(format!("{} more", gguf.len() - TOLD));
        }
        return format!(
            "holds no {SINGLE}, but GGUF files: name one of them, as in gemc pull {}/{}; there are {}",
            name.repository(),
            printable(&gguf[0].name),
            files.join(", ")
        );
    }
    let ends = |ending: &str| {
        listing
            .files
            .iter()
            .find(|file| file.name.ends_with(ending))
    };
    let other = [".bin", ".pth", ".pt", ".ckpt", ".onnx", ".h5"]
        .into_iter()
        .find_map(ends);
    let other = other.map(|file| {
        format!(
            ", but {}, which gemc does not read: convert it to safetensors",
            printable(&file.name)
        )
    });
    format!(
        "holds no {SINGLE}, {INDEX} or GGUF file{}",
        other.unwrap_or_default()
    )
}
