//! Families of public checkpoints against Hugging Face transformers: the logits of small models whose every tensor and key moves
//! them (`make.py`), by the reference, interpreted, and as machine code, however the text is cut.

mod draw;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use gem_runtime::protocol::{LogitsRequest, Peer as _, Server, Setup};
use gem_runtime::{Engine, Model as _, SessionOptions};
use gemc::emit::cranelift::Effort;
use gemc::graph::{Graph, Site, Task, Typed};
use gemc::metrics;
use gemc::pipeline::LoadedCheckpoint;
use gemc::plan::BitPlan;
use gemc::prepared::PreparedModel;
use gemc::progress::Silent;
use gemc::reference::Activations;
use gemc::target::Target;
use gemc::verify::candidate::{Candidate as _, Executor, ProgramCandidate};
use gemc::{backend, fake, pipeline};
use gemc_format::{Codec, Rounding};
use libtest_mimic::{Arguments, Failed, Trial};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Largest difference of the reference's logits, in units of the largest logit or 1.
const LARGEST: f32 = 2e-4;

/// Mean KL in nats of 8.25 bits, of a model of two layers; each adds its rounding, so of more layers it is more in proportion.
const OF_8_BITS: f64 = 0.003;

/// What another order of sums may add to that.
const OF_ORDER: f64 = 2e-4;

fn main() {
    let arguments = Arguments::from_args();
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/goldens");
    let mut files: Vec<PathBuf> = fs::read_dir(goldens)
        .expect("goldens")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let trials = files.into_iter().map(|path| {
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        Trial::test(name.clone(), move || agrees(&name, &path))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Path, shape and values of a tensor.
type Drawn = (String, Vec<usize>, Vec<f32>);

/// What transformers gave for a model.
struct Golden {
    /// Of each text.
    ids: Vec<Vec<u32>>,
    /// Of every position of the only text of a decoder, else of each text.
    logits: Vec<Vec<f32>>,
    config: String,
    /// Files beside it.
    files: HashMap<String, String>,
    tensors: draw::Listed,
    /// As `save_pretrained` writes them: path, shape, the tensor that it is a part of, and where in that.
    saved: Vec<(String, Vec<usize>, String, usize)>,
    seed: u64,
    norm_offset: f64,
    tied: bool,
    /// Rows of a prompt that are not pooled.
    first: u32,
}

impl Golden {
    fn read(path: &Path) -> Result<Self, Failed> {
        let bytes = fs::read(path)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let metadata: HashMap<String, String> = header.metadata().clone().unwrap_or_default();
        let of = |key: &str| metadata.get(key).ok_or(format!("no {key}"));
        let file = SafeTensors::deserialize(&bytes)?;
        let words = |name: &str| -> Result<Vec<[u8; 4]>, Failed> {
            let (words, _) = file.tensor(name)?.data().as_chunks::<4>();
            Ok(words.to_vec())
        };
        let all: Vec<u32> = words("ids")?.into_iter().map(u32::from_le_bytes).collect();
        let lengths: Vec<usize> = serde_json::from_str(of("lengths")?)?;
        let mut rest = all.as_slice();
        let mut ids = Vec::new();
        for length in lengths {
            let (text, others) = rest.split_at(length);
            ids.push(text.to_vec());
            rest = others;
        }
        let logits: Vec<f32> = words("logits")?
            .into_iter()
            .map(f32::from_le_bytes)
            .collect();
        let width = *file.tensor("logits")?.shape().last().ok_or("no shape")?;
        Ok(Self {
            logits: logits.chunks(width).map(<[f32]>::to_vec).collect(),
            ids,
            config: of("config")?.clone(),
            files: serde_json::from_str(of("files")?)?,
            tensors: serde_json::from_str(of("tensors")?)?,
            saved: serde_json::from_str(of("saved")?)?,
            seed: of("seed")?.parse()?,
            norm_offset: of("norm_offset")?.parse()?,
            tied: of("tied")? == "1",
            first: metadata.get("first").map_or(Ok(0), |n| n.parse())?,
        })
    }

    /// All tensors, as transformers has them in memory.
    fn in_memory(&self) -> Vec<Drawn> {
        let tensors = self.tensors.iter();
        tensors
            .map(|(path, shape)| {
                let values = draw::tensor(self.seed, path, shape, self.norm_offset, self.tied);
                (path.clone(), shape.clone(), values)
            })
            .collect()
    }

    /// The same, as it saves them.
    fn as_saved(&self) -> Result<Vec<Drawn>, Failed> {
        let whole: HashMap<String, Vec<f32>> = self
            .in_memory()
            .into_iter()
            .map(|(path, _, values)| (path, values))
            .collect();
        let part = |(path, shape, source, start): &(String, Vec<usize>, String, usize)| {
            let count: usize = shape.iter().product();
            let values = whole
                .get(source)
                .and_then(|all| all.get(*start..start + count));
            let values = values.ok_or(format!("no values of {path}"))?;
            Ok((path.clone(), shape.clone(), values.to_vec()))
        };
        self.saved.iter().map(part).collect()
    }

    /// Writes the checkpoint that transformers ran.
    fn checkpoint(&self, dir: &Path, layout: Vec<Drawn>) -> Result<(), Failed> {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir)?;
        fs::write(dir.join("config.json"), &self.config)?;
        for (name, text) in &self.files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            fs::write(path, text)?;
        }
        let drawn = layout.into_iter().map(|(path, shape, values)| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (path, shape, bytes)
        });
        // Maps behind the pooling have files of their own.
        let mut by_folder: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (path, shape, bytes) in drawn {
            let (folder, path) = match path.split_once("_Dense.") {
                Some((number, rest)) => (format!("{number}_Dense"), rest.to_owned()),
                None => (String::new(), path),
            };
            by_folder
                .entry(folder)
                .or_default()
                .push((path, shape, bytes));
        }
        for (folder, drawn) in by_folder {
            let views = drawn.iter().map(|(path, shape, bytes)| {
                TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (path, view))
            });
            let views = views.collect::<Result<Vec<_>, _>>()?;
            let file = dir.join(folder).join("model.safetensors");
            fs::write(file, safetensors::serialize(views, None)?)?;
        }
        Ok(())
    }
}

