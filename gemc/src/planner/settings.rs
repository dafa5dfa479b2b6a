//! What a plan is to keep to, how long it may take, and the texts it is made from.

use std::path::PathBuf;

use gemc_format::Codec;

use super::{PlannerError, digest, rows};
use crate::assign::{FixedFormats, Predictor, bits_of_budget, budget_of_bits, bytes};
use crate::graph::{Graph, Task, Typed, Unit, UnitMap, Units};
use crate::pack::floats;
use crate::plan::activations::Rule;
use crate::plan::file::Override;
use crate::plan::{KvFormat, kv};
use crate::sensitivity::Method;
use crate::sequences::{Sequence, windows};
use crate::target::{Costs, Target};
use crate::work::{self, PhaseWork, StepRows};

/// What a plan is to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Mean code bits and block scales per quantised weight.
    Bits(f64),
    /// Everything that kernels read.
    Size(u64),
    /// What kernels read of the quantised units.
    Units(u64),
}

/// How long planning may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Few tokens, no refinement: for large models.
    Low,
    /// Minutes for a small model.
    Default,
    /// Many tokens, refined until nothing is gained.
    High,
}

/// What the user decides: device, size, time, effort and exceptions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The device, whose costs predict times.
    pub target: Target,
    /// Bits per weight or bytes that the units may take.
    pub budget: Budget,
    /// Seconds of a token decoded at position 512, or of the classification of 128 tokens, at most.
    pub latency: Option<f64>,
    /// How weights are rounded.
    pub method: Method,
    /// How long it may take.
    pub effort: Effort,
    /// Units whose format is given.
    pub overrides: Vec<Override>,
    /// How the inputs of units are rounded, where not as usual.
    pub activations: Vec<Rule>,
    /// One format, or two adjacent ones by layer, for all units without an override.
    pub uniform_body: bool,
    /// What is left out.
    pub without: Ablation,
    /// Folder for what was measured, so that a run that ended goes on, and for what memory has no room for.
    pub workplace: Option<PathBuf>,
    /// Whether moments of modules' units are kept, for patches.
    pub keep_moments: bool,
}

impl Settings {
    /// For a device and a budget; all else as `gemc plan` has it unless told otherwise.
    #[must_use]
    pub fn new(target: Target, budget: Budget) -> Self {
        Self {
            target,
            budget,
            latency: None,
            method: Method::Feedback,
            effort: Effort::Default,
            overrides: Vec::new(),
            activations: Vec::new(),
            uniform_body: false,
            without: Ablation::default(),
            workplace: None,
            keep_moments: false,
        }
    }
}

/// Parts of the planner that can be left out, to see what they are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ablation {
    /// A module's error counts as if every token visited it.
    pub routing_weights: bool,
    /// The selection stays the first one.
    pub refinement: bool,
}

/// Texts for moments, and others, of other documents, to judge by.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// Sequences that moments are taken from.
    pub fit: Vec<Sequence>,
    /// Sequences set aside, on which every KL is measured.
    pub search: Vec<Sequence>,
    /// What they are, where they are not the checkpoint's own.
    pub name: Option<String>,
}

/// Tokens of both parts of a domain's text, told document by document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    documents: usize,
    /// Tokens for moments.
    pub fit: usize,
    /// Tokens set aside to measure KLs on.
    pub search: usize,
}

impl Parts {
    /// Counts the next document; gives the part that it belongs to.
    pub const fn push(&mut self, tokens: usize) -> Part {
        /// One document in so many is held out, to judge plans by.
        const JUDGED: usize = 4;
        self.documents += 1;
        if self.documents % JUDGED == 2 {
            self.search += tokens;
            Part::Search
        } else {
            self.fit += tokens;
            Part::Fit
        }
    }

    /// Whether no effort takes more of one domain.
    #[must_use]
    pub const fn suffice(self) -> bool {
        self.fit >= Effort::High.fit_tokens() && self.search >= Effort::High.search_tokens()
    }
}

/// What a document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Moments are taken from it.
    Fit,
    /// KLs are measured on it.
    Search,
}

impl Texts {
    /// Divides documents: of each domain every fourth is for judging, cut to windows.
    #[must_use]
    pub fn divide(documents: &[Sequence], window: usize) -> Self {
        let mut texts = Self::default();
        let mut domains: std::collections::BTreeMap<&str, Parts> =
            std::collections::BTreeMap::new();
        for document in documents {
            let parts = domains.entry(&document.domain).or_default();
            let part = match parts.push(document.ids.len()) {
                Part::Search => &mut texts.search,
                Part::Fit => &mut texts.fit,
            };
            part.extend(document.ids.chunks(window.max(1)).map(|ids| Sequence {
                ids: ids.to_vec(),
                ..document.clone()
            }));
        }
        texts
    }

    pub(super) fn fit(&self, effort: Effort) -> Vec<Sequence> {
        windows(&self.fit, usize::MAX, effort.fit_tokens())
    }

    pub(super) fn search(&self, effort: Effort) -> Vec<Sequence> {
        windows(&self.search, usize::MAX, effort.search_tokens())
    }

