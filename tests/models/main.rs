//! Random whole models: what the reference, the interpreter and machine code make of any config that import accepts.
//!
//! The suite tries some small ones; `GEM_MODELS=2000` in the ignored test tries as many of any size, until every two
//! choices that go together were met. `GEM_MODEL=file` tries one again, as a failure prints it.

mod build;
mod check;
mod decisions;
mod extremes;
mod features;
mod model;
mod random;
mod run;
mod shrink;
mod table;
mod weights;

use features::{FEATURES, feature};
use model::{Choice, Choices, Model};
use random::Random;
use run::Run;
use table::Table;

/// Models of the suite.
const FEW: u64 = 16;

/// Configs of the suite at the ends of what import accepts; `GEM_MODELS` tries more.
const LARGE: u64 = 300;

/// Models of the long run, unless `GEM_MODELS` says otherwise; as many meet every pair.
const MODELS: u64 = 2000;

/// Draws after which two choices are held to exclude each other.
const DRAWS: usize = 3000;

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

/// Choices that make a model with these among them.
fn draw(random: &mut Random, pinned: &[Choice]) -> Option<(Choices, Model)> {
    (0..DRAWS).find_map(|_| {
        let choices = Choices::random(random, pinned);
        let model = choices.model(random.next() >> 16)?;
        Some((choices, model))
    })
}

/// A value by its name.
fn choice(name: &str, value: &str) -> Choice {
    let feature = feature(name);
    let found = FEATURES[feature].values.iter().position(|v| v == value);
    (feature, found.expect("it has this value"))
}

#[test]
fn small_random_models_agree() {
    let mut random = Random::new(number("GEM_MODELS_SEED", 1), "small models");
    let mut sharp = 0;
    for i in 0..FEW {
        let lengths = ["2", "3", "15", "17", "33"];
        let length = choice("length", lengths[i as usize % lengths.len()]);
        let (choices, model) = draw(&mut random, &[length]).expect("most lengths fit");
        match check::check(&model) {
            Ok(outcome) => sharp += u64::from(!outcome.amplified && !outcome.not_finite),
            Err(error) => panic!("{error}\n{}", shrink::plainest(&choices, &model).to_json()),
        }
    }
    // Where roundings grow, less is certain.
    assert!(
        2 * sharp > FEW,
        "{sharp} of {FEW} models were compared sharply"
    );
}

#[test]
#[ignore = "takes minutes; see CONTRIBUTING.md"]
fn random_models_agree() {
    let (models, seed) = (number("GEM_MODELS", MODELS), number("GEM_MODELS_SEED", 0));
    let (drawn, mut table) = drawn(seed, models);
    println!("{}", table.text());
    let mut run = Run::new(seed);
    for (i, (choices, model)) in (0..).zip(&drawn) {
        run.take(i, choices, model);
    }
    run.compile();
    println!("{}", run.text());
    assert_eq!(run.faults, 0, "see above");
    if models >= MODELS {
        assert_eq!(table.left().map(table::named), None, "never met");
    }
}

/// The models of a seed, every other one with two choices that none before it has; and what they meet.
fn drawn(seed: u64, models: u64) -> (Vec<(Choices, Model)>, Table) {
    let mut random = Random::new(seed, "models");
    let mut table = Table::new();
    let mut drawn = Vec::new();
    for i in 0..models {
        let pinned = if i % 2 == 0 { None } else { table.left() };
        let model = pinned_or_any(&mut random, &mut table, pinned);
        drawn.extend(model.inspect(|(choices, _)| table.meet(choices)));
    }
    while let Some(pair) = table.left() {
        if draw(&mut random, &[pair.0, pair.1]).is_some() {
            break;
        }
        table.refuse(pair);
    }
    (drawn, table)
}

/// A model with two choices that were never met, and if there is none with the next two.
fn pinned_or_any(
    random: &mut Random,
    table: &mut Table,
    mut pinned: Option<table::Pair>,
) -> Option<(Choices, Model)> {
    while let Some(pair) = pinned {
        let found = draw(random, &[pair.0, pair.1]);
        if found.is_some() {
            return found;
        }
        table.refuse(pair);
        pinned = table.left();
    }
    draw(random, &[])
}

#[test]
#[ignore = "needs a model in the file that GEM_MODEL names; see CONTRIBUTING.md"]
fn one_model_agrees() {
    let path = std::env::var("GEM_MODEL").expect("GEM_MODEL names a file");
    let text = std::fs::read_to_string(path).expect("it can be read");
    let model = Model::parse(&text).expect("a model as a failure prints it");
    println!("{:?}", check::check(&model).expect("it agrees"));
}

#[test]
fn the_largest_configs_compile_or_are_refused() {
    let mut random = Random::new(number("GEM_MODELS_SEED", 1), "extremes");
    let (mut faults, mut programs, mut refused) = (Vec::new(), 0, 0);
    for _ in 0..number("GEM_MODELS", LARGE) {
        let config = extremes::any(&mut random);
        match extremes::check(&config, &mut random) {
            Some(Ok(true)) => programs += 1,
            Some(Ok(false)) => refused += 1,
            Some(Err(error)) => faults.push(format!("{error}\n  {config}")),
            None => {}
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{programs} programs, {refused} refused");
    assert!(programs > 9 && refused > 9, "{programs} and {refused}");
}
