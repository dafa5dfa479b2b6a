//! The one walk over statements.

use super::{Block, Stmt};

impl Stmt {
    /// The blocks inside, in the order of their text.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        let [first, second] = match self {
            Self::For { body, .. }
            | Self::Repeat { body, .. }
            | Self::Strips { body, .. }
            | Self::Outline { body, .. } => [Some(body), None],
            Self::If {
                then, otherwise, ..
            } => [Some(then), Some(otherwise)],
            Self::Let(_)
            | Self::Var(..)
            | Self::Set(..)
            | Self::SetElement(..)
            | Self::Store { .. }
            | Self::Call { .. }
            | Self::Comment(_) => [None, None],
        };
        first.into_iter().chain(second)
    }

    /// The same, to be changed.
    pub fn blocks_mut(&mut self) -> impl Iterator<Item = &mut Block> {
        let [first, second] = match self {
            Self::For { body, .. }
            | Self::Repeat { body, .. }
            | Self::Strips { body, .. }
            | Self::Outline { body, .. } => [Some(body), None],
            Self::If {
                then, otherwise, ..
            } => [Some(then), Some(otherwise)],
            Self::Let(_)
            | Self::Var(..)
            | Self::Set(..)
            | Self::SetElement(..)
            | Self::Store { .. }
            | Self::Call { .. }
            | Self::Comment(_) => [None, None],
        };
        first.into_iter().chain(second)
    }
}

/// Calls `f` with every statement of a block, each before those inside it.
pub fn walk<'a>(block: &'a Block, f: &mut impl FnMut(&'a Stmt)) {
    for stmt in block {
        f(stmt);
        for inner in stmt.blocks() {
            walk(inner, f);
        }
    }
}
