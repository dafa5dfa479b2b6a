//! Weights of a parity case, as `draw.py` draws them: value i of a tensor follows from the seed, the tensor's path and i.

/// A golden's tensors: path and shape.
pub type Listed = Vec<(String, Vec<usize>)>;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Values in [-1, 1), multiples of 2^-23.
fn uniform(seed: u64, path: &str, count: usize) -> impl Iterator<Item = f64> {
    let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let start = hash ^ seed.wrapping_mul(GOLDEN);
    (1..=count as u64).map(move |i| {
        let z = start.wrapping_add(GOLDEN.wrapping_mul(i));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        (z >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

/// Mean and half width of a tensor's values.
fn kind(path: &str, shape: &[usize], norm_offset: f64, tied: bool) -> (f64, f64) {
    let root = 3f64.sqrt();
    if path.to_lowercase().contains("norm") && path.ends_with("weight") && shape.len() == 1 {
        (1.0 - norm_offset, 0.5)
    } else if shape.len() == 1 || path.ends_with("bias") {
        (0.0, 0.3 * root)
    } else if path.contains("embed") && !tied {
        (0.0, root)
    } else {
        let fan_in = shape.last().copied().unwrap_or(1) as f64;
        (0.0, 1.5 * root / fan_in.sqrt())
    }
}

/// All values of a tensor, row-major.
pub fn tensor(seed: u64, path: &str, shape: &[usize], norm_offset: f64, tied: bool) -> Vec<f32> {
    let (mean, width) = kind(path, shape, norm_offset, tied);
    let values = uniform(seed, path, shape.iter().product());
    values.map(|u| (mean + width * u) as f32).collect()
}
