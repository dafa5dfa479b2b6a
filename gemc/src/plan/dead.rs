//! What leaving out each branch of a model costs, as plans keep it -> the words that every verb and page says of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Tokens that must reach a branch before anything is said of it.
pub const LEAST_TOKENS: u64 = 8_000;

/// A branch is dead when leaving it out costs less than this, or less than [`TIMES_ROUNDING`] its own rounding to 8 bits.
pub const LEAST_KL: f64 = 1e-5;

/// See [`LEAST_KL`].
pub const TIMES_ROUNDING: f64 = 2.0;

/// What was found of all branches of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadWeight {
    /// Tokens of the text.
    pub tokens: u64,
    /// Branches of the model.
    pub branches: usize,
    /// What a plan may cost in all by what it leaves out, nats per token; nothing where it leaves out nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<f64>,
    /// What leaving out all of that costs, measured, later layers routing anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_kl: Option<f64>,
    /// Those that are dead, unmeasured or left out, in evaluation order.
    #[serde(default, rename = "branch")]
    pub found: Vec<FoundBranch>,
}

/// What was found of one branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundBranch {
    /// Its path, as `model.layers.2.modules.5`.
    pub name: String,
    /// What is said of it.
    pub verdict: Verdict,
    /// Tokens that reach it: of those that it was measured on, or of the whole text where they are too few.
    pub tokens: u64,
    /// KL in nats without it, per output that it reaches, routing forced; cosine error of a model that gives vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// The same of its weights rounded to 8 bits, where that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounded_kl: Option<f64>,
    /// Whether the plan leaves it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// What is said of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Leaving it out costs next to nothing.
    Dead,
    /// Too few tokens reach it.
    Unmeasured,
    /// It does something, if little.
    Alive,
}

impl Verdict {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Unmeasured => "unmeasured",
            Self::Alive => "alive",
        }
    }
}

impl FoundBranch {
    /// What is known of it, in words.
    #[must_use]
    pub fn reason(&self) -> String {
        let Some(kl) = self.kl else {
            let Self { tokens, .. } = self;
            return format!("{tokens} tokens reach it; needs {LEAST_TOKENS}");
        };
        let rounded = match self.rounded_kl {
            Some(rounded) => format!(", {rounded:.1e} with it in 8 bits"),
            None => String::new(),
        };
        let dropped = if self.dropped { "; left out" } else { "" };
        format!(
            "{kl:.1e} without it{rounded}, on {} tokens that reach it{dropped}",
            self.tokens
        )
    }
}

impl DeadWeight {
    /// Names of the branches that the plan leaves out.
    #[must_use]
    pub fn dropped(&self) -> Vec<String> {
        let dropped = self.found.iter().filter(|branch| branch.dropped);
        dropped.map(|branch| branch.name.clone()).collect()
    }

    /// What the figures mean, in a sentence or two.
    #[must_use]
    pub fn note(&self) -> String {
        let mut note = format!(
            "Of {} branches (attention, MLPs, general paths, modules), measured on text of {} tokens. One is dead when leaving it \
             out costs less than {LEAST_KL} nats an output, or less than {TIMES_ROUNDING} times its own rounding to 8 bits.",
            self.branches, self.tokens
        );
        if let (Some(limit), Some(kl)) = (self.prune, self.dropped_kl) {
            let dropped = self.dropped().len();
            note += &format!(
                " The plan leaves out {dropped}, which costs {kl:.1e} of {limit:.1e} nats."
            );
        }
        note
    }
}

impl fmt::Display for DeadWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "dead weight: {}", self.note())?;
        let width = self.found.iter().map(|b| b.name.len()).max().unwrap_or(0);
        for branch in &self.found {
            let (name, verdict) = (&branch.name, branch.verdict.name());
            writeln!(f, "  {name:width$}  {verdict:10}  {}", branch.reason())?;
        }
        let rest = self.branches - self.found.len().min(self.branches);
        writeln!(f, "  {rest} others do something")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_says_what_was_found() {
        let branch = |name: &str, verdict, kl, dropped| FoundBranch {
            name: name.to_owned(),
            verdict,
            tokens: 8_192,
            kl,
            rounded_kl: None,
            dropped,
        };
        let dead = DeadWeight {
            tokens: 100_000,
            branches: 9,
            prune: Some(1e-4),
            dropped_kl: Some(3e-6),
            found: vec![
                branch("a.general", Verdict::Dead, Some(1e-9), true),
                branch("a.modules.3", Verdict::Unmeasured, None, false),
            ],
        };
        let text = dead.to_string();
        for words in [
            "a.general    dead        1.0e-9 without it, on 8192 tokens that reach it; left out",
            "a.modules.3  unmeasured  8192 tokens reach it; needs 8000",
            "7 others",
            "leaves out 1, which costs 3.0e-6 of 1.0e-4 nats",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(dead.dropped(), ["a.general"]);
        let toml = toml::to_string(&dead).expect("it has a text");
        assert_eq!(toml::from_str::<DeadWeight>(&toml), Ok(dead));
    }
}
