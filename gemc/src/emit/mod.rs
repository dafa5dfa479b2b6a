//! Backends: a verified program to something that runs.

pub mod rust;
