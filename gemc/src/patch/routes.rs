//! Weights before and after a patch, and text -> which tokens the module takes and gives up, and what is answered as before.

use std::collections::BTreeMap;

use gem_runtime::abi::RoutingTap;
use gem_runtime::routing::{RoutingHook, RoutingView};
use gem_runtime::{Engine, Model as _, Result, Session, SessionOptions, Task};
use serde::Serialize;

use crate::sequences::Sequence;

/// What a patch does to the routing of a domain's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DomainRoutes {
    /// Of the text.
    pub domain: String,
    /// Tokens of it.
    pub tokens: u64,
    /// Those that the module serves after the patch, in any layer.
    pub served: u64,
    /// Those that it serves in a layer where it did not before.
    pub taken: u64,
    /// Those that it served in a layer where it does not any more.
    pub given_up: u64,
    /// Windows of text.
    pub texts: u64,
    /// Those of which it serves no token, before or after.
    pub without: u64,
    /// Of these those that are answered as before, bit for bit.
    pub equal: u64,
}

/// Whether the module fired, by site and row.
struct Fired {
    module: i32,
    sites: BTreeMap<&'static str, Vec<bool>>,
}

impl RoutingHook for Fired {
    fn routed(&mut self, tap: &RoutingTap, view: RoutingView<'_>) {
        let rows = self.sites.entry(tap.site).or_default();
        let fired = |row| {
            view.fired(row)
                .is_some_and(|fired| fired.contains(&self.module))
        };
        rows.extend((0..view.rows().len()).map(fired));
    }
}

/// A text's routing, and the bits of what the model says of it.
struct Answer {
    fired: BTreeMap<&'static str, Vec<bool>>,
    bits: Vec<u32>,
}

fn answer(session: &mut Session, task: Task, ids: &[u32], module: u32) -> Result<Answer> {
    let mut fired = Fired {
        module: module as i32,
        sites: BTreeMap::new(),
    };
    let mut bits = Vec::new();
    let mut take = |values: &[f32]| bits.extend(values.iter().map(|value| value.to_bits()));
    match task {
        Task::CausalLm => {
            session.reset();
            session.forward_routed(ids, &mut fired, |_, logits| take(logits))?;
        }
        _ => take(session.classify_ids_routed(ids, &mut fired)?),
    }
    let fired = fired.sites;
    Ok(Answer { fired, bits })
}

/// Runs texts on both, and compares.
///
/// # Errors
/// When a text does not fit the model.
pub fn compare(
    [before, after]: [&Engine; 2],
    module: u32,
    texts: &[Sequence],
) -> Result<Vec<DomainRoutes>> {
    let task = after.info().task;
    let mut found: BTreeMap<&str, DomainRoutes> = BTreeMap::new();
    let open = |engine: &Engine| engine.session(SessionOptions::default());
    let (mut old, mut new) = (open(before)?, open(after)?);
    for text in texts {
        let old = answer(&mut old, task, &text.ids, module)?;
        let new = answer(&mut new, task, &text.ids, module)?;
        let of = found.entry(&text.domain).or_insert_with(|| DomainRoutes {
            domain: text.domain.clone(),
            ..DomainRoutes::default()
        });
        let (mut touched, tokens) = (false, text.ids.len());
        for token in 0..tokens {
            let pairs = || {
                new.fired.iter().map(|(site, rows)| {
                    let is = rows.get(token).copied().unwrap_or_default();
                    let was = old.fired.get(site).and_then(|rows| rows.get(token));
                    (was.copied().unwrap_or_default(), is)
                })
            };
            of.served += u64::from(pairs().any(|(_, is)| is));
            of.taken += u64::from(pairs().any(|(was, is)| is && !was));
            of.given_up += u64::from(pairs().any(|(was, is)| was && !is));
            touched |= pairs().any(|(was, is)| was || is);
        }
        of.tokens += tokens as u64;
        of.texts += 1;
        of.without += u64::from(!touched);
        of.equal += u64::from(!touched && old.bits == new.bits);
    }
    Ok(found.into_values().collect())
}
