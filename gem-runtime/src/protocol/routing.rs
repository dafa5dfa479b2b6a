//! The routing of a sequence at one site, as plain data -> recorded from and forced upon a session.

use super::LogitsRequest;
use super::wire::{Put, Take, broken};
use crate::abi::RoutingTap;
use crate::error::{Error, Result};
use crate::routing::{RoutingHook, RoutingView};

/// What one site decided for every position of a sequence, T of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutingRecord {
    /// `layers.3` or `final`.
    pub site: String,
    /// Number of modules, D.
    pub modules: u32,
    /// Fired modules per position at most, K.
    pub top_k: u32,
    /// Probabilities `[T][D]`.
    pub p: Vec<f32>,
    /// Fired modules `[T][K]`: ascending, then -1.
    pub fired: Vec<i32>,
    /// Their gates `[T][K]`.
    pub gates: Vec<f32>,
    /// The most probable module where something fired, else D: `[T]`.
    pub domain: Vec<i32>,
    /// The nearest centroid `[T]`; empty at a site without clusters.
    pub cluster: Vec<i32>,
}

impl RoutingRecord {
    fn of(tap: &RoutingTap) -> Self {
        Self {
            site: tap.site.to_owned(),
            modules: tap.modules,
            top_k: tap.top_k,
            ..Self::default()
        }
    }

    /// Positions it covers, T.
    #[must_use]
    pub const fn positions(&self) -> usize {
        self.domain.len()
    }

    /// Whether the lists have the lengths they should.
    fn is_whole(&self) -> bool {
        let rows = self.positions() as u64;
        self.p.len() as u64 == rows * u64::from(self.modules)
            && self.fired.len() as u64 == rows * u64::from(self.top_k)
            && self.gates.len() == self.fired.len()
            && (self.cluster.is_empty() || self.cluster.len() == self.domain.len())
    }

    pub(super) fn put(&self, put: &mut Put) {
        put.text(&self.site);
        put.u32(self.modules);
        put.u32(self.top_k);
        put.floats(&self.p);
        put.ints(&self.fired);
        put.floats(&self.gates);
        put.ints(&self.domain);
        put.ints(&self.cluster);
    }

    pub(super) fn take(take: &mut Take<'_>) -> Result<Self> {
        let record = Self {
            site: take.text()?,
            modules: take.u32()?,
            top_k: take.u32()?,
            p: take.floats()?,
            fired: take.ints()?,
            gates: take.floats()?,
            domain: take.ints()?,
            cluster: take.ints()?,
        };
        if record.is_whole() {
            Ok(record)
        } else {
            Err(broken("the lists of a routing record disagree"))
        }
    }

    /// Appends what the model decided for a row.
    fn push(&mut self, view: &RoutingView<'_>, row: usize) {
        self.p.extend(view.p(row).unwrap_or_default());
        self.fired.extend(view.fired(row).unwrap_or_default());
        self.gates.extend(view.gates(row).unwrap_or_default());
        self.domain.extend(view.domain(row));
        self.cluster.extend(view.cluster(row));
    }

    /// Replaces the model's decision for a row by that of `position`, which the record covers.
    fn force(&self, view: &mut RoutingView<'_>, row: usize, position: usize) {
        let (modules, top_k) = (self.modules as usize, self.top_k as usize);
        if let Some(p) = view.p_mut(row) {
            p.copy_from_slice(&self.p[position * modules..][..modules]);
        }
        if let Some(fired) = view.fired_mut(row) {
            fired.copy_from_slice(&self.fired[position * top_k..][..top_k]);
        }
        if let Some(gates) = view.gates_mut(row) {
            gates.copy_from_slice(&self.gates[position * top_k..][..top_k]);
        }
        if let Some(domain) = view.domain_mut(row) {
            *domain = self.domain[position];
        }
        if let (Some(cluster), Some(forced)) = (view.cluster_mut(row), self.cluster.get(position)) {
            *cluster = *forced;
        }
    }
}

/// The hook of a request: records first, forces then.
pub(super) struct Recorder<'r> {
    /// One per site, in the model's order; empty when none are wanted.
    pub records: Vec<RoutingRecord>,
    forced: &'r [RoutingRecord],
}

impl<'r> Recorder<'r> {
    /// The hook a request needs; `None` when it neither forces nor wants routing.
    pub(super) fn new(request: &'r LogitsRequest, taps: &[RoutingTap]) -> Result<Option<Self>> {
        for record in &request.forced {
            check(record, taps, request.ids.len())?;
        }
        if request.forced.is_empty() && !request.routing {
            return Ok(None);
        }
        let sites = if request.routing { taps } else { &[] };
        Ok(Some(Self {
            records: sites.iter().map(RoutingRecord::of).collect(),
            forced: &request.forced,
        }))
    }
}

/// Whether a record can be forced upon a model, for so many tokens.
fn check(record: &RoutingRecord, taps: &[RoutingTap], tokens: usize) -> Result<()> {
    let site = &record.site;
    let refuse = |why: String| Err(Error::Options(format!("forced routing of `{site}`: {why}")));
    let Some(tap) = taps.iter().find(|tap| tap.site == *site) else {
        let sites: Vec<&str> = taps.iter().map(|tap| tap.site).collect();
        return refuse(format!("no such site; there are {}", sites.join(", ")));
    };
    if (record.modules, record.top_k) != (tap.modules, tap.top_k) {
        return refuse(format!(
            "{} modules, top {}; the model has {}, top {}",
            record.modules, record.top_k, tap.modules, tap.top_k
        ));
    }
    if record.positions() < tokens {
        return refuse(format!("{} rows, {tokens} tokens", record.positions()));
    }
    if !record.is_whole() {
        return refuse("its lists disagree".to_owned());
    }
    Ok(())
}

impl RoutingHook for Recorder<'_> {
    fn routed(&mut self, tap: &RoutingTap, mut view: RoutingView<'_>) {
        let rows = view.rows();
        if let Some(record) = self.records.iter_mut().find(|r| r.site == tap.site) {
            (0..rows.len()).for_each(|row| record.push(&view, row));
        }
        if let Some(forced) = self.forced.iter().find(|r| r.site == tap.site) {
            for (row, at) in rows.iter().enumerate() {
                forced.force(&mut view, row, at.position as usize);
            }
        }
    }
}
