//! An encoder, texts and weights that others quantised -> plans of the same bytes beside them, and beside uniform formats and
//! recipes by layer, in one f32 executor: JSON with the cosine error of every document.
//!
//! `encoders CKPT EVALUATION.jsonl [PEER ...]`: a peer is a checkpoint of the same tensors, read back in f32, with `peer.json`
//! (`name`, `bytes` of the quantised tensors). Plans are made as by `gemc plan` at its default effort, from the same text; all but
//! peers are rounded with error feedback. Documents of the evaluation are others. `tests/importers/minilm_plans.py` writes the
//! peers and the page.

use std::error::Error;
use std::path::{Path, PathBuf};

use gemc::assign::{self, FixedFormats, Formats, Predictor, refine};
use gemc::calibrate::{self, Gather};
use gemc::graph::{NodeId, Role, Unit, Units};
use gemc::import::Split;
use gemc::pipeline::{self, LoadedCheckpoint};
use gemc::planner::{self, Effort, Texts};
use gemc::progress::Silent;
use gemc::reference::{Activations, Reference};
use gemc::sensitivity::{self, Evidence, Judge, Ladder, Method, Slopes};
use gemc::sequences::{Sequence, windows};
use gemc::texts::{self, Extent, TextSource};
use gemc_format::Codec;
use gemc_lab::MEMORY;
use serde::{Deserialize, Serialize};

/// Tokens of the default effort.
const FIT: usize = 49_152;
const SEARCH: usize = 6_144;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Peer {
    name: String,
    bytes: u64,
}

/// One set of weights.
#[derive(Serialize)]
struct Row {
    name: String,
    bytes: u64,
    /// Of a weight, all that is stored of it counted.
    bits: f64,
    /// Cosine error of each document.
    errors: Vec<f64>,
}

/// A set of weights beside the plan of its bytes.
#[derive(Serialize)]
struct Pair {
    other: Row,
    plan: Row,
}

struct Bench<'a> {
    reference: &'a Reference,
    ladder: Ladder<'a>,
    slopes: Slopes,
    /// By which plans are refined.
    search: Judge,
    judge: Judge,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let checkpoint = arguments.next().ok_or("needs the folder of a checkpoint")?;
    let evaluation = arguments.next().ok_or("needs a file of evaluation text")?;
    let loaded = pipeline::load(&checkpoint)?;
    let reference = loaded.reference();
    let bench = Bench::new(&loaded, &reference, &evaluation)?;
    let units = reference.graph().units();
    let mut pairs = Vec::new();
    for codec in Codec::LADDER {
        let formats = Formats::all(units, codec);
        pairs.push(bench.pair(bench.rounded(format!("uniform {}", codec.name()), &formats)?)?);
    }
    for bits in [3.5, 4.75] {
        let body = recipe(units, bits).ok_or("no such body")?;
        pairs.push(bench.pair(bench.rounded(format!("by layer, {bits} bits"), &body)?)?);
    }
    for folder in arguments {
        pairs.push(bench.pair(bench.peer(&folder)?)?);
    }
    println!("{}", serde_json::to_string(&pairs)?);
    Ok(())
}

/// The leading layers in one format more than the others; the tokens' embedding, which is half of a small encoder, in one of
/// the two: whichever fills the budget better.
fn recipe(units: &Units, bits: f64) -> Option<Formats> {
    let budget = assign::budget_of_bits(units, bits);
    let above = (Codec::LADDER.iter()).position(|codec| codec.bits_per_weight() > bits)?;
    let pair = &Codec::LADDER[above.checked_sub(1)?..=above];
    let bodies = pair.iter().filter_map(|&codec| {
        let pinned = |unit: &Unit| (unit.role == Role::Embedding).then_some(codec);
        planner::body(units, &FixedFormats::of(units, pinned), budget, 0)
    });
    bodies.max_by_key(|formats| assign::bytes(units, formats))
}

impl<'a> Bench<'a> {
    fn new(loaded: &LoadedCheckpoint, reference: &'a Reference, evaluation: &Path) -> Result<Self> {
        let dir = loaded.checkpoint.dir();
        let own = TextSource::find(dir, Split::Calibration, None)?;
        let documents = texts::read(loaded, &own, "to calibrate with", Extent::Plan)?;
        let divided = Texts::divide(&documents, usize::MAX);
        let given = TextSource::find(dir, Split::Evaluation, Some(evaluation))?;
        let judged = texts::read(loaded, &given, "to measure on", Extent::All)?;
        let judge =
            |texts: &[Sequence]| Judge::new(reference, texts, Activations::F32, MEMORY, &Silent);
        let fit = windows(&divided.fit, usize::MAX, FIT);
        let stats = calibrate::run(reference, &fit, Gather::Moments, &mut |_, _| {}, &Silent)?;
        let evidence = Evidence {
            stats: &stats,
            reading: None,
            routing_weights: true,
        };
        let units = reference.graph().units();
        let ladder = Ladder::new(reference, units, &evidence, Method::Feedback);
        let search = judge(&windows(&divided.search, usize::MAX, SEARCH))?;
        let probes = Effort::Default.probes();
        let slopes = sensitivity::measure(reference, units, &ladder, &search, probes, &Silent)?;
        eprintln!("sensitivity is measured");
        Ok(Self {
            judge: judge(&judged)?,
            reference,
            ladder,
            slopes,
            search,
        })
    }

    fn row(&self, name: String, bytes: u64, model: &Reference) -> Result<Row> {
        let units = self.reference.graph().units();
        let weights: usize = units.iter().map(|unit| unit.shape.weights()).sum();
        Ok(Row {
            name,
            bytes,
            bits: 8.0 * bytes as f64 / weights as f64,
            errors: self.judge.judge(model, NodeId(0), true)?.kl,
        })
    }

    fn rounded(&self, name: String, formats: &Formats) -> Result<Row> {
        let units = self.reference.graph().units();
        let mut model = self.reference.clone();
        for unit in units.iter() {
            self.ladder.apply(&mut model, unit, formats[unit.id])?;
        }
        self.row(name, assign::bytes(units, formats), &model)
    }

    fn peer(&self, folder: &Path) -> Result<Row> {
        let peer: Peer = serde_json::from_slice(&std::fs::read(folder.join("peer.json"))?)?;
        let theirs = pipeline::load(folder)?.reference();
        let mut model = self.reference.clone();
        for unit in self.reference.graph().units().iter() {
            for node in &unit.nodes {
                let weights = theirs.unit(*node).ok_or("a checkpoint of the same shape")?;
                model.replace(*node, weights.clone())?;
            }
        }
        self.row(peer.name, peer.bytes, &model)
    }

    /// The plan of as many bytes, refined once.
    fn pair(&self, other: Row) -> Result<Pair> {
        let units = self.reference.graph().units();
        let free = FixedFormats::all(units, None);
        let mut predictor = Predictor::new(units, &self.ladder, &self.slopes, &free);
        let found = refine(
            self.reference,
            units,
            &self.ladder,
            &self.search,
            &mut predictor,
            other.bytes,
            1,
            &Silent,
        )?;
        let formats = found.ok_or("no plan is that small")?.formats;
        eprintln!("{}: planned", other.name);
        let plan = self.rounded("plan".to_owned(), &formats)?;
        Ok(Pair { other, plan })
    }
}
