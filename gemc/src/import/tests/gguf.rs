//! GGUF files in memory: a small model, and what is told of broken ones.

use std::fs;

use super::super::files::gguf::parse;
use super::super::gguf::understood;
use crate::graph::Op;
use crate::import::{TensorUse, checkpoint};
use crate::tensors::TensorSource as _;

/// A file in the making.
#[derive(Default)]
struct File {
    entries: u64,
    metadata: Vec<u8>,
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

impl File {
    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) -> &mut Self {
        self.entries += 1;
        text(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend(value);
        self
    }

    fn words(&mut self, key: &str, value: &str) -> &mut Self {
        let mut bytes = Vec::new();
        text(&mut bytes, value);
        self.entry(key, 8, &bytes)
    }

    fn count(&mut self, key: &str, value: u32) -> &mut Self {
        self.entry(key, 4, &value.to_le_bytes())
    }

    fn number(&mut self, key: &str, value: f32) -> &mut Self {
        self.entry(key, 6, &value.to_le_bytes())
    }

    fn list(&mut self, key: &str, items: &[&str]) -> &mut Self {
        let mut bytes = 8u32.to_le_bytes().to_vec();
        bytes.extend((items.len() as u64).to_le_bytes());
        items.iter().for_each(|item| text(&mut bytes, item));
        self.entry(key, 9, &bytes)
    }

    fn integers(&mut self, key: &str, items: &[i32]) -> &mut Self {
        let mut bytes = 5u32.to_le_bytes().to_vec();
        bytes.extend((items.len() as u64).to_le_bytes());
        items
            .iter()
            .for_each(|item| bytes.extend(item.to_le_bytes()));
        self.entry(key, 9, &bytes)
    }

    /// A tensor of MXFP4: the scale of each block is 2, its codes count up.
    fn mxfp4(&mut self, name: &str, shape: &[u64]) -> &mut Self {
        let blocks = shape.iter().product::<u64>() / 32;
        let block = |_| std::iter::once(128).chain((0..16u8).map(|i| i << 4 | i));
        let bytes = (0..blocks).flat_map(block).collect();
        let shape = shape.iter().rev().copied().collect();
        self.tensors.push((name.to_owned(), shape, 39, bytes));
        self
    }

    /// A tensor of F32; dimensions as PyTorch has them.
    fn tensor(&mut self, name: &str, shape: &[u64]) -> &mut Self {
        let count: u64 = shape.iter().product();
        let values = (0..count).map(|i| (i % 17) as f32 / 16.0 - 0.5);
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        let shape = shape.iter().rev().copied().collect();
        self.tensors.push((name.to_owned(), shape, 0, bytes));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend(self.entries.to_le_bytes());
        file.extend(&self.metadata);
        let mut data: Vec<u8> = Vec::new();
        for (name, shape, kind, bytes) in &self.tensors {
            data.resize(data.len().next_multiple_of(32), 0);
            text(&mut file, name);
            file.extend((shape.len() as u32).to_le_bytes());
            shape.iter().for_each(|d| file.extend(d.to_le_bytes()));
            file.extend(kind.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            data.extend(bytes);
        }
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(data);
        file
    }
}

/// A llama of one layer.
fn llama() -> File {
    llama_of(&["a", "b", "ab", "<end>"])
}

fn llama_of(tokens: &[&str]) -> File {
    let mut file = File::default();
    file.words("general.architecture", "llama")
        .words("general.name", "toy")
        .count("llama.block_count", 1)
        .count("llama.context_length", 32)
        .count("llama.embedding_length", 32)
        .count("llama.feed_forward_length", 64)
        .count("llama.attention.head_count", 4)
        .count("llama.attention.head_count_kv", 2)
        .number("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .number("llama.rope.freq_base", 5000.0)
        .count("llama.rope.dimension_count", 8)
        .words("tokenizer.ggml.model", "gpt2")
        .words("tokenizer.ggml.pre", "smollm")
        .list("tokenizer.ggml.tokens", tokens)
        .list("tokenizer.ggml.merges", &["a b"])
        .count("tokenizer.ggml.eos_token_id", 3)
        .tensor("token_embd.weight", &[4, 32])
        .tensor("output_norm.weight", &[32])
        .tensor("blk.0.attn_norm.weight", &[32])
        .tensor("blk.0.attn_q.weight", &[32, 32])
        .tensor("blk.0.attn_k.weight", &[16, 32])
        .tensor("blk.0.attn_v.weight", &[16, 32])
        .tensor("blk.0.attn_output.weight", &[32, 32])
        .tensor("blk.0.ffn_norm.weight", &[32])
        .tensor("blk.0.ffn_gate.weight", &[64, 32])
        .tensor("blk.0.ffn_up.weight", &[64, 32])
        .tensor("blk.0.ffn_down.weight", &[32, 64]);
    file
}

/// What every architecture has, of two layers.
fn common(name: &str) -> File {
    let mut file = File::default();
    let key = |rest: &str| format!("{name}.{rest}");
    file.words("general.architecture", name)
        .count(&key("block_count"), 2)
        .count(&key("context_length"), 32)
        .count(&key("embedding_length"), 32)
        .count(&key("feed_forward_length"), 64)
        .count(&key("attention.head_count"), 4)
        .number(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .words("tokenizer.ggml.model", "gpt2")
        .words("tokenizer.ggml.pre", "smollm")
        .list("tokenizer.ggml.tokens", &["a", "b", "ab", "<|im_end|>"])
        .list("tokenizer.ggml.merges", &["a b"])
        .integers("tokenizer.ggml.token_type", &[1, 1, 1, 3])
        .tensor("token_embd.weight", &[4, 32]);
    file
}

/// Tensors of every layer.
fn layers(file: &mut File, layers: std::ops::Range<u32>, tensors: &[(&str, &[u64])]) {
    for layer in layers {
        for (name, shape) in tensors {
            file.tensor(&format!("blk.{layer}.{name}"), shape);
        }
    }
}

const ATTENTION: [(&str, &[u64]); 5] = [
    ("attn_norm.weight", &[32]),
    ("attn_q.weight", &[32, 32]),
    ("attn_k.weight", &[16, 32]),
    ("attn_v.weight", &[16, 32]),
    ("attn_output.weight", &[32, 32]),
];

const MLP: [(&str, &[u64]); 4] = [
    ("ffn_norm.weight", &[32]),
    ("ffn_gate.weight", &[64, 32]),
    ("ffn_up.weight", &[64, 32]),
    ("ffn_down.weight", &[32, 64]),
];

const EXPERTS: [(&str, &[u64]); 4] = [
    ("ffn_gate_inp.weight", &[3, 32]),
    ("ffn_gate_exps.weight", &[3, 24, 32]),
    ("ffn_up_exps.weight", &[3, 24, 32]),
    ("ffn_down_exps.weight", &[3, 32, 24]),
];

const HEAD_NORMS: [(&str, &[u64]); 2] =
    [("attn_q_norm.weight", &[8]), ("attn_k_norm.weight", &[8])];

/// Small files of the other architectures, as llama.cpp's converter lays them out.
fn others() -> Vec<(&'static str, File)> {
    let mut files = Vec::new();
    let mut qwen = common("qwen3moe");
    qwen.count("qwen3moe.attention.head_count_kv", 2)
        .count("qwen3moe.expert_count", 3)
        .count("qwen3moe.expert_used_count", 2)
        .count("qwen3moe.expert_feed_forward_length", 24)
        .tensor("output_norm.weight", &[32]);
    for part in [&ATTENTION[..], &HEAD_NORMS, &MLP[..1], &EXPERTS] {
        layers(&mut qwen, 0..2, part);
    }
    files.push(("qwen3moe", qwen));
    let mut gemma = common("gemma3");
    gemma
        .count("gemma3.attention.head_count_kv", 2)
        .count("gemma3.attention.key_length", 8)
        .count("gemma3.attention.sliding_window", 5)
        .tensor("output_norm.weight", &[32]);
    let around: [(&str, &[u64]); 2] = [
        ("post_attention_norm.weight", &[32]),
        ("post_ffw_norm.weight", &[32]),
    ];
    for part in [&ATTENTION[..], &HEAD_NORMS, &MLP, &around] {
        layers(&mut gemma, 0..2, part);
    }
    files.push(("gemma3", gemma));
    let mut lfm = common("lfm2moe");
    lfm.integers("lfm2moe.attention.head_count_kv", &[0, 2])
        .count("lfm2moe.shortconv.l_cache", 3)
        .count("lfm2moe.expert_count", 3)
        .count("lfm2moe.expert_used_count", 2)
        .count("lfm2moe.expert_gating_func", 2)
        .count("lfm2moe.expert_feed_forward_length", 24)
        .count("lfm2moe.leading_dense_block_count", 1)
        .tensor("token_embd_norm.weight", &[32]);
    let conv: [(&str, &[u64]); 4] = [
        ("attn_norm.weight", &[32]),
        ("shortconv.conv.weight", &[32, 3]),
        ("shortconv.in_proj.weight", &[96, 32]),
        ("shortconv.out_proj.weight", &[32, 32]),
    ];
    layers(&mut lfm, 0..1, &conv);
    layers(&mut lfm, 0..1, &MLP);
    for part in [&ATTENTION[..], &HEAD_NORMS, &MLP[..1], &EXPERTS] {
        layers(&mut lfm, 1..2, part);
    }
    layers(&mut lfm, 1..2, &[("exp_probs_b.bias", &[3])]);
    files.push(("lfm2moe", lfm));
    let mut granite = common("granitemoe");
    granite
        .count("granitemoe.attention.head_count_kv", 2)
        .count("granitemoe.expert_count", 3)
        .count("granitemoe.expert_used_count", 2)
        .count("granitemoe.expert_shared_feed_forward_length", 16)
        .number("granitemoe.attention.scale", 0.25)
        .number("granitemoe.embedding_scale", 12.0)
        .number("granitemoe.residual_scale", 0.5)
        .number("granitemoe.logit_scale", 8.0)
        .tensor("output_norm.weight", &[32]);
    let mut experts = EXPERTS.to_vec();
    for (_, shape) in &mut experts[1..] {
        *shape = match shape[1] {
            24 => &[3, 64, 32],
            _ => &[3, 32, 64],
        };
    }
    let shared: [(&str, &[u64]); 3] = [
        ("ffn_gate_shexp.weight", &[16, 32]),
        ("ffn_up_shexp.weight", &[16, 32]),
        ("ffn_down_shexp.weight", &[32, 16]),
    ];
    for part in [&ATTENTION[..], &MLP[..1], &experts, &shared] {
        layers(&mut granite, 0..2, part);
    }
    files.push(("granitemoe", granite));
    let mut oss = common("gpt-oss");
    oss.count("gpt-oss.attention.head_count_kv", 2)
        .count("gpt-oss.attention.sliding_window", 4)
        .count("gpt-oss.expert_count", 3)
        .count("gpt-oss.expert_used_count", 2)
        .count("gpt-oss.expert_feed_forward_length", 64)
        .number("gpt-oss.rope.freq_base", 150_000.0)
        .words("gpt-oss.rope.scaling.type", "yarn")
        .number("gpt-oss.rope.scaling.factor", 4.0)
        .count("gpt-oss.rope.scaling.original_context_length", 8)
        .tensor("output_norm.weight", &[32]);
    let more: [(&str, &[u64]); 10] = [
        ("post_attention_norm.weight", &[32]),
        ("attn_sinks.weight", &[4]),
        ("attn_q.bias", &[32]),
        ("attn_k.bias", &[16]),
        ("attn_v.bias", &[16]),
        ("attn_output.bias", &[32]),
        ("ffn_gate_inp.bias", &[3]),
        ("ffn_gate_exps.bias", &[3, 64]),
        ("ffn_up_exps.bias", &[3, 64]),
        ("ffn_down_exps.bias", &[3, 32]),
    ];
    for part in [&ATTENTION[..], &experts[..1], &more] {
        layers(&mut oss, 0..2, part);
    }
    for layer in 0..2 {
        for (name, shape) in &experts[1..] {
            oss.mxfp4(&format!("blk.{layer}.{name}"), shape);
        }
    }
    files.push(("gpt-oss", oss));
    files
}

/// A file that is accepted.
pub fn small_gguf() -> Vec<u8> {
    llama().bytes()
}

#[test]
fn a_small_file_is_a_checkpoint() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let path = root.path().join("toy.gguf");
    fs::write(&path, small_gguf()).expect("written");
    // The file, and a folder that holds nothing else.
    for given in [path.as_path(), root.path()] {
        let checkpoint = checkpoint(given).expect("good");
        assert!(checkpoint.has_tokenizer());
        assert_eq!(checkpoint.generation_config().eos_token_ids, [3]);
        assert_eq!(checkpoint.name(), "toy");
        assert_eq!(checkpoint.input_files(), ["toy.gguf"]);
        let graph = checkpoint.graph();
        assert_eq!(graph.facts().vocab_size, 4);
        let q = graph
            .tensors()
            .find(|(_, tensor)| tensor.path.contains("q_proj"));
        let (q, tensor) = q.expect("queries");
        assert_eq!(tensor.path, "model.layers.0.self_attn.q_proj.weight[pairs]");
        // The second row of a head is the first of its second pair.
        let row = |row: usize| -> f32 { (row * 32 % 17) as f32 / 16.0 - 0.5 };
        let mut found = [0.0; 32];
        for (at, stored) in [(0, 0), (1, 2), (4, 1), (7, 7), (9, 10)] {
            checkpoint.weights().read_rows(q, at..at + 1, &mut found);
            assert_eq!(found[0], row(stored), "row {at}");
        }
        let tied = graph.topo().any(|(_, node)| {
            let embedding = |part: &crate::graph::LinearPart| {
                graph.tensor(part.weight).path == "model.embed_tokens.weight"
            };
            matches!(&node.op, Op::Linear { parts } if parts.iter().any(embedding))
        });
        assert!(tied);
    }
}

#[test]
fn every_architecture_is_read_whole() {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (name, file) in others() {
        let path = root.path().join(format!("{name}.gguf"));
        fs::write(&path, file.bytes()).expect("written");
        let read = checkpoint(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let account = read.account();
        assert_eq!(account.tensors.len(), file.tensors.len(), "{name}");
        let used = |(_, what): &(String, TensorUse)| *what == TensorUse::Used;
        assert!(
            account.tensors.iter().all(used),
            "{name}: {:?}",
            account.tensors
        );
        // The end of a turn is there by its name alone.
        assert_eq!(read.generation_config().eos_token_ids, [3], "{name}");
        let graph = read.graph();
        let ops = || graph.topo().map(|(_, node)| &node.op);
        let routers = ops()
            .filter(|op| matches!(op, Op::Router { top_k: 2, .. }))
            .count();
        let (windows, scales): (Vec<_>, Vec<_>) = ops()
            .filter_map(|op| match op {
                Op::Attention { window, scale, .. } => Some((*window, *scale)),
                _ => None,
            })
            .unzip();
        let expected = match name {
            "gemma3" => (0, vec![Some(5), Some(5)]),
            "lfm2moe" => (1, vec![None]),
            "gpt-oss" => (2, vec![Some(4), None]),
            _ => (2, vec![None, None]),
        };
        assert_eq!((routers, windows), expected, "{name}");
        if name == "granitemoe" {
            assert_eq!(scales, [0.25, 0.25]);
        }
        if name == "gpt-oss" {
            let find = |(_, tensor): &(_, &crate::graph::Tensor)| {
                tensor.path.contains("layers.1.mlp.experts.down_proj[2]")
            };
            let (down, _) = graph.tensors().find(find).expect("the last expert's");
            let mut row = [0.0; 64];
            read.weights().read_rows(down, 31..32, &mut row);
            assert_eq!(row[..5], [0.0, 1.0, 2.0, 3.0, 4.0], "{row:?}");
            assert_eq!(row[16..48], [&row[..16], &row[..16]].concat(), "{row:?}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let edited = |edit: &dyn Fn(&mut File)| {
        let mut file = llama();
        edit(&mut file);
        file.bytes()
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"GGUF".to_vec(), "is truncated"),
        (b"GGML\x03\0\0\0".to_vec(), "is no GGUF file"),
        (
            [b"GGUF".as_slice(), &2u32.to_le_bytes()].concat(),
            "has version 2; allowed: 3",
        ),
        (
            [
                b"GGUF".as_slice(),
                &3u32.to_le_bytes(),
                &u64::MAX.to_le_bytes(),
                &[0; 8],
            ]
            .concat(),
            "18446744073709551615 tensors, for which the file is too short",
        ),
        (
            edited(&|f| {
                f.count("general.alignment", 7);
            }),
            "general.alignment",
        ),
        (
            edited(&|f| {
                f.count("llama.block_count", 1);
            }),
            "`llama.block_count` appears twice",
        ),
        (
            edited(&|f| {
                f.count("llama.attention.sliding_window", 4);
            }),
            "`llama.attention.sliding_window` is not read",
        ),
        (
            edited(&|f| {
                f.count("llama.expert_count", 4);
            }),
            "`llama.expert_used_count` is missing",
        ),
        (
            {
                let mut large = File::default();
                large
                    .words("general.architecture", "gemma3")
                    .count("gemma3.embedding_length", 32)
                    .count("gemma3.attention.head_count", 4)
                    .count("gemma3.block_count", 1 << 31)
                    .tensor("token_embd.weight", &[4, 32]);
                large.bytes()
            },
            "`gemma3.block_count` is 2147483648; allowed: at most 1024",
        ),
        (
            llama_of(&["a", "b", "ab", &"x".repeat(2000)]).bytes(),
            "a token of 2000 bytes; allowed: at most 1024",
        ),
        (
            edited(&|f| {
                f.words("llama.rope.scaling.type", "longrope");
            }),
            "allowed: none, linear, yarn",
        ),
        (
            edited(&|f| f.tensors[3].1 = vec![32, 1 << 40]),
            "ends behind the end",
        ),
        (
            edited(&|f| {
                f.entry("x", 9, &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
            }),
            "lists of lists",
        ),
        (
            edited(&|f| {
                f.entry("x", 77, &[]);
            }),
            "has type 77",
        ),
        (
            edited(&|f| {
                f.entry("x", 8, &u64::MAX.to_le_bytes());
            }),
            "for which the file is too short",
        ),
    ];
    for (bytes, words) in cases {
        let told = match parse(&bytes) {
            Err(told) => told,
            Ok(gguf) => understood(&gguf, &bytes).err().unwrap_or_default(),
        };
        assert!(told.contains(words), "{words}: {told}");
    }
    let other = |architecture: &str| {
        let mut file = File::default();
        file.words("general.architecture", architecture);
        let bytes = file.bytes();
        let gguf = parse(&bytes).expect("parsed");
        understood(&gguf, &bytes).err().unwrap_or_default()
    };
    assert!(other("mamba").contains("allowed: llama, qwen2, qwen2moe, qwen3"));
    assert!(other("llama").contains("`token_embd.weight` is missing"));
}

/// A bias whose rows are exchanged cannot be read out of blocks.
#[test]
fn blocks_that_would_be_cut_are_refused() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut file = llama();
    for (name, size) in [("q", 32), ("k", 32), ("v", 32), ("output", 32)] {
        let name = format!("blk.0.attn_{name}.bias");
        file.tensors.push((name, vec![size], 8, vec![0; 34]));
    }
    for (name, shape, _, bytes) in &mut file.tensors {
        if name.ends_with("attn_k.weight") || name.ends_with("attn_v.weight") {
            *shape = vec![32, 32];
            bytes.resize(4 * 32 * 32, 0);
        }
    }
    let mut metadata = File::default();
    metadata.metadata = std::mem::take(&mut file.metadata);
    metadata.entries = file.entries;
    let path = root.path().join("toy.gguf");
    // As many key heads as query heads.
    let mut bytes = b"llama.attention.head_count_kv".to_vec();
    bytes.extend([4, 0, 0, 0, 2, 0, 0, 0]);
    let at = metadata
        .metadata
        .windows(bytes.len())
        .position(|w| w == bytes);
    metadata.metadata[at.expect("there") + bytes.len() - 4] = 4;
    metadata.tensors = std::mem::take(&mut file.tensors);
    fs::write(&path, metadata.bytes()).expect("written");
    let told = checkpoint(&path).expect_err("refused").to_string();
    assert!(
        told.contains("q_proj.bias") && told.contains("is stored in blocks of 32"),
        "{told}"
    );
}

#[test]
fn every_cut_of_a_file_is_told() {
    let whole = small_gguf();
    for length in (0..whole.len()).step_by(7) {
        assert!(
            parse(&whole[..length]).is_err(),
            "{length} of {} bytes",
            whole.len()
        );
    }
}
