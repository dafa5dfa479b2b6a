//! The kernels of every tiny checkpoint, interpreted, against the fake-quantised executor and against themselves.

use gem_runtime::SessionOptions;
use gem_runtime::format::{Codec, Rounding};
use gem_tests::goldens;
use gemc::plan::BitPlan;
use gemc::reference::{Activations, Reference};
use gemc::target::Target;
use gemc::verify::candidate::{Candidate, Executor, InProcess};
use gemc::{backend, fake, pipeline};
use libtest_mimic::{Arguments, Failed, Trial};

/// Largest difference of logits between kernels and the fake-quantised executor, routing forced. Sums differ in order,
/// so an activation may fall on the other side of a rounding step now and then.
const TOLERANCE: f32 = 2e-2;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for dir in gem_tests::checkpoints() {
        for &codec in Codec::ALL {
            for target in Target::all() {
                let dir = dir.clone();
                let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let title = format!("{name}::{}::{}", target.name, codec.name());
                trials.push(Trial::test(title, move || agrees(&dir, codec, &target)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn agrees(dir: &std::path::Path, codec: Codec, target: &Target) -> Result<(), Failed> {
    let loaded = pipeline::load(dir)?;
    let plan = BitPlan::uniform(&loaded.graph, codec);
    let compiled = pipeline::compile(&loaded.graph, &plan, target)?;
    let engine = backend::interpreted("tiny", &loaded, &compiled, &plan, target, Rounding::Plain)?;
    let mut faked = Reference::new(&loaded.graph, loaded.checkpoint.weights());
    fake::quantise(&mut faked, &plan, Rounding::Plain)?;
    let mut interpreted = InProcess { engine: &engine, graph: &loaded.graph, options: SessionOptions::default() };
    let mut executor = Executor { reference: &faked, activations: Activations::Int8 };
    for golden in goldens::read(dir, &loaded.graph)? {
        if golden.ids.len() > 64 && codec != Codec::B8 {
            continue;
        }
        let forced = Some(&golden.routing);
        let kernels = interpreted.run(&golden.ids, forced)?;
        let expected = executor.run(&golden.ids, forced)?;
        let difference = largest(&kernels.logits, &expected.logits);
        if difference.is_nan() || difference > TOLERANCE {
            return Err(format!("{} tokens: logits differ by {difference}", golden.ids.len()).into());
        }
    }
    Ok(())
}

fn largest(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| (x - y).abs()).fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m })
}
