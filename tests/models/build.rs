//! A model's choices of formats -> a plan, and programs of it that answer.

use std::io::Cursor;
use std::path::Path;

use gem_runtime::Engine;
use gem_runtime::abi::Row;
use gem_runtime::protocol::{LogitsRequest, Peer as _, Server, Setup};
use gem_runtime::storage::Weights;
use gem_tests::sample::Sample;
use gemc::backend;
use gemc::emit::cranelift::Effort;
use gemc::graph::{self, Task};
use gemc::pipeline::{self, LoadedCheckpoint};
use gemc::plan::activations::Rule;
use gemc::plan::file::{PlanFile, PlanUnit, VERSION};
use gemc::plan::{BitPlan, KvFormat};
use gemc::prepared::PreparedModel;
use gemc::progress::Silent;
use gemc::reference::RoutingRecords;
use gemc::verify::records;
use gemc_format::{ActivationFormat, Codec, Rounding};
use gemc_kernels::ir::testing::Memory;

use crate::model::Model;
use crate::random::Random;

/// Units that read rows which no others read, so that their activations may be of any format.
const APART: [&str; 4] = ["self_attn.qkv", "o_proj", "down_proj", "scar.out"];

/// A model compiled in some way.
pub struct Build<'a> {
    model: &'a Model,
    pub prepared: PreparedModel,
}

/// What a program gives for the model's ids.
pub struct Answer {
    pub logits: Vec<Vec<f32>>,
    pub routing: RoutingRecords,
}

impl<'a> Build<'a> {
    /// As the model says.
    pub fn new(model: &'a Model, loaded: &LoadedCheckpoint) -> Result<Self, String> {
        let rules = rules(model, loaded);
        Self::of(model, loaded, &rules, model.kv)
    }

    /// With activations, keys and values as exact as they come.
    pub fn exact(model: &'a Model, loaded: &LoadedCheckpoint) -> Result<Self, String> {
        let rules = [everywhere(ActivationFormat::Int16)];
        Self::of(model, loaded, &rules, KvFormat::F32)
    }

    fn of(
        model: &'a Model,
        loaded: &LoadedCheckpoint,
        rules: &[Rule],
        kv: KvFormat,
    ) -> Result<Self, String> {
        let plan = weights(model, loaded)?;
        let plan = plan.with_activations(&loaded.graph, rules)?.with_kv(kv);
        let loaded = pipeline::load(loaded.checkpoint.dir()).map_err(|e| e.to_string())?;
        let target = model.target.clone();
        let prepared = PreparedModel::new(loaded, plan, target, Rounding::Plain, None);
        let prepared = prepared.map_err(|e| e.to_string())?;
        Ok(Self { model, prepared })
    }

    /// What the interpreter answers, all in one call.
    pub fn interpreted(&self) -> Result<Answer, String> {
        let engine = backend::interpreted(&self.prepared).map_err(|e| e.to_string())?;
        self.answer(&engine, None, &[])
    }

    /// Machine code of this process.
    pub fn machine_code(&self) -> Result<Engine, String> {
        let effort = match self.model.seed % 4 {
            0 => Effort::High,
            _ => Effort::Low,
        };
        // Kernels of targets that this machine does not run compute the same bits in its own instructions.
        let engine = match self.model.target.runs_here() {
            true => backend::jitted(&self.prepared, effort, &Silent),
            false => backend::jitted_with(&self.prepared, effort),
        };
        engine.map_err(|e| e.to_string())
    }

