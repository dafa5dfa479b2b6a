//! Compiles the model for whatever target cargo builds for.

use gemc::{Build, WeightsIn};

fn main() {
    Build::new("../../models/gem-lm")
        .bits("4.25")
        .weights(WeightsIn::File)
        .compile()
        .unwrap_or_else(|error| gemc::build::fail(&error));
}
