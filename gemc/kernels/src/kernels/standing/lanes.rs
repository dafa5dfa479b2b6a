//! Sums of products in lanes of 16 bits, for processors that add to such products but not to sums of four.

use gemc_format::GROUPS;

use super::rows::Side;
use crate::ir::build::{KernelBuilder, Val};

/// The products of a block's groups, by their index and their weights, with a row's 32 codes, for the rows of a side of the
/// tile: added lane by lane while `chain` of them fit, then widened, and at the end the four lanes of each row together.
pub(super) fn sums<'k>(
    k: &'k KernelBuilder,
    side: Side,
    chain: usize,
    weights: impl Iterator<Item = (usize, Val<'k>)>,
    codes: [Val<'k>; 2],
) -> Val<'k> {
    debug_assert!(GROUPS.is_multiple_of(chain), "chains end with a block");
    let halves: &[Side] = match side {
        Side::Whole => &[Side::Low, Side::High],
        // Their weights are cut already.
        Side::Low | Side::High => &[Side::Whole],
    };
    let mut sums = vec![Lanes::new(k); halves.len()];
    for (at, (group, weights)) in weights.enumerate() {
        for (half, sums) in halves.iter().zip(&mut sums) {
            sums.add(half.cut(weights), codes[group / 4], group % 4);
            if (at + 1).is_multiple_of(chain) {
                sums.widen();
            }
        }
    }
    let folded = sums.into_iter().map(|sums| sums.wide.fold_pairs());
    folded.reduce(Val::join).expect("a side has rows")
}

/// Sums of half a tile.
#[derive(Clone, Copy)]
struct Lanes<'k> {
    /// I16x32, one lane for each column of a group, since they were last widened.
    narrow: Option<Val<'k>>,
    /// I32x16, two lanes for each row.
    wide: Val<'k>,
}

impl<'k> Lanes<'k> {
    fn new(k: &'k KernelBuilder) -> Self {
        Self {
            narrow: None,
            wide: k.splat(0),
        }
    }

    fn add(&mut self, weights: Val<'k>, codes: Val<'k>, element: usize) {
        let sums = match self.narrow {
            None => weights.mul_s_by(codes, element),
            Some(sums) => sums.mac_s_by(weights, codes, element),
        };
        self.narrow = Some(sums.named("lanes"));
    }

    fn widen(&mut self) {
        if let Some(lanes) = self.narrow.take() {
            self.wide = self.wide.add_pairs(lanes).named("pairs");
        }
    }
}
