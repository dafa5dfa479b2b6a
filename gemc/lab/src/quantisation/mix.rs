//! Plans for somebody whose text is mostly of one domain: routing weights from a mix of nine parts of it and one of all others.

use std::collections::BTreeMap;

use gemc::assign::budget_of_bits;
use gemc::planner::{Ablation, Budget, Effort, Texts};
use gemc::sequences::Sequence;

use crate::Result;
use crate::bench::Bench;

/// Bits of the plans.
const BITS: f64 = 3.25;

/// Prints, for each domain, KL with a plan for it and with the plan for all of them.
pub fn table(bench: &Bench) -> Result<()> {
    let budget = Budget::Bits(BITS);
    let plan =
        |texts: &Texts| bench.plan_for(texts, budget, Effort::Default, &[], Ablation::default());
    let all = plan(&bench.texts)?;
    let all = bench.row("all", &all.formats, &all.model)?.free.by_domain();
    println!(
        "## Plans for one domain at {BITS} bits: {} bytes\n\nFitted to text of which nine tenths are of the domain, beside the plan that is fitted to all alike; \
         KL with free routing, on the domain\nand on the others (mean).\n",
        budget_of_bits(&bench.units, BITS)
    );
    println!(
        "| domain | its plan | plan for all | ratio | its plan on the others | plan for all |\n|---|---|---|---|---|---|"
    );
    for (i, domain) in bench.domains.iter().enumerate() {
        let mixed = Texts {
            fit: mix(&bench.texts.fit, domain),
            search: mix(&bench.texts.search, domain),
            name: None,
        };
        let own = plan(&mixed)?;
        let own = bench
            .row(domain, &own.formats, &own.model)?
            .free
            .by_domain();
        let others = |kl: &[f64]| {
            let sum: f64 = kl.iter().sum();
            (sum - kl[i]) / (kl.len() - 1).max(1) as f64
        };
        println!(
            "| {domain} | {:.6} | {:.6} | {:.3} | {:.6} | {:.6} |",
            own[i],
            all[i],
            own[i] / all[i],
            others(&own),
            others(&all)
        );
    }
    println!();
    Ok(())
}

/// All text of a domain, and of the others as much as makes a tenth of the whole, evenly.
fn mix(texts: &[Sequence], domain: &str) -> Vec<Sequence> {
    let tokens = |own: bool| -> usize {
        let kept = texts.iter().filter(|text| (text.domain == domain) == own);
        kept.map(|text| text.ids.len()).sum()
    };
    let share = tokens(true) as f64 / 9.0 / tokens(false).max(1) as f64;
    // By domain, so that each gives its share.
    let mut owed: BTreeMap<&str, f64> = BTreeMap::new();
    let mut kept = Vec::new();
    for text in texts {
        if text.domain != domain {
            let owed = owed.entry(&text.domain).or_default();
            *owed += share * text.ids.len() as f64;
            // A text is taken once half of it is owed.
            if *owed < text.ids.len() as f64 / 2.0 {
                continue;
            }
            *owed -= text.ids.len() as f64;
        }
        kept.push(text.clone());
    }
    kept
}

#[cfg(test)]
mod tests {
    use gemc::sequences::Origin;

    use super::*;

    #[test]
    fn a_tenth_is_of_other_domains() {
        let texts: Vec<Sequence> = (0..800)
            .map(|i| Sequence {
                domain: ["a", "b", "c", "d"][i % 4].to_owned(),
                ids: vec![0; 10 + i % 7],
                label: None,
                origin: Origin::default(),
            })
            .collect();
        let mixed = mix(&texts, "b");
        let tokens = |own: bool| -> usize {
            let of = mixed.iter().filter(|text| (text.domain == "b") == own);
            of.map(|text| text.ids.len()).sum()
        };
        let share = tokens(false) as f64 / (tokens(true) + tokens(false)) as f64;
        assert!((0.09..0.11).contains(&share), "{share}");
        let has = |domain: &str| mixed.iter().filter(|t| t.domain == domain).count();
        assert_eq!(has("b"), 200);
        assert!(has("a") > 3 && has("c") > 3 && has("d") > 3);
    }
}
