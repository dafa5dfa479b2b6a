//! Generated programs against the f32 reference: KL, routing agreement, labels.

pub mod candidate;
pub mod exchange;
