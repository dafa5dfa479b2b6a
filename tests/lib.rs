//! Shared helpers of the workspace tests.

pub mod goldens;
pub mod needs;
