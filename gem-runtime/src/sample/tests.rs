//! Sampling against its description: each step by itself, then properties over arbitrary logits.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn with(change: impl FnOnce(&mut Sampling)) -> Sampler {
    let mut sampling = Sampling {
        temperature: 1.0,
        ..Sampling::default()
    };
    change(&mut sampling);
    Sampler::new(sampling).expect("valid")
}

fn next(sampler: &mut Sampler, logits: &[f32], history: &[u32]) -> u32 {
    sampler.next(logits, history).expect("logits are numbers")
}

/// How often each of `n` tokens is drawn in `draws`.
fn histogram(sampler: &mut Sampler, logits: &[f32], draws: usize) -> Vec<usize> {
    let mut counts = vec![0; logits.len()];
    for _ in 0..draws {
        counts[next(sampler, logits, &[]) as usize] += 1;
    }
    counts
}

#[test]
fn greedy_takes_the_lowest_of_equal_ids() {
    let mut greedy = Sampler::new(Sampling::default()).expect("valid");
    assert_eq!(next(&mut greedy, &[0.0, 3.0, 3.0, 1.0], &[]), 1);
    assert_eq!(next(&mut greedy, &[f32::NEG_INFINITY, -5.0], &[]), 1);
    assert_eq!(next(&mut greedy, &[-0.0, 0.0], &[]), 0);
}

#[test]
fn what_is_not_a_number_is_refused_wherever_it_stands() {
    let history = [7, 8, 9];
    for sampling in [
        Sampling::default(),
        Sampling {
            temperature: 1.0,
            top_k: 2,
            ..Sampling::default()
        },
    ] {
        let mut sampler = Sampler::new(sampling).expect("valid");
        for bad in [f32::NAN, f32::INFINITY] {
            for at in 0..3 {
                let mut logits = [1.0, 2.0, 3.0];
                logits[at] = bad;
                let Err(Error::Logits {
                    position: 2,
                    id,
                    value,
                }) = sampler.next(&logits, &history)
                else {
                    panic!("{bad} at {at} was taken for a logit");
                };
                assert_eq!((id as usize, value.is_nan()), (at, bad.is_nan()));
                assert!(softmax(&logits).is_err() && logprob(&logits, 0).is_err());
            }
        }
        let forbidden = [f32::NEG_INFINITY; 3];
        assert!(matches!(
            sampler.next(&forbidden, &[]),
            Err(Error::Logits { id: 0, .. })
        ));
        assert!(matches!(sampler.next(&[], &[]), Err(Error::Empty)));
    }
}

#[test]
fn frequencies_follow_probabilities() {
    let logits = [0.0, 2.0_f32.ln(), 5.0_f32.ln()];
    let counts = histogram(&mut with(|_| {}), &logits, 8000);
    for (count, expected) in counts.iter().zip([1000, 2000, 5000]) {
        assert!(count.abs_diff(expected) < 150, "{counts:?}");
    }
    let colder = histogram(&mut with(|s| s.temperature = 0.5), &logits, 3000);
    for (count, expected) in colder.iter().zip([100, 400, 2500]) {
        assert!(count.abs_diff(expected) < 100, "{colder:?}");
    }
}

#[test]
fn cuts_leave_what_they_should() {
    // Probabilities 1/16, 2/16, 3/16, 10/16.
    let logits = [1.0_f32, 2.0, 3.0, 10.0].map(f32::ln);
    let drawn = |sampler: &mut Sampler| -> Vec<bool> {
        let counts = histogram(sampler, &logits, 1000);
        counts.iter().map(|count| *count > 0).collect()
    };
    assert_eq!(
        drawn(&mut with(|s| s.top_k = 2)),
        [false, false, true, true]
    );
    assert_eq!(
        drawn(&mut with(|s| s.top_p = 0.8)),
        [false, false, true, true]
    );
    assert_eq!(
        drawn(&mut with(|s| s.top_p = 0.82)),
        [false, true, true, true]
    );
    assert_eq!(
        drawn(&mut with(|s| s.top_p = 1e-9)),
        [false, false, false, true]
    );
    assert_eq!(
        drawn(&mut with(|s| s.min_p = 0.15)),
        [false, true, true, true]
    );
    assert_eq!(
        drawn(&mut with(|s| s.min_p = 1.0)),
        [false, false, false, true]
    );
    // Top-k comes before top-p: of 3/13 and 10/13, half is reached by the best alone.
    let both = &mut with(|s| {
        s.top_k = 2;
        s.top_p = 0.7;
    });
    assert_eq!(drawn(both), [false, false, false, true]);
}

#[test]
fn equal_logits_are_cut_by_id() {
    let counts = histogram(&mut with(|s| s.top_k = 2), &[1.0; 5], 200);
    assert!(counts[0] > 0 && counts[1] > 0 && counts[2..] == [0, 0, 0]);
}

#[test]
fn repetition_looks_at_the_last_tokens_once_each() {
    let mut greedy = Sampler::new(Sampling {
        repetition_penalty: 2.0,
        ..Sampling::default()
    })
    .expect("valid");
    assert_eq!(next(&mut greedy, &[3.0, 2.0], &[]), 0);
    assert_eq!(next(&mut greedy, &[3.0, 2.0], &[0]), 1);
    assert_eq!(next(&mut greedy, &[5.0, 2.0], &[0, 0, 0]), 0);
    assert_eq!(next(&mut greedy, &[-1.0, -1.5], &[0]), 1);
    let mut long_ago = vec![0];
    long_ago.extend([7; REPETITION_WINDOW]);
    assert_eq!(next(&mut greedy, &[3.0, 2.0], &long_ago), 0);
    assert_eq!(
        next(&mut greedy, &[3.0, 2.0], &long_ago[..REPETITION_WINDOW]),
        1
    );
}

