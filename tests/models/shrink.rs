//! A model that fails -> a plainer one that fails: each choice in turn becomes the plainest, where the failure stays.

use crate::check;
use crate::features::FEATURES;
use crate::model::{Choices, Model};

/// The plainest model that still fails, in whatever way.
pub fn plainest(choices: &Choices, model: &Model) -> Model {
    let (mut choices, mut model) = (choices.clone(), model.clone());
    for feature in 0..FEATURES.len() {
        let mut plainer = choices.clone();
        plainer.0[feature] = 0;
        let Some(tried) = plainer.model(model.seed).filter(|_| plainer != choices) else {
            continue;
        };
        if check::check(&tried).is_err() {
            (choices, model) = (plainer, tried);
        }
    }
    model
}
