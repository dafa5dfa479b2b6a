//! Logits of the next token -> one token id, the same on every machine.
//!
//! The steps, in this order:
//! 1. Logits must be numbers or minus infinity, which stands for a token that is not allowed; anything else, and a row
//!    without any allowed token, is an error.
//! 2. Repetition penalty r: the logit of every token among the last [`REPETITION_WINDOW`] of the sequence, prompt
//!    included, is divided by r when positive and multiplied by r otherwise, once however often it occurs.
//! 3. Temperature 0: the largest logit wins, of equal ones the lowest id. All further steps are skipped.
//! 4. Top-k: the k largest logits remain, of equal ones the lower ids.
//! 5. Weights: `exp((logit - largest) / temperature)` in f64, by `libm`.
//! 6. Top-p: in order of falling logits, the shortest start whose weights sum to at least p of the whole remains.
//! 7. Min-p: what has at least p times the largest weight remains.
//! 8. One number of xoshiro256++ (seeded by SplitMix64) times the sum of the remaining weights picks the token: the
//!    first at which the running sum exceeds it. The order is that of step 6 if top-k or top-p is in use, else of ids.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::error::{Error, Result};
use crate::random::Random;

/// How many of a sequence's last tokens the repetition penalty looks at.
pub const REPETITION_WINDOW: usize = 64;

/// How tokens are chosen, and when to end.
///
/// ```
/// use gem_runtime::Sampling;
///
/// let lively = Sampling {
///     temperature: 0.8,
///     top_p: 0.95,
///     stop: vec!["\n\n".to_owned()],
///     ..Sampling::default()
/// };
/// assert!(lively.check().is_ok());
/// let wrong = Sampling { top_p: 0.0, ..lively };
/// assert!(wrong.check().unwrap_err().to_string().contains("top-p"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0: always the most probable token. Otherwise logits are divided by it.
    pub temperature: f32,
    /// So many tokens are considered; 0: all.
    pub top_k: u32,
    /// Share of probability that is considered; 1: all.
    pub top_p: f32,
    /// Least probability that is considered, relative to the most probable token; 0: all.
    pub min_p: f32,
    /// Above 1 makes tokens of the recent text less probable; 1: off.
    pub repetition_penalty: f32,
    /// Start of the random numbers.
    pub seed: u64,
    /// Tokens at most.
    pub max_tokens: u32,
    /// Texts that end the answer, and are not part of it.
    pub stop: Vec<String>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            max_tokens: 256,
            stop: Vec::new(),
        }
    }
}

/// Which numbers an option takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// In words, to follow "allowed are".
    pub words: &'static str,
    /// Whether a number is one of them.
    pub holds: fn(f32) -> bool,
}

impl Sampling {
    /// What `temperature` may be.
    pub(crate) const TEMPERATURE: Allowed = Allowed {
        words: "0 and above",
        holds: |t| t.is_finite() && t >= 0.0,
    };
    /// What `top_p` may be.
    pub(crate) const TOP_P: Allowed = Allowed {
        words: "values above 0 up to 1",
        holds: |p| p > 0.0 && p <= 1.0,
    };
    /// What `min_p` may be.
    pub(crate) const MIN_P: Allowed = Allowed {
        words: "0 to 1",
        holds: |p| (0.0..=1.0).contains(&p),
    };
    /// What `repetition_penalty` may be.
    pub(crate) const PENALTY: Allowed = Allowed {
        words: "values above 0",
        holds: |r| r.is_finite() && r > 0.0,
    };

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Options`], naming the option and what is allowed.
    pub fn check(&self) -> Result<()> {
        let numbers = [
            ("temperature", self.temperature, Self::TEMPERATURE),
            ("top-p", self.top_p, Self::TOP_P),
            ("min-p", self.min_p, Self::MIN_P),
            ("repetition penalty", self.repetition_penalty, Self::PENALTY),
        ];
        let wrong = |(_, value, allowed): &&(&str, f32, Allowed)| !(allowed.holds)(*value);
        if let Some((what, value, Allowed { words, .. })) = numbers.iter().find(wrong) {
            Err(Error::Options(format!(
                "{what} is {value}; allowed are {words}"
            )))
        } else if self.stop.iter().any(String::is_empty) {
            Err(Error::Options("stop is an empty text".into()))
        } else {
            Ok(())
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    logit: f32,
}

/// Falling logits, of equal ones rising ids. Total, since logits are numbers here and ids differ.
fn better(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// Chooses tokens, one after the other.
///
/// ```
/// use gem_runtime::{Sampler, Sampling};
///
/// let mut greedy = Sampler::new(Sampling::default())?;
/// assert_eq!(greedy.next(&[0.1, 2.0, f32::NEG_INFINITY], &[7])?, 1);
/// # Ok::<(), gem_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    candidates: Vec<Candidate>,
    weights: Vec<f64>,
}

