//! Weights of codes and scales read as the values that they stand for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use super::made;
use crate::import::{Checkpoint, checkpoint};
use crate::tensors::TensorSource as _;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn read(dir: &Path) -> Tensors {
    let bytes = fs::read(dir.join("model.safetensors")).expect("just made");
    let file = SafeTensors::deserialize(&bytes).expect("just made");
    let tensors = file.iter().map(|(name, view)| {
        let all = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        (name.to_owned(), all)
    });
    tensors.collect()
}

fn write(dir: &Path, config: &Value, tensors: &Tensors) {
    fs::create_dir_all(dir).expect("space");
    fs::write(dir.join("config.json"), config.to_string()).expect("space");
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name, view.expect("bytes of its shape"))
    });
    let bytes = safetensors::serialize(views, None).expect("plain tensors");
    fs::write(dir.join("model.safetensors"), bytes).expect("space");
}

/// All values that a model's graph reads, as bits.
fn values(checkpoint: &Checkpoint) -> Vec<(Vec<usize>, Vec<u32>)> {
    let tensors = checkpoint.graph().tensors();
    let read = tensors.map(|(id, tensor)| {
        let shape = tensor.shape().to_vec();
        let rows = tensor.view.rows();
        let mut out = vec![0.0; rows * tensor.view.columns()];
        checkpoint.weights().read_rows(id, 0..rows, &mut out);
        (shape, out.iter().map(|value| value.to_bits()).collect())
    });
    read.collect()
}

/// Numbers that depend on a seed and an index alone.
fn number(seed: usize, index: usize) -> usize {
    let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ seed as u64);
    (mixed >> 40) as usize
}

fn f32s(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[test]
fn blocks_of_fp4_are_the_values_they_stand_for() {
    const F4: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut config = json!({
        "model_type": "gpt_oss", "vocab_size": 40, "hidden_size": 64, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "num_local_experts": 3, "num_experts_per_tok": 2, "sliding_window": 4, "max_position_embeddings": 32,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}
    });
    let plain = made(root.path(), &config);
    let mut floats = read(&plain);
    let mut blocks = floats.clone();
    for (seed, (name, out, input)) in [("gate_up_proj", 64, 64), ("down_proj", 64, 32)]
        .into_iter()
        .enumerate()
    {
        let name = format!("model.layers.0.mlp.experts.{name}");
        let code = |e: usize, o: usize, i: usize| number(seed, (e * out + o) * input + i) % 16;
        let scale = |e: usize, o: usize, group: usize| {
            120 + number(seed + 9, (e * out + o) * 2 + group) % 12
        };
        let value = |e, o, i| {
            let code = code(e, o, i);
            let magnitude = F4[code % 8] * 2f32.powi(scale(e, o, i / 32) as i32 - 127);
            if code < 8 { magnitude } else { -magnitude }
        };
        let places =
            (0..3).flat_map(|e| (0..input).flat_map(move |i| (0..out).map(move |o| (e, o, i))));
        let transposed = f32s(places.map(|(e, o, i)| value(e, o, i)));
        floats.insert(name.clone(), (Dtype::F32, vec![3, input, out], transposed));
        let rows = || (0..3).flat_map(|e| (0..out).map(move |o| (e, o)));
        let codes = rows().flat_map(|(e, o)| {
            (0..input / 2)
                .map(move |byte| (code(e, o, 2 * byte) | code(e, o, 2 * byte + 1) << 4) as u8)
        });
        let scales =
            rows().flat_map(|(e, o)| (0..input / 32).map(move |group| scale(e, o, group) as u8));
        let shape = vec![3, out, input / 32, 16];
        blocks.remove(&name);
        blocks.insert(
            format!("{name}_blocks"),
            (Dtype::U8, shape, codes.collect()),
        );
        blocks.insert(
            format!("{name}_scales"),
            (Dtype::U8, vec![3, out, input / 32], scales.collect()),
        );
    }
    write(&plain, &config, &floats);
    config["quantization_config"] = json!({"quant_method": "mxfp4"});
    let coded = root.path().join("coded");
    write(&coded, &config, &blocks);
    let [plain, read] = [&plain, &coded].map(|dir| checkpoint(dir).expect("a good checkpoint"));
    assert_eq!(values(&plain), values(&read));
    assert_ne!(plain.content_hash(), read.content_hash());

    let scales = "model.layers.0.mlp.experts.down_proj_scales";
    let mut odd = blocks.clone();
    odd.get_mut(scales).expect("there").2[5] = 255;
    write(&coded, &config, &odd);
    let told = checkpoint(&coded).expect_err("no number").to_string();
    assert!(
        told.contains("down_proj") && told.contains("scale that is no number, the 6th"),
        "{told}"
    );
    let mut odd = blocks.clone();
    let (dtype, _, bytes) = odd[scales].clone();
    odd.insert(scales.to_owned(), (dtype, vec![3, 1, 64], bytes));
    write(&coded, &config, &odd);
    let told = checkpoint(&coded).expect_err("another shape").to_string();
    assert!(
        told.contains("has shape [3, 1, 64]; allowed: [3, 64, 1]"),
        "{told}"
    );
    let mut odd = blocks;
    odd.remove(scales);
    write(&coded, &config, &odd);
    let told = checkpoint(&coded).expect_err("no scales").to_string();
    assert!(
        told.contains("down_proj") && told.contains("missing"),
        "{told}"
    );
}

