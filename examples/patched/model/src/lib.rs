//! The model, in a package of its own: it is compiled once, with optimisation whatever the profile of the app.

gem_runtime::include_built!("gem_lm");

pub use gem_lm::{INFO, Model, WEIGHT_FILE};