    /// SHA-256 of all token ids, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&[&self.fit, &self.search])
    }
}

impl Effort {
    /// Tokens that moments are gathered on, at most.
    pub(super) const fn fit_tokens(self) -> usize {
        match self {
            Self::Low => 2_048,
            Self::Default => 49_152,
            Self::High => 131_072,
        }
    }

    /// Tokens that KL is measured on, at most.
    const fn search_tokens(self) -> usize {
        match self {
            Self::Low => 256,
            Self::Default => 6_144,
            Self::High => 24_576,
        }
    }

    /// Formats that groups are tried in: near to and far from the original, or one between them.
    #[must_use]
    pub const fn probes(self) -> &'static [Codec] {
        match self {
            Self::Low => &[Codec::N3],
            Self::Default | Self::High => &[Codec::N4, Codec::N2],
        }
    }

    /// Rows that the error of a unit is told from, at most.
    pub(super) const fn error_rows(self) -> usize {
        match self {
            Self::Low => 512,
            Self::Default | Self::High => usize::MAX,
        }
    }

    /// Rounds of refinement, at most.
    pub(super) const fn rounds(self) -> usize {
        match self {
            Self::Low => 0,
            Self::Default => 1,
            Self::High => 4,
        }
    }
}

impl Budget {
    /// Bytes of the quantised units.
    pub(super) fn bytes(self, graph: &Graph<Typed>) -> Result<u64, PlannerError> {
        let units = graph.units();
        match self {
            Self::Bits(bits) if bits.is_finite() && bits > 0.0 => Ok(budget_of_bits(units, bits)),
            Self::Bits(bits) => Err(PlannerError::Bits(bits)),
            Self::Units(bytes) => Ok(bytes),
            Self::Size(size) => {
                let rest = floats::bytes(graph);
                size.checked_sub(rest).ok_or_else(|| PlannerError::Budget {
                    budget: size,
                    smallest: rest + bytes(units, &UnitMap::all(units, Codec::LADDER[0])),
                })
            }
        }
    }
}

impl Settings {
    /// Whether a limit of time makes sense for the target.
    pub(super) fn check_latency(&self) -> Result<(), PlannerError> {
        let Some(limit) = self.latency else {
            return Ok(());
        };
        if !(limit.is_finite() && limit > 0.0) {
            return Err(PlannerError::Latency(1e3 * limit));
        }
        match self.target.costs {
            Some(_) => Ok(()),
            None => Err(PlannerError::NoCosts {
                target: self.target.name.clone(),
            }),
        }
    }

    /// Seconds for what is no product: of a token at position 512, or at the last, or of a text of 128 tokens.
    pub(super) fn fixed(
        graph: &Graph<Typed>,
        work: &[PhaseWork],
        costs: &Costs,
        kept: KvFormat,
    ) -> f64 {
        const POSITIONS: u32 = 512;
        let most = u32::try_from(graph.facts().max_positions).unwrap_or(u32::MAX);
        let positions = POSITIONS.min(most);
        let rows = rows(graph);
        let (step, read) = match graph.facts().task {
            Task::CausalLm => (
                StepRows::token(positions - 1),
                kv::read_behind(graph, kept, u64::from(positions)),
            ),
            Task::SequenceClassification | Task::TokenClassification | Task::Embedding => {
                (StepRows::text(rows, graph.facts().task), 0)
            }
        };
        work::seconds(work, costs, step, read)
    }

    /// Whether a selection keeps to budget and time.
    pub(super) fn check_speed(
        &self,
        predictor: &Predictor,
        budget: u64,
    ) -> Result<(), PlannerError> {
        let quickest = predictor.quickest(budget).map(|f| predictor.seconds(&f));
        match (self.latency, quickest) {
            (Some(_), Some(quickest)) if quickest.is_infinite() => Err(PlannerError::NoCosts {
                target: self.target.name.clone(),
            }),
            (Some(limit), Some(quickest)) if quickest > limit => Err(PlannerError::Slow {
                asked: 1e3 * limit,
                quickest: 1e3 * quickest,
            }),
            _ => Ok(()),
        }
    }

    /// Whether any selection of formats keeps to the budget.
    pub(super) fn check(
        &self,
        units: &Units,
        fixed: &FixedFormats,
        budget: u64,
    ) -> Result<(), PlannerError> {
        let least = |unit: &Unit| {
            let allowed = fixed[unit.id].as_ref();
            allowed
                .map_or(&Codec::LADDER[..], std::slice::from_ref)
                .iter()
                .map(|codec| unit.shape.bytes(*codec))
                .min()
                .unwrap_or(0)
        };
        let smallest: u64 = units.iter().map(least).sum();
        if smallest <= budget {
            return Ok(());
        }
        Err(match self.budget {
            Budget::Bits(bits) => PlannerError::FewBits {
                bits,
                smallest: bits_of_budget(units, smallest),
            },
            Budget::Size(size) | Budget::Units(size) => PlannerError::Budget {
                budget: size,
                smallest: size + (smallest - budget),
            },
        })
    }
}
