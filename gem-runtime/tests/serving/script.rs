//! A model that says what it is told to, with a byte-level tokenizer: token ids below 256 are bytes.

use std::borrow::Cow;

use gem_runtime::abi::{Ctx, Executable, HalfTap, Items, Part, ProgramShape, RoutingTap, Table};
use gem_runtime::bundle::Bundle;
use gem_runtime::storage::Weights;
use gem_runtime::text::{Text, TextFiles};
use gem_runtime::{Engine, ModelInfo, Result, Task};
use serde_json::{Value, json};

use crate::toy;

pub const VOCAB: u32 = 300;
pub const BOS: u32 = 257;
pub const END: u32 = 258;
pub const MAX_ROWS: u32 = 16;
pub const MAX_POSITIONS: u32 = 64;
const MAX_OUTPUTS: u32 = 2;
/// Distance of the scripted token's logit from all others.
pub const MARGIN: f32 = 8.0;

/// After position p the model wants token `next[p]`; the last one counts for all positions after it.
struct Script {
    next: Vec<u32>,
    width: u32,
    task: Task,
    shape: ProgramShape,
}

impl Executable for Script {
    fn shape(&self) -> &ProgramShape {
        &self.shape
    }

    fn phases(&self, part: Part) -> &[Items] {
        match part {
            Part::Body => &[],
            Part::Head => &[Items::PerOutput(1)],
        }
    }

    fn taps(&self) -> &[RoutingTap] {
        &[]
    }

    fn halves(&self) -> &[HalfTap] {
        &[]
    }

    fn tables(&self) -> &[Table] {
        &[]
    }

    unsafe fn run(&self, _: Part, _: usize, ctx: &Ctx, begin: u32, end: u32) {
        for output in begin..end {
            // SAFETY: outputs name rows of the step; the arena holds a row of logits per output.
            let (row, logits) = unsafe {
                let row = *ctx.rows.add(*ctx.outputs.add(output as usize) as usize);
                let logits = ctx.arena.cast::<f32>().add((output * self.width) as usize);
                let width = self.width as usize;
                (row, std::slice::from_raw_parts_mut(logits, width))
            };
            logits.fill(0.0);
            // As kernels do: whether the weights are still there is seen when they are read.
            // SAFETY: the weights of the toy are not empty.
            unsafe { ctx.weights.read_volatile() };
            // SAFETY: a step has so many rows.
            let rows = unsafe { std::slice::from_raw_parts(ctx.rows, ctx.n_rows as usize) };
            match self.task {
                Task::SequenceClassification => {
                    // The first label is likelier the longer the text is, the last by tokens of the second type.
                    logits[0] = row.visible as f32 - 4.5;
                    logits[2] = rows.iter().filter(|row| row.token >= VOCAB).count() as f32;
                    continue;
                }
                Task::TokenClassification => {
                    logits[row.token as usize % 3] = MARGIN;
                    continue;
                }
                Task::Embedding => {
                    // Where pooling begins, and how long the text is.
                    logits[0] = row.position as f32;
                    logits[1] = row.visible as f32;
                    continue;
                }
                Task::CausalLm => {}
            }
            let at = (row.position as usize).min(self.next.len() - 1);
            logits[self.next[at] as usize] = MARGIN;
        }
    }
}

fn engine(task: Task, next: Vec<u32>) -> Engine {
    let weights = Weights::copied(&toy::weight_file()).expect("own file");
    let engine = joined(task, next, weights).expect("they fit");
    engine.with_text(Some(text()))
}

/// The same model with another chat template.
pub fn with_template(engine: Engine, template: &str) -> Engine {
    let mut settings = tokenizer_config();
    settings["chat_template"] = json!(template);
    engine.with_text(Some(text_with(&settings)))
}

/// A model without a tokenizer of its own that answers a prompt of two tokens with a word.
pub fn opened(weights: Weights) -> Result<Engine> {
    let (info, script) = word();
    Engine::new(info, Box::new(script), weights)
}

/// The same model, of a bundle.
pub fn bundled(bundle: &Bundle) -> Result<Engine> {
    let (info, script) = word();
    Engine::from_bundle(info, Box::new(script), bundle)
}

/// Its facts.
pub fn info() -> ModelInfo {
    word().0
}

fn word() -> (ModelInfo, Script) {
    let ids = [0].into_iter().chain("h\u{e9}llo".bytes().map(u32::from));
    parts(Task::CausalLm, ids.chain([END]).collect())
}

/// The model that answers a prompt of two tokens with one.
pub fn from_parts(weights: Weights, texts: &TextFiles<'_>) -> Result<Engine> {
    let (info, script) = parts(Task::CausalLm, vec![0, 97]);
    Engine::from_parts(info, Box::new(script), weights, texts)
}

fn joined(task: Task, next: Vec<u32>, weights: Weights) -> Result<Engine> {
    let (info, script) = parts(task, next);
    Engine::new(info, Box::new(script), weights)
}

