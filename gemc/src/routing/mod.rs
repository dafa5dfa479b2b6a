//! What the reference executor decided on text -> [`Routes`]: who visits which module, after which one, how surely, in
//! which domain of the text; and what each module is worth (`causal`).
//!
//! Every measure is defined in docs/routing.md. All of them are functions of integer counts and of f64 sums in the order
//! of the text, so the same text gives the same bytes. No measure is NaN: one that does not apply is absent.

mod causal;
mod collect;
mod cost;
mod counts;
mod information;
mod mask;
mod network;
mod table;

#[cfg(test)]
mod tests;

pub use causal::{Causal, CausalOptions, ModuleCost, causal};
pub(crate) use causal::{batches, divergences};
pub use collect::{Collector, RoutesError};
pub use cost::ExpectedCost;
pub use network::{RouteEdge, RouteGraph, RouteNode, dot};
pub use table::{
    CoSelection, Density, Edge, Flow, Measures, Occupancy, RARE, Routes, SiteRoutes, Traffic,
    Transition, Unrouted,
};
