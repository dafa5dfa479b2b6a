//! The model, in a package of its own: it is compiled once, with optimisation whatever the profile of the app.

gem_macros::include_model!("../../models/gem-cls", bits = 4.25, name = "model");

pub use model::Model;