impl Sampler {
    /// A sampler at the start of its random numbers.
    ///
    /// # Errors
    /// [`Error::Options`] as of [`Sampling::check`].
    pub fn new(sampling: Sampling) -> Result<Self> {
        sampling.check()?;
        Ok(Self {
            random: Random::new(sampling.seed),
            sampling,
            candidates: Vec::new(),
            weights: Vec::new(),
        })
    }

    /// The options that it was made with.
    #[must_use]
    pub const fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Chooses a token by its logits `[vocab]`; `history` is the sequence so far, whose last token they follow. A logit of
    /// minus infinity forbids its token.
    ///
    /// # Errors
    /// [`Error::Logits`] when a logit is NaN or infinite, or no token is allowed.
    pub fn next(&mut self, logits: &[f32], history: &[u32]) -> Result<u32> {
        check(logits, history.len().saturating_sub(1) as u32)?;
        self.fill(logits);
        self.penalise(logits, history);
        let best = self.candidates.iter().copied().min_by(better);
        // `check` has seen an allowed token.
        let best = best.ok_or(Error::Empty)?;
        if self.sampling.temperature == 0.0 {
            return Ok(best.id);
        }
        self.keep_top_k();
        self.weigh(best.logit);
        self.keep_top_p();
        self.drop_below_min_p();
        Ok(self.draw().unwrap_or(best.id))
    }

    fn fill(&mut self, logits: &[f32]) {
        self.candidates.clear();
        let all = logits.iter().zip(0..).map(|(logit, id)| Candidate {
            id,
            logit: ordered(*logit),
        });
        self.candidates.extend(all);
    }

    fn penalise(&mut self, logits: &[f32], history: &[u32]) {
        let penalty = self.sampling.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let recent = history.len().saturating_sub(REPETITION_WINDOW);
        for &id in &history[recent..] {
            // Computed from the given logit, so that a token that occurs twice is penalised once.
            if let Some(candidate) = self.candidates.get_mut(id as usize) {
                let logit = ordered(logits[id as usize]);
                let changed = if logit > 0.0 {
                    logit / penalty
                } else {
                    logit * penalty
                };
                // What is possible stays so.
                candidate.logit = changed.clamp(f32::MIN.min(logit), f32::MAX);
            }
        }
    }

    fn keep_top_k(&mut self) {
        let k = self.sampling.top_k as usize;
        if (1..self.candidates.len()).contains(&k) {
            self.candidates.select_nth_unstable_by(k - 1, better);
            self.candidates.truncate(k);
        }
        if k > 0 || self.sampling.top_p < 1.0 {
            self.candidates.sort_unstable_by(better);
        }
    }

    fn weigh(&mut self, largest: f32) {
        let temperature = f64::from(self.sampling.temperature);
        self.weights.clear();
        self.weights.extend(self.candidates.iter().map(|candidate| {
            let below = f64::from(candidate.logit) - f64::from(largest);
            libm::exp(below / temperature)
        }));
    }

