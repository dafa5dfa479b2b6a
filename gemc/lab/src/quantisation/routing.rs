//! Where tokens go, with and without quantisation.

use std::collections::BTreeMap;
use std::rc::Rc;

use gemc::calibrate::{batch_of, batches};
use gemc::graph::Site;
use gemc::reference::{Activations, OutputRows, Reference, RoutingRecords, RunOptions};

use crate::Result;
use crate::bench::{Bench, Plan};

/// Tokens by layer, domain and choice (the last: no module).
type Counts = BTreeMap<Site, Vec<Vec<u64>>>;

/// Prints agreement by layer and how distributions differ by domain, for each plan.
pub fn tables(bench: &Bench, plans: &[(f64, Rc<Plan>)]) -> Result<()> {
    println!("## Routing with and without quantisation\n");
    println!("Tokens of which the same set of modules fires, %, each model routing by itself:\n");
    let mut shifts = Vec::new();
    let mut head = false;
    for (bits, plan) in plans {
        let (agreement, original, planned) = compare(bench, &plan.model)?;
        if !head {
            let sites = agreement.keys().map(|site| format!("{site:?}"));
            println!(
                "| bits | {} | mean |",
                sites.collect::<Vec<_>>().join(" | ")
            );
            println!("|{}", "---|".repeat(agreement.len() + 2));
            head = true;
        }
        let mean = agreement.values().sum::<f64>() / agreement.len().max(1) as f64;
        let each = agreement
            .values()
            .map(|share| format!("{:.2}", 100.0 * share));
        println!(
            "| {bits} | {} | {:.2} |",
            each.collect::<Vec<_>>().join(" | "),
            100.0 * mean
        );
        shifts.push((bits, original, planned));
    }
    println!(
        "\nShare of tokens that go elsewhere, net, by domain: total variation distance, %, of what modules get in the\nf32 model and in the plan, the largest of all layers:\n"
    );
    println!("| bits | {} |", bench.domains.join(" | "));
    println!("|{}", "---|".repeat(bench.domains.len() + 1));
    for (bits, original, planned) in &shifts {
        let each = (0..bench.domains.len()).map(|domain| {
            let of = |site: &Site| variation(&original[site][domain], &planned[site][domain]);
            format!("{:.2}", 100.0 * original.keys().map(of).fold(0.0, f64::max))
        });
        println!("| {bits} | {} |", each.collect::<Vec<_>>().join(" | "));
    }
    if let Some((bits, original, planned)) = shifts.last() {
        println!("\nTokens that fire, %, f32 model / plan of {bits} bits:\n");
        println!("| layer | {} |", bench.domains.join(" | "));
        println!("|{}", "---|".repeat(bench.domains.len() + 1));
        for site in original.keys() {
            let each = (0..bench.domains.len()).map(|d| {
                format!(
                    "{:.1} / {:.1}",
                    fired(&original[site][d]),
                    fired(&planned[site][d])
                )
            });
            println!("| {site:?} | {} |", each.collect::<Vec<_>>().join(" | "));
        }
    }
    println!();
    Ok(())
}

/// Agreement by layer, and both models' counts.
fn compare(bench: &Bench, model: &Reference) -> Result<(BTreeMap<Site, f64>, Counts, Counts)> {
    let (mut agreement, mut original, mut planned) =
        (BTreeMap::new(), Counts::new(), Counts::new());
    let mut tokens = 0;
    for group in batches(&bench.judged.windows) {
        let batch = batch_of(group);
        let run = |model: &Reference, activations| {
            let outputs = OutputRows::None;
            let options = RunOptions {
                outputs,
                activations,
                ..RunOptions::default()
            };
            model.run(&batch, &options).map(|run| run.routing)
        };
        let expected = run(&bench.reference, Activations::F32)?;
        let found = run(model, Activations::Rounded)?;
        let domains: Vec<usize> = group
            .iter()
            .flat_map(|s| {
                let domain = bench.domains.binary_search(&s.domain).unwrap_or_default();
                std::iter::repeat_n(domain, s.ids.len())
            })
            .collect();
        count(&expected, &domains, bench.domains.len(), &mut original);
        count(&found, &domains, bench.domains.len(), &mut planned);
        tokens += domains.len();
        for (site, routing) in expected.iter() {
            let (a, b) = (
                &routing.decisions,
                &found.get(site).ok_or("the same sites")?.decisions,
            );
            let same = (0..domains.len()).filter(|row| a.fired_row(*row) == b.fired_row(*row));
            *agreement.entry(site).or_insert(0.0) += same.count() as f64;
        }
    }
    agreement
        .values_mut()
        .for_each(|same| *same /= tokens.max(1) as f64);
    Ok((agreement, original, planned))
}

fn count(routing: &RoutingRecords, domains: &[usize], names: usize, counts: &mut Counts) {
    for (site, routing) in routing.iter() {
        let decisions = &routing.decisions;
        let empty = || vec![vec![0; decisions.modules + 1]; names];
        let counts = counts.entry(site).or_insert_with(empty);
        for (row, domain) in domains.iter().enumerate() {
            counts[*domain][decisions.domain[row] as usize] += 1;
        }
    }
}

fn variation(a: &[u64], b: &[u64]) -> f64 {
    let total = |counts: &[u64]| counts.iter().sum::<u64>().max(1) as f64;
    let (all_a, all_b) = (total(a), total(b));
    let each = a
        .iter()
        .zip(b)
        .map(|(a, b)| (*a as f64 / all_a - *b as f64 / all_b).abs());
    each.sum::<f64>() / 2.0
}

fn fired(counts: &[u64]) -> f64 {
    let all = counts.iter().sum::<u64>().max(1) as f64;
    let none = counts.last().copied().unwrap_or_default() as f64;
    100.0 * (all - none) / all
}