#[test]
fn blocks_of_fp8_are_the_values_they_stand_for() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut config = json!({
        "model_type": "qwen3", "vocab_size": 40, "hidden_size": 40, "intermediate_size": 48, "head_dim": 8,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32
    });
    let plain = made(root.path(), &config);
    let mut floats = read(&plain);
    let mut codes = floats.clone();
    let (rows, columns) = (16, 32);
    let names: Vec<String> = floats
        .keys()
        .filter(|name| name.contains("_proj.weight"))
        .cloned()
        .collect();
    for (seed, name) in names.iter().enumerate() {
        let shape = floats[name].1.clone();
        let across = shape[1].div_ceil(columns);
        let code = |i: usize| {
            let code = number(seed, i) % 256;
            // All ones is no number.
            if code % 128 == 127 { 3 } else { code as u8 }
        };
        let scale = |block: usize| 0.01 + number(seed + 50, block) as f32 % 97.0 / 50.0;
        let value = |i: usize| {
            let (code, row, column) = (code(i), i / shape[1], i % shape[1]);
            let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
            let magnitude = match exponent {
                0 => mantissa / 8.0 * 2f32.powi(-6),
                _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
            };
            let sign = if code > 127 { -1.0 } else { 1.0 };
            sign * magnitude * scale(row / rows * across + column / columns)
        };
        let count = shape[0] * shape[1];
        floats.insert(
            name.clone(),
            (Dtype::F32, shape.clone(), f32s((0..count).map(value))),
        );
        codes.insert(
            name.clone(),
            (
                Dtype::F8_E4M3,
                shape.clone(),
                (0..count).map(code).collect(),
            ),
        );
        let blocks = vec![shape[0].div_ceil(rows), across];
        let scales = f32s((0..blocks[0] * blocks[1]).map(scale));
        codes.insert(format!("{name}_scale_inv"), (Dtype::F32, blocks, scales));
    }
    assert_eq!(names.len(), 7);
    write(&plain, &config, &floats);
    let coded = root.path().join("coded");
    write(&coded, &config, &codes);
    let told = checkpoint(&coded)
        .expect_err("it does not say so")
        .to_string();
    assert!(told.contains("has type F8_E4M3"), "{told}");
    config["quantization_config"] =
        json!({"quant_method": "fp8", "weight_block_size": [rows, columns], "fmt": "e4m3"});
    write(&coded, &config, &codes);
    let [plain, read] = [&plain, &coded].map(|dir| checkpoint(dir).expect("a good checkpoint"));
    assert_eq!(values(&plain), values(&read));
    for (method, words) in [
        (json!({"quant_method": "awq"}), "quant_method is \"awq\""),
        (json!({"bits": 4}), "says no quant_method"),
        (
            json!({"quant_method": "fp8", "weight_block_size": [0, 1]}),
            "weight_block_size",
        ),
    ] {
        config["quantization_config"] = method;
        write(&coded, &config, &codes);
        let told = checkpoint(&coded).expect_err("not read").to_string();
        assert!(
            told.contains(words) && told.contains("quantization_config"),
            "{told}"
        );
    }
}