    /// One step of as many of the ids as it takes, for executions that run on memory.
    pub fn into_sample(self, name: String) -> Result<Sample, String> {
        let file = self
            .prepared
            .write_weights(Cursor::new(Vec::new()), &mut |_| {});
        let weights = file.and_then(|file| Weights::copied(&file.into_inner()));
        let weights = weights.map_err(|e| e.to_string())?;
        let PreparedModel {
            loaded, compiled, ..
        } = self.prepared;
        let shape = compiled.program.program().shape;
        let mut ids = self.model.ids();
        ids.truncate(shape.max_rows as usize);
        let n = ids.len() as u32;
        let causal = loaded.graph.facts().task == Task::CausalLm;
        let row = |(position, token)| Row {
            token,
            slot: 0,
            position,
            visible: if causal { position + 1 } else { n },
        };
        let rows: Vec<Row> = (0..).zip(ids).map(row).collect();
        let mut outputs = if causal { vec![n - 1, 0] } else { vec![0] };
        outputs.truncate(shape.max_outputs as usize);
        let mut memory = Memory::new(shape, n, 1);
        memory.weights().copy_from_slice(weights.body());
        memory.set_rows(&rows, &outputs);
        Sample::on(name, compiled.program, memory).ok_or("a trap".to_owned())
    }

    /// What a program answers when each call takes so many tokens; all in one call when there are no numbers.
    pub fn answer(
        &self,
        engine: &Engine,
        threads: Option<u32>,
        chunks: &[u32],
    ) -> Result<Answer, String> {
        let request = LogitsRequest {
            ids: self.model.ids(),
            chunks: chunks.to_vec(),
            routing: true,
            setup: Setup {
                threads,
                context: None,
            },
            ..LogitsRequest::default()
        };
        let mut logits = Vec::new();
        let mut server = Server::new(engine, 0);
        let result = server.logits(&request, &mut |_, row| logits.push(row.to_vec()));
        let result = result.map_err(|e| e.to_string())?;
        Ok(Answer {
            routing: records::from_program(&self.prepared.loaded.graph, result.routing),
            logits,
        })
    }
}

fn everywhere(format: ActivationFormat) -> Rule {
    Rule {
        units: String::new(),
        format,
    }
}

/// How activations are rounded: everywhere alike, or in any way that is allowed.
fn rules(model: &Model, loaded: &LoadedCheckpoint) -> Vec<Rule> {
    if let Some(format) = ActivationFormat::from_name(&model.activations) {
        return vec![everywhere(format)];
    }
    let mut random = Random::new(model.seed, "activations");
    let mut any = || ActivationFormat::ALL[random.below(ActivationFormat::ALL.len())];
    let units = loaded.graph.units();
    let there = |name: &&&str| units.iter().any(|unit| unit.name.contains(**name));
    let mut rules = vec![everywhere(any())];
    rules.extend(APART.iter().filter(there).map(|name| Rule {
        units: (*name).to_owned(),
        format: any(),
    }));
    rules
}

/// The codec of every unit: all the same, or any.
fn weights(model: &Model, loaded: &LoadedCheckpoint) -> Result<BitPlan, String> {
    let graph = &loaded.graph;
    if let Some(codec) = Codec::ALL.iter().find(|c| c.name() == model.codec) {
        return Ok(BitPlan::uniform(graph, *codec));
    }
    let mut random = Random::new(model.seed, "codecs");
    let unit = |unit: &graph::Unit| {
        let codec = random.below(Codec::ALL.len());
        let another = (codec + 1) % Codec::ALL.len();
        PlanUnit {
            name: unit.name.clone(),
            format: Codec::ALL[codec].name().to_owned(),
            activations: None,
            bytes: 0,
            predicted_kl: Some(0.0),
            reason: String::new(),
            // Of another format, so that the unit is rounded anew.
            codes: format!("{}:{}", Codec::ALL[another].name(), "0".repeat(64)),
        }
    };
    let file = PlanFile {
        version: VERSION,
        checkpoint: String::new(),
        calibration: String::new(),
        calibration_text: None,
        dead: None,
        target: model.target.name.clone(),
        rounding: "plain".to_owned(),
        bits_per_weight: 0.0,
        unit_bytes: 0,
        predicted_ms: None,
        projected: false,
        predicted_kl: Some(0.0),
        measured_kl: None,
        measured_kl_rounded: None,
        overrides: Vec::new(),
        units: graph.units().iter().map(unit).collect(),
    };
    let plan = file.plan(Path::new("plan.toml"), graph, "");
    plan.map_err(|e| e.to_string())
}