fn agrees(name: &str, path: &Path) -> Result<(), Failed> {
    let golden = Golden::read(path)?;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("parity")
        .join(name);
    golden.checkpoint(&dir, golden.as_saved()?)?;
    if golden.first == 0 {
        same(&golden, &pipeline::load(&dir)?)?;
    }
    golden.checkpoint(&dir, golden.in_memory())?;
    let loaded = pipeline::load(&dir)?;
    let plan = BitPlan::uniform(&loaded.graph, Codec::B8);
    let model = PreparedModel::new(loaded, plan, Target::host(), Rounding::Plain, None)?;
    match model.loaded.graph.facts().task {
        Task::CausalLm => decoder(&golden, &model),
        Task::Embedding if golden.first > 0 => behind_prompts(&golden, &model),
        Task::SequenceClassification | Task::TokenClassification | Task::Embedding => {
            texts(&golden, &model)
        }
    }
}

/// The reference of a checkpoint as it is saved.
fn same(golden: &Golden, loaded: &LoadedCheckpoint) -> Result<(), Failed> {
    let reference = loaded.reference();
    let mut exact = Executor {
        reference: &reference,
        activations: Activations::F32,
    };
    let mut rest = golden.logits.as_slice();
    for ids in &golden.ids {
        let found = exact.run(ids, None)?.logits;
        let (expected, others) = rest.split_at(found.len());
        close(expected, &found)
            .map_err(|e| Failed::from(format!("as saved: {}", e.message().unwrap_or_default())))?;
        rest = others;
    }
    Ok(())
}

/// Every text of a model that gives a row for a text, or for each of its tokens.
fn texts(golden: &Golden, model: &PreparedModel) -> Result<(), Failed> {
    let mut rest = golden.logits.as_slice();
    for ids in &golden.ids {
        let found = Ways::new(model, ids)?;
        let (expected, others) = rest.split_at(found.exact.len());
        rest = others;
        found.hold(expected)?;
        found.same_bits(&[("whole", &[])])?;
    }
    Ok(())
}

/// Texts behind prompts whose rows are not pooled, which is for sessions to say and not for the reference.
fn behind_prompts(golden: &Golden, model: &PreparedModel) -> Result<(), Failed> {
    let engines = [
        backend::interpreted(model)?,
        backend::jitted(model, Effort::default(), &Silent)?,
    ];
    let mut found: Vec<Vec<Vec<f32>>> = Vec::new();
    for engine in engines {
        let mut session = engine.session(SessionOptions::default())?;
        let vectors = golden.ids.iter().map(|ids| {
            let first = golden.first.min(ids.len() as u32 - 1);
            session.embed_ids_from(ids, first).map(<[f32]>::to_vec)
        });
        found.push(vectors.collect::<Result<_, _>>()?);
    }
    let [interpreted, compiled] = &found[..] else {
        return Err("two engines".into());
    };
    if interpreted != compiled {
        return Err("machine code gives other bits than the interpreter".into());
    }
    small(
        Task::Embedding,
        "of 8.25 bits",
        OF_8_BITS,
        &golden.logits,
        compiled,
    )
}

/// The logits of every position, and of a text of one token, however it is cut.
fn decoder(golden: &Golden, model: &PreparedModel) -> Result<(), Failed> {
    let ids = &golden.ids[0];
    let reference = model.loaded.reference();
    let mut exact = Executor {
        reference: &reference,
        activations: Activations::F32,
    };
    close(&golden.logits[..1], &exact.run(&ids[..1], None)?.logits)?;
    let found = Ways::new(model, ids)?;
    found.hold(&golden.logits)?;
    found.same_bits(&[
        ("whole", &[]),
        ("token by token", &[1]),
        ("in two pieces", &[5]),
        ("in pieces of seven", &[7, 7]),
    ])
}

