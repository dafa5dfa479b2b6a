//! Compiles the model by the plan that its patches are made by.

use gemc::{Build, WeightsIn};

fn main() {
    Build::new("../../models/gem-lm")
        .plan("../plan.toml")
        .weights(WeightsIn::File)
        .compile()
        .unwrap_or_else(|error| gemc::build::fail(&error));
}
