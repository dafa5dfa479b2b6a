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

/// How often each of `n` tokens is drawn in `draws`.
fn histogram(sampler: &mut Sampler, logits: &[f32], draws: usize) -> Vec<usize> {
    let mut counts = vec![0; logits.len()];
    for _ in 0..draws {
        counts[sampler.next(logits, &[]) as usize] += 1;
    }
    counts
}

#[test]
fn greedy_takes_the_lowest_of_equal_ids() {
    let mut greedy = Sampler::new(Sampling::default()).expect("valid");
    assert_eq!(greedy.next(&[0.0, 3.0, 3.0, 1.0], &[]), 1);
    assert_eq!(greedy.next(&[f32::NAN, -5.0, f32::NAN], &[]), 1);
    assert_eq!(greedy.next(&[-0.0, 0.0], &[]), 0);
    assert_eq!(greedy.next(&[1.0, f32::INFINITY, f32::MAX], &[]), 1);
    assert_eq!(greedy.next(&[f32::NAN; 3], &[]), 0);
    assert_eq!(greedy.next(&[], &[]), 0);
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
    assert_eq!(drawn(&mut with(|s| s.top_k = 2)), [false, false, true, true]);
    assert_eq!(drawn(&mut with(|s| s.top_p = 0.8)), [false, false, true, true]);
    assert_eq!(drawn(&mut with(|s| s.top_p = 0.82)), [false, true, true, true]);
    assert_eq!(drawn(&mut with(|s| s.top_p = 1e-9)), [false, false, false, true]);
    assert_eq!(drawn(&mut with(|s| s.min_p = 0.15)), [false, true, true, true]);
    assert_eq!(drawn(&mut with(|s| s.min_p = 1.0)), [false, false, false, true]);
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
    assert_eq!(greedy.next(&[3.0, 2.0], &[]), 0);
    assert_eq!(greedy.next(&[3.0, 2.0], &[0]), 1);
    assert_eq!(greedy.next(&[5.0, 2.0], &[0, 0, 0]), 0);
    assert_eq!(greedy.next(&[-1.0, -1.5], &[0]), 1);
    let mut long_ago = vec![0];
    long_ago.extend([7; REPETITION_WINDOW]);
    assert_eq!(greedy.next(&[3.0, 2.0], &long_ago), 0);
    assert_eq!(greedy.next(&[3.0, 2.0], &long_ago[..REPETITION_WINDOW]), 1);
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
    let drawn: Vec<u32> = (0..8).map(|_| sampler.next(&logits, &[])).collect();
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
    let logits = [0.5, -1.0, 3.0, f32::NAN];
    let probabilities = softmax(&logits);
    assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    for (id, p) in probabilities.iter().enumerate().take(3) {
        assert!((logprob(&logits, id as u32) - p.ln()).abs() < 1e-5);
    }
    assert_eq!(logprob(&logits, 3), f32::NEG_INFINITY);
    assert_eq!(logprob(&logits, 4), f32::NEG_INFINITY);
    assert_eq!(softmax(&[f32::NAN; 2]), [0.5, 0.5]);
    assert_eq!(logprob(&[f32::NEG_INFINITY; 2], 0), f32::NEG_INFINITY);
}

fn any_logit() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -20.0_f32..20.0,
        1 => any::<f32>(),
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(f32::NEG_INFINITY),
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

    /// Whatever the logits: an id in range, the same for the same seed, and never an impossible token.
    #[test]
    fn choices_are_possible_and_repeatable(
        logits in vec(any_logit(), 1..40),
        sampling in any_sampling(),
        history in vec(0_u32..60, 0..80),
    ) {
        let mut one = Sampler::new(sampling.clone()).expect("valid");
        let mut other = Sampler::new(sampling.clone()).expect("valid");
        for _ in 0..4 {
            let id = one.next(&logits, &history);
            prop_assert_eq!(id, other.next(&logits, &history));
            let chosen = sound(logits[id as usize]);
            let possible = logits.iter().any(|l| sound(*l) > f32::NEG_INFINITY);
            prop_assert!(!possible || chosen > f32::NEG_INFINITY);
            let rank = logits.iter().filter(|l| sound(**l) > chosen).count();
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
        sampler.next(&logits, &[]);
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