fn layers(graph: &Graph<Typed>) -> usize {
    let starts = graph.starts();
    starts
        .filter(|(site, _)| matches!(site, Site::Layer(_)))
        .count()
}

/// What the executions of a model give for a text.
struct Ways {
    ids: Vec<u32>,
    task: Task,
    layers: usize,
    /// In f32.
    exact: Vec<Vec<f32>>,
    /// With the weights that codes stand for.
    executor: Vec<Vec<f32>>,
    /// Kernels, following the reference's routing as the executor does.
    forced: Vec<Vec<f32>>,
    kernels: Vec<Vec<f32>>,
    engines: [(&'static str, Engine); 2],
}

impl Ways {
    fn new(model: &PreparedModel, ids: &[u32]) -> Result<Self, Failed> {
        let reference = model.loaded.reference();
        let mut exact = Executor {
            reference: &reference,
            activations: Activations::F32,
        };
        let mut faked = model.loaded.reference();
        fake::quantise(&mut faked, &model.plan, Rounding::Plain)?;
        let mut executor = Executor {
            reference: &faked,
            activations: Activations::Rounded,
        };
        let interpreted = backend::interpreted(model)?;
        let exact = exact.run(ids, None)?;
        let routing = exact.routing;
        let mut server = Server::new(&interpreted, 0);
        let mut forced = ProgramCandidate {
            peer: &mut server,
            graph: &model.loaded.graph,
            setup: Setup::default(),
        };
        let compiled = backend::jitted(model, Effort::default(), &Silent)?;
        Ok(Self {
            ids: ids.to_vec(),
            task: model.loaded.graph.facts().task,
            layers: layers(&model.loaded.graph),
            exact: exact.logits,
            executor: executor.run(ids, Some(&routing))?.logits,
            forced: forced.run(ids, Some(&routing))?.logits,
            kernels: logits(&interpreted, ids, &[])?,
            engines: [("interpreted", interpreted), ("machine code", compiled)],
        })
    }

    /// Holds all of them against transformers.
    fn hold(&self, expected: &[Vec<f32>]) -> Result<(), Failed> {
        close(expected, &self.exact)?;
        let most = OF_8_BITS * (self.layers as f64 / 2.0).max(1.0);
        small(self.task, "of 8.25 bits", most, expected, &self.forced)?;
        small(
            self.task,
            "of the order of sums",
            OF_ORDER,
            &self.executor,
            &self.forced,
        )
    }

    /// Whether every execution gives the same bits, however the text is cut.
    fn same_bits(&self, cuts: &[(&str, &[u32])]) -> Result<(), Failed> {
        let bits = |rows: &[Vec<f32>]| -> Vec<u32> {
            rows.iter().flatten().map(|x| x.to_bits()).collect()
        };
        for (pieces, cut) in cuts {
            for (what, engine) in &self.engines {
                if bits(&logits(engine, &self.ids, cut)?) != bits(&self.kernels) {
                    return Err(
                        format!("{what}, {pieces}: other bits than interpreted whole").into(),
                    );
                }
            }
        }
        Ok(())
    }
}

/// Logits of every position; `cut` says how many tokens each call takes.
fn logits(engine: &Engine, ids: &[u32], cut: &[u32]) -> Result<Vec<Vec<f32>>, Failed> {
    let request = LogitsRequest {
        ids: ids.to_vec(),
        chunks: cut.to_vec(),
        ..LogitsRequest::default()
    };
    let mut rows = Vec::new();
    Server::new(engine, 0).logits(&request, &mut |_, row| rows.push(row.to_vec()))?;
    Ok(rows)
}

fn close(expected: &[Vec<f32>], found: &[Vec<f32>]) -> Result<(), Failed> {
    let pairs = || expected.iter().flatten().zip(found.iter().flatten());
    let largest = pairs().fold(1.0f32, |most, (e, _)| most.max(e.abs()));
    let worst = pairs().fold(0.0f32, |most, (e, f)| {
        let apart = (e - f).abs();
        if apart.is_nan() {
            f32::INFINITY
        } else {
            most.max(apart)
        }
    });
    if expected.len() != found.len() || worst > LARGEST * largest {
        let what = format!("the reference is {worst:e} from transformers, logits up to {largest}");
        return Err(what.into());
    }
    Ok(())
}

fn small(
    task: Task,
    what: &str,
    most: f64,
    expected: &[Vec<f32>],
    found: &[Vec<f32>],
) -> Result<(), Failed> {
    let divergence = metrics::divergence(task);
    let pairs = expected.iter().zip(found);
    let mean = pairs.map(|(p, q)| divergence(p, q)).sum::<f64>() / expected.len() as f64;
    if mean.is_nan() || mean > most {
        return Err(format!("mean divergence {what} {mean:e}; at most {most:e}").into());
    }
    Ok(())
}
