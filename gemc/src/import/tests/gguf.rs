//! GGUF files in memory: a small model, and what is told of broken ones.

use std::fs;

use super::super::files::gguf::parse;
use super::super::gguf::understood;
use crate::graph::Op;
use crate::import::checkpoint;
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
        .list("tokenizer.ggml.tokens", &["a", "b", "ab", "<end>"])
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
            "`llama.expert_count` is not read",
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
    assert!(other("mamba").contains("allowed: llama, qwen2, qwen3"));
    assert!(other("llama").contains("`token_embd.weight` is missing"));
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
