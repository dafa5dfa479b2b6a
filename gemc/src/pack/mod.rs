//! Weights to one aligned file: the layout first, from shapes and formats; then the bytes, streamed in that order.

pub mod layout;