#[test]
fn draws_are_the_same_everywhere() {
    // Computed by a restatement of the module's description in another language; a change of any step shows here.
    let logits: Vec<f32> = (0..50).map(|i| ((i * 7) % 13) as f32 * 0.3).collect();
    let mut sampler = with(|s| {
        s.seed = 42;
        s.top_k = 20;
        s.top_p = 0.9;
    });
    let drawn: Vec<u32> = (0..8).map(|_| next(&mut sampler, &logits, &[])).collect();
    assert_eq!(drawn, [5, 9, 16, 33, 5, 7, 24, 7]);
}

#[test]
fn options_out_of_range_are_named() {
    let refused = |change: fn(&mut Sampling), name: &str| {
        let mut sampling = Sampling::default();
        change(&mut sampling);
        let message = Sampler::new(sampling).expect_err("refused").to_string();
        assert!(message.contains(name), "{message}");
    };
    refused(|s| s.temperature = -1.0, "temperature is -1");
    refused(|s| s.temperature = f32::NAN, "temperature is NaN");
    refused(|s| s.temperature = f32::INFINITY, "temperature is inf");
    refused(|s| s.top_p = 0.0, "top-p is 0");
    refused(|s| s.top_p = f32::NAN, "top-p is NaN");
    refused(|s| s.min_p = 1.5, "min-p is 1.5");
    refused(|s| s.repetition_penalty = 0.0, "repetition penalty is 0");
    refused(|s| s.stop = vec![String::new()], "stop");
}

#[test]
fn logprobs_are_those_of_the_softmax() {
    let logits = [0.5, -1.0, 3.0, f32::NEG_INFINITY];
    let probabilities = softmax(&logits).expect("numbers");
    let logprob = |id| logprob(&logits, id).expect("numbers");
    assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    for (id, p) in probabilities.iter().enumerate().take(3) {
        assert!((logprob(id as u32) - p.ln()).abs() < 1e-5);
    }
    assert_eq!(logprob(3), f32::NEG_INFINITY);
    assert_eq!(logprob(4), f32::NEG_INFINITY);
    assert!(matches!(softmax(&[]), Err(Error::Empty)));
}

fn any_logit() -> impl Strategy<Value = f32> {
    prop_oneof![
        400 => -20.0_f32..20.0,
        1 => any::<f32>(),
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        20 => Just(f32::NEG_INFINITY),
    ]
}

fn any_sampling() -> impl Strategy<Value = Sampling> {
    let temperature = prop_oneof![Just(0.0_f32), 1e-30_f32..4.0, Just(f32::MAX)];
    let cuts = (0_u32..40, 1e-6_f32..=1.0, 0.0_f32..=1.0);
    (temperature, cuts, 1e-3_f32..8.0, any::<u64>()).prop_map(
        |(temperature, (top_k, top_p, min_p), repetition_penalty, seed)| Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            seed,
            ..Sampling::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the logits: an error, or an id in range that is allowed, and the same for the same seed.
    #[test]
    fn choices_are_possible_and_repeatable(
        logits in vec(any_logit(), 1..40),
        sampling in any_sampling(),
        history in vec(0_u32..60, 0..80),
    ) {
        let mut one = Sampler::new(sampling.clone()).expect("valid");
        let mut other = Sampler::new(sampling.clone()).expect("valid");
        let usable = logits.iter().all(|l| !l.is_nan() && *l < f32::INFINITY)
            && logits.iter().any(|l| *l > f32::NEG_INFINITY);
        for _ in 0..4 {
            let id = match (one.next(&logits, &history), other.next(&logits, &history)) {
                (Ok(id), Ok(same)) => {
                    prop_assert!(usable);
                    prop_assert_eq!(id, same);
                    id
                }
                (Err(_), Err(_)) => {
                    prop_assert!(!usable);
                    continue;
                }
                _ => return Err(TestCaseError::fail("one of two equal samplers failed")),
            };
            let chosen = logits[id as usize];
            prop_assert!(chosen > f32::NEG_INFINITY);
            let rank = logits.iter().filter(|l| **l > chosen).count();
            if sampling.repetition_penalty == 1.0 && sampling.top_k > 0 {
                prop_assert!(rank < sampling.top_k as usize);
            }
        }
    }

    /// The kept tokens of top-k and top-p are a start of the order by logit.
    #[test]
    fn cuts_never_drop_a_better_token(
        logits in vec(-9.0_f32..9.0, 2..30),
        top_k in 0_u32..10,
        top_p in 0.05_f32..1.0,
    ) {
        let mut sampler = with(|s| { s.top_k = top_k; s.top_p = top_p; });
        next(&mut sampler, &logits, &[]);
        let kept: Vec<f32> = sampler.candidates[..sampler.weights.len()].iter().map(|c| c.logit).collect();
        let mut sorted = logits.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        prop_assert_eq!(&kept[..], &sorted[..kept.len()]);
        let total: f64 = sorted.iter().take(if top_k == 0 { 99 } else { top_k as usize })
            .map(|l| libm::exp(f64::from(l - sorted[0]))).sum();
        let sum: f64 = kept.iter().map(|l| libm::exp(f64::from(l - sorted[0]))).sum();
        prop_assert!(sum >= f64::from(top_p) * total * (1.0 - 1e-6));
    }
}
