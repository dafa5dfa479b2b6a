//! A routing tap and the arena -> the decisions of one site, row by row, readable and replaceable.

use core::slice;

use crate::abi::{RoutingTap, Row};
use crate::error::{Error, Result};

/// Sees, and may change, the routing of every routed site in every step.
///
/// ```
/// use gem_runtime::abi::RoutingTap;
/// use gem_runtime::routing::{RoutingHook, RoutingView};
///
/// /// Sends every row to the first domain.
/// struct First;
///
/// impl RoutingHook for First {
///     fn routed(&mut self, _: &RoutingTap, mut view: RoutingView<'_>) {
///         for row in 0..view.rows().len() {
///             if let Some(domain) = view.domain_mut(row) {
///                 *domain = 0;
///             }
///         }
///     }
/// }
///
/// fn logits(session: &mut gem_runtime::Session, ids: &[u32]) -> gem_runtime::Result<()> {
///     session.forward_routed(ids, &mut First, |position, logits| {
///         println!("{position}: {} logits", logits.len());
///     })
/// }
/// ```
pub trait RoutingHook {
    /// Called once per site and step, after the decision and before anything depends on it.
    fn routed(&mut self, tap: &RoutingTap, view: RoutingView<'_>);
}

/// The decisions of one site for the rows of one step.
#[derive(Debug)]
pub struct RoutingView<'a> {
    arena: *mut u8,
    tap: &'a RoutingTap,
    rows: &'a [Row],
}

impl<'a> RoutingView<'a> {
    /// A view of a live arena.
    ///
    /// # Safety
    /// The arena must be valid for the arrays of `tap` with at least `rows.len()` rows, 4-aligned, and used by nothing
    /// else during `'a`.
    pub(crate) const unsafe fn new(arena: *mut u8, tap: &'a RoutingTap, rows: &'a [Row]) -> Self {
        Self { arena, tap, rows }
    }

    /// The rows of the step.
    #[must_use]
    pub const fn rows(&self) -> &'a [Row] {
        self.rows
    }

    /// Element `row` of an array of `[rows][width]` elements; `None` past the rows.
    fn at<T: bytemuck::Pod>(&self, offset: u32, width: u32, row: usize) -> Option<&[T]> {
        let (at, len) = self.place::<T>(offset, width, row)?;
        // SAFETY: `new`'s caller vouches for the arrays, `place` checked the row, and `&self` excludes writers.
        Some(unsafe { slice::from_raw_parts(at, len) })
    }

    fn at_mut<T: bytemuck::Pod>(
        &mut self,
        offset: u32,
        width: u32,
        row: usize,
    ) -> Option<&mut [T]> {
        let (at, len) = self.place::<T>(offset, width, row)?;
        // SAFETY: as in `at`; `&mut self` excludes other views.
        Some(unsafe { slice::from_raw_parts_mut(at, len) })
    }

    fn place<T: bytemuck::Pod>(
        &self,
        offset: u32,
        width: u32,
        row: usize,
    ) -> Option<(*mut T, usize)> {
        const { assert!(size_of::<T>() == 4) };
        if row >= self.rows.len() {
            return None;
        }
        let at = offset as usize + row * width as usize * 4;
        // SAFETY: the row is in range, so the address lies in the arena.
        Some((unsafe { self.arena.add(at).cast() }, width as usize))
    }

    /// Probabilities of the modules, `[D]`; `None` past the rows, as everywhere here.
    #[must_use]
    pub fn p(&self, row: usize) -> Option<&[f32]> {
        self.at(self.tap.p, self.tap.modules, row)
    }

    /// The same, to be replaced.
    pub fn p_mut(&mut self, row: usize) -> Option<&mut [f32]> {
        self.at_mut(self.tap.p, self.tap.modules, row)
    }

    /// Fired modules `[K]`, ascending, then -1.
    #[must_use]
    pub fn fired(&self, row: usize) -> Option<&[i32]> {
        self.at(self.tap.fired, self.tap.top_k, row)
    }

    /// The same, to be replaced; entries must be modules, ascending, then -1.
    pub fn fired_mut(&mut self, row: usize) -> Option<&mut [i32]> {
        self.at_mut(self.tap.fired, self.tap.top_k, row)
    }

    /// Gates of the fired modules, `[K]`.
    #[must_use]
    pub fn gates(&self, row: usize) -> Option<&[f32]> {
        self.at(self.tap.gates, self.tap.top_k, row)
    }

    /// The same, to be replaced.
    pub fn gates_mut(&mut self, row: usize) -> Option<&mut [f32]> {
        self.at_mut(self.tap.gates, self.tap.top_k, row)
    }

    /// The most probable module where something fired, else D.
    #[must_use]
    pub fn domain(&self, row: usize) -> Option<i32> {
        self.at(self.tap.domain, 1, row).map(|one: &[i32]| one[0])
    }

    /// The same, to be replaced; 0 to D.
    pub fn domain_mut(&mut self, row: usize) -> Option<&mut i32> {
        self.at_mut(self.tap.domain, 1, row)
            .map(|one: &mut [i32]| &mut one[0])
    }

    /// The nearest centroid; `None` at a site without clusters, too.
    #[must_use]
    pub fn cluster(&self, row: usize) -> Option<i32> {
        self.at(self.tap.cluster?, 1, row).map(|one: &[i32]| one[0])
    }

    /// The same, to be replaced by another centroid.
    pub fn cluster_mut(&mut self, row: usize) -> Option<&mut i32> {
        self.at_mut(self.tap.cluster?, 1, row)
            .map(|one: &mut [i32]| &mut one[0])
    }

    /// Checks what a hook may have left behind, since kernels index by it.
    ///
    /// # Errors
    /// [`Error::Routing`].
    pub(crate) fn check(&self) -> Result<()> {
        let modules = i64::from(self.tap.modules);
        for row in 0..self.rows.len() {
            let fired = self.fired(row).unwrap_or_default();
            let end = fired.iter().position(|m| *m == -1).unwrap_or(fired.len());
            let (named, rest) = fired.split_at(end);
            let sound = named.windows(2).all(|pair| pair[0] < pair[1])
                && named.iter().all(|m| (0..modules).contains(&i64::from(*m)))
                && rest.iter().all(|m| *m == -1)
                && self
                    .domain(row)
                    .is_some_and(|domain| (0..=modules).contains(&i64::from(domain)))
                && self.cluster(row).is_none_or(|cluster| cluster >= 0);
            if !sound {
                return Err(Error::Routing {
                    site: self.tap.site,
                    row,
                });
            }
        }
        Ok(())
    }
}
