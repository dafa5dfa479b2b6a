//! A synthetic checkpoint -> the same with weights that tell more: norms that are not all ones, biases and embeddings as
//! large as what they are added to, and every tensor stored in a chosen type.

use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::random::Random;

type Tensor = (String, Vec<usize>, Vec<u8>);

/// Rewrites `model.safetensors` in a folder.
///
/// # Errors
/// When it cannot be read or written.
pub fn vary(dir: &Path, seed: u64, stored: &str) -> Result<(), String> {
    let path = dir.join("model.safetensors");
    let bytes = fs::read(&path).map_err(|e| e.to_string())?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| e.to_string())?;
    let dtype = match stored {
        "f16" => Dtype::F16,
        "f32" => Dtype::F32,
        _ => Dtype::BF16,
    };
    let tensors: Vec<Tensor> = file
        .iter()
        .map(|(name, view)| {
            let values = varied(name, view.data(), seed);
            (
                name.to_owned(),
                view.shape().to_vec(),
                encoded(&values, dtype),
            )
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = TensorView::new(dtype, shape.clone(), data);
        view.map(|view| (name, view)).map_err(|e| e.to_string())
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    let written = safetensors::serialize(views, None).map_err(|e| e.to_string())?;
    fs::write(path, written).map_err(|e| e.to_string())
}

/// Values of a bf16 tensor, varied by what it is.
fn varied(name: &str, data: &[u8], seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, name);
    let values = data
        .chunks_exact(2)
        .map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32());
    if name.ends_with("norm.weight") {
        values.map(|v| v + 0.5 * random.symmetric()).collect()
    } else if name.ends_with(".bias") || name.contains("embed") {
        values.map(|v| 20.0 * v).collect()
    } else {
        values.collect()
    }
}

fn encoded(values: &[f32], dtype: Dtype) -> Vec<u8> {
    let values = values.iter();
    match dtype {
        Dtype::F16 => values
            .flat_map(|v| half::f16::from_f32(*v).to_le_bytes())
            .collect(),
        Dtype::F32 => values.flat_map(|v| v.to_le_bytes()).collect(),
        _ => values
            .flat_map(|v| half::bf16::from_f32(*v).to_le_bytes())
            .collect(),
    }
}