fn parts(task: Task, next: Vec<u32>) -> (ModelInfo, Script) {
    let labels: &[Cow<'static, str>] = match task {
        Task::CausalLm | Task::Embedding => &[],
        Task::SequenceClassification | Task::TokenClassification => &[
            Cow::Borrowed("long"),
            Cow::Borrowed("short"),
            Cow::Borrowed("other"),
        ],
    };
    let info = ModelInfo {
        embedding: if task == Task::Embedding { 2 } else { 0 },
        conventions: gem_runtime::Conventions::PLAIN,
        vocab_size: VOCAB,
        max_positions: MAX_POSITIONS,
        domains: Cow::Borrowed(&[]),
        labels: Cow::Owned(labels.to_vec()),
        eos: Cow::Borrowed(&[END]),
        ..toy::info(task)
    };
    let script = Script {
        next,
        width: VOCAB,
        task,
        shape: ProgramShape {
            arena_bytes: MAX_OUTPUTS * VOCAB * 4,
            kv_bytes_per_position: 4,
            ring_bytes: 0,
            rewind: u32::MAX,
            max_rows: MAX_ROWS,
            max_outputs: MAX_OUTPUTS,
            logits: 0,
            logits_stride: VOCAB,
            weight_bytes: 64,
        },
    };
    (info, script)
}

/// A model that answers a prompt of `prompt` tokens, the beginning of a text included, with these.
pub fn says(prompt: usize, answer: &[u32]) -> Engine {
    let mut next = vec![0; prompt - 1];
    next.extend(answer);
    engine(Task::CausalLm, next)
}

/// A model that answers a prompt of `prompt` tokens with a text and the end of the text.
pub fn writes(prompt: usize, answer: &str) -> Engine {
    let mut ids: Vec<u32> = answer.bytes().map(u32::from).collect();
    ids.push(END);
    says(prompt, &ids)
}

/// A classifier of texts by their length: `long` from five tokens on.
pub fn classifier() -> Engine {
    engine(Task::SequenceClassification, Vec::new())
}

/// A model of whole texts, with these conventions and these prompts.
pub fn of_texts(task: Task, conventions: gem_runtime::Conventions, prompts: &Value) -> Engine {
    let weights = Weights::copied(&toy::weight_file()).expect("own file");
    let (info, script) = parts(task, Vec::new());
    let info = ModelInfo {
        conventions,
        ..info
    };
    let engine = Engine::new(info, Box::new(script), weights).expect("they fit");
    let files = [tokenizer_json(), tokenizer_config(), prompts.clone()].map(|v| v.to_string());
    let files = TextFiles {
        tokenizer: files[0].as_bytes(),
        tokenizer_config: Some(files[1].as_bytes()),
        sentence_config: Some(files[2].as_bytes()),
        ..TextFiles::default()
    };
    engine.with_text(Some(Text::new(&files, VOCAB).expect("own files")))
}

pub fn text() -> Text {
    text_with(&tokenizer_config())
}

/// The text side of a model with these settings of its tokenizer.
pub fn text_with(settings: &Value) -> Text {
    let files = [&tokenizer_json(), settings].map(Value::to_string);
    Text::new(
        &TextFiles {
            tokenizer: files[0].as_bytes(),
            tokenizer_config: Some(files[1].as_bytes()),
            generation_config: Some(br#"{"eos_token_id": [258, 256], "max_new_tokens": 40}"#),
            ..TextFiles::default()
        },
        VOCAB,
    )
    .expect("own files")
}

pub fn tokenizer_config() -> Value {
    json!({
        "bos_token": "<s>",
        "eos_token": {"content": "<|end|>", "lstrip": false},
        "chat_template": "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\
                          {% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    })
}

/// How byte-level tokenizers spell a byte: printable ones as themselves, the others from U+0100 on.
fn spelled(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|b| !printable(*b)).count();
    char::from_u32(256 + before as u32).expect("a letter")
}

/// Spelling of several bytes.
pub fn token(bytes: &[u8]) -> String {
    bytes.iter().map(|b| spelled(*b)).collect()
}

/// A byte-level tokenizer whose token 261 ends one character and begins another; `<s>` begins a text, `<|end|>` can
/// end one.
pub fn tokenizer_json() -> Value {
    let mut vocab: serde_json::Map<String, Value> = (0..=255_u8)
        .map(|b| (token(&[b]), Value::from(b)))
        .collect();
    vocab.insert(token(&[0xa9, 0xc3]), Value::from(261));
    let specials = ["<pad>", "<s>", "<|end|>", "<|user|>", "<|assistant|>"];
    vocab.extend(
        specials
            .iter()
            .zip(256..)
            .map(|(content, id)| ((*content).to_owned(), Value::from(id))),
    );
    let special = |(content, id): (&str, u32)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let byte_level = |kind: &str| json!({"type": kind, "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 256,
                    "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": specials.into_iter().zip(256..).map(special).collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": byte_level("ByteLevel"),
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [257], "tokens": ["<s>"]}},
        },
        "decoder": byte_level("ByteLevel"),
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": []},
    })
}