    fn keep_top_p(&mut self) {
        if self.sampling.top_p >= 1.0 {
            return;
        }
        let wanted = f64::from(self.sampling.top_p) * self.weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let reached = self.weights.iter().position(|weight| {
            sum += weight;
            sum >= wanted
        });
        if let Some(last) = reached {
            self.weights.truncate(last + 1);
        }
    }

    /// Takes the weight of what is too improbable; the largest weight is 1.
    fn drop_below_min_p(&mut self) {
        let least = f64::from(self.sampling.min_p);
        for weight in self.weights.iter_mut().filter(|weight| **weight < least) {
            *weight = 0.0;
        }
    }

    fn draw(&mut self) -> Option<u32> {
        let wanted = self.random.unit() * self.weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let mut chosen = None;
        for (candidate, weight) in self.candidates.iter().zip(&self.weights) {
            if *weight > 0.0 {
                chosen = Some(candidate.id);
            }
            sum += weight;
            if sum > wanted {
                break;
            }
        }
        // Where rounding keeps the sum from exceeding, the last token with any weight is the one.
        chosen
    }
}

/// A logit that compares as numbers do: adding zero makes -0 and 0, which `total_cmp` tells apart, the same.
const fn ordered(logit: f32) -> f32 {
    logit + 0.0
}

/// Refuses logits of which no distribution can be made.
fn check(logits: &[f32], position: u32) -> Result<()> {
    let wrong = |(id, value)| Error::Logits {
        position,
        id,
        value,
    };
    let unusable = |(_, x): &(u32, f32)| x.is_nan() || *x == f32::INFINITY;
    let mut all = (0..).zip(logits.iter().copied());
    if let Some(found) = all.clone().find(unusable) {
        return Err(wrong(found));
    }
    match all.clone().any(|(_, x)| x > f32::NEG_INFINITY) {
        true => Ok(()),
        // Every token is forbidden, if there is one at all.
        false => Err(all.next().map_or(Error::Empty, wrong)),
    }
}

/// Largest logit and the sum of `exp(logit - largest)`.
///
/// # Errors
/// As of [`softmax`].
fn normaliser(logits: &[f32]) -> Result<(f32, f64)> {
    check(logits, 0)?;
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let terms = logits.iter().map(|x| f64::from(libm::expf(x - largest)));
    Ok((largest, terms.sum()))
}

/// Natural logarithm of the probability that the logits themselves, before any sampling option, give a token.
/// Minus infinity for a token there is no logit of.
///
/// # Errors
/// As of [`softmax`].
///
/// ```
/// let even = gem_runtime::logprob(&[3.0, 3.0], 0)?;
/// assert!((even - 0.5f32.ln()).abs() < 1e-6);
/// # Ok::<(), gem_runtime::Error>(())
/// ```
pub fn logprob(logits: &[f32], id: u32) -> Result<f32> {
    let (largest, sum) = normaliser(logits)?;
    Ok(logits.get(id as usize).map_or(f32::NEG_INFINITY, |logit| {
        (f64::from(*logit) - f64::from(largest) - libm::log(sum)) as f32
    }))
}

/// Probabilities of logits.
///
/// # Errors
/// [`Error::Logits`] when a logit is NaN or infinity, or all are minus infinity; [`Error::Empty`] of no logits.
///
/// ```
/// assert_eq!(gem_runtime::softmax(&[1.0, 1.0, f32::NEG_INFINITY])?, [0.5, 0.5, 0.0]);
/// assert!(gem_runtime::softmax(&[f32::NAN]).is_err());
/// # Ok::<(), gem_runtime::Error>(())
/// ```
pub fn softmax(logits: &[f32]) -> Result<Vec<f32>> {
    let (largest, sum) = normaliser(logits)?;
    let share = |logit: &f32| (f64::from(libm::expf(logit - largest)) / sum) as f32;
    Ok(logits.iter().map(share).collect())
}

#[cfg(test)]
mod tests;
