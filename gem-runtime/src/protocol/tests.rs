//! Messages survive the wire; whatever else comes over it is refused.

use std::borrow::Cow;

use proptest::prelude::*;

use super::message::{self, Answer, Request};
use super::wire::{read_frame, write_frame};
use super::*;
use crate::error::Error;
use crate::info::Task;
use crate::simd::Level;

fn record() -> RoutingRecord {
    RoutingRecord {
        site: "layers.0".to_owned(),
        modules: 3,
        top_k: 2,
        p: vec![0.5, 0.25, 0.25, 0.0, f32::MIN_POSITIVE, 1.0],
        fired: vec![0, -1, 1, 2],
        gates: vec![0.5, 0.0, 0.1, 0.9],
        domain: vec![0, 2],
        cluster: vec![7, 0],
    }
}

fn logits() -> LogitsRequest {
    LogitsRequest {
        ids: vec![1, 2, u32::MAX],
        which: Which::Last(2),
        chunks: vec![1, 2],
        forced: vec![record()],
        routing: true,
        setup: Setup {
            threads: Some(2),
            context: None,
        },
    }
}

fn info() -> ModelInfo {
    ModelInfo {
        name: Cow::Borrowed("toy \u{e9}"),
        task: Task::SequenceClassification,
        target: Cow::Borrowed("host"),
        level: Level::X86V3,
        vocab_size: 7,
        hidden_size: 32,
        max_positions: 128,
        domains: vec!["law".into(), "finance".into()].into(),
        labels: vec!["x".into()].into(),
        embedding: 7,
        conventions: crate::Conventions {
            token_types: 2,
            score: crate::LabelScore::Sigmoid,
            pools_prompt: false,
        },
        bits_per_weight: 4.25,
        weight_bytes: 1 << 40,
        plan_hash: core::array::from_fn(|i| i as u8),
        layout: 0x0123_4567_89ab_cdef,
        bos: Some(1),
        eos: Cow::Borrowed(&[2, 3]),
    }
}

fn bench() -> BenchResult {
    BenchResult {
        prefill_ns: vec![1, 2],
        decode_ns: vec![u64::MAX],
        prefill_phase_ns: vec![3, 4, 5],
        decode_phase_ns: Vec::new(),
        load_ns: 5,
        threads: 2,
        peak_rss_bytes: Some(9),
        anon_bytes: None,
        kv_bytes: 3,
        arena_bytes: 4,
    }
}

/// A frame of every kind.
fn frames() -> Vec<Vec<u8>> {
    vec![
        message::info_request(),
        message::logits_request(&logits()),
        message::bench_request(&BenchRequest {
            threads: Some(1),
            phases: true,
            ..BenchRequest::default()
        }),
        message::probe_request(&ProbeRequest::default()),
        message::info(&info()),
        message::row(3, &[1.0, f32::NEG_INFINITY]),
        message::routing(&record()),
        message::done(&[("layers.1".to_owned(), 7)]),
        message::bench(&bench()),
        message::probe(&ProbeResult {
            bytes_per_second: 1e10,
            threads: 2,
        }),
        message::failed(&Error::Empty),
        message::failed(&Error::Options("runs is 0".to_owned())),
    ]
}

#[test]
fn requests_survive() {
    let read = |frame: &[u8]| Request::decode(frame).expect("sound");
    assert_eq!(read(&message::info_request()), Request::Info);
    let request = logits();
    let frame = message::logits_request(&request);
    assert_eq!(read(&frame), Request::Logits(request));
    let request = ProbeRequest::default();
    let frame = message::probe_request(&request);
    assert_eq!(read(&frame), Request::Probe(request));
}

#[test]
fn answers_survive() {
    let read = |frame: &[u8]| Answer::decode(frame).expect("sound");
    assert_eq!(
        read(&message::info(&info())),
        Answer::Info(Box::new(info()))
    );
    assert_eq!(
        read(&message::row(3, &[1.0, -2.5])),
        Answer::Row(3, vec![1.0, -2.5])
    );
    assert_eq!(
        read(&message::routing(&record())),
        Answer::Routing(record())
    );
    assert_eq!(read(&message::bench(&bench())), Answer::Bench(bench()));
    let saturated = vec![
        ("layers.1".to_owned(), 7),
        ("layers.2".to_owned(), u64::MAX),
    ];
    assert_eq!(read(&message::done(&saturated)), Answer::Done(saturated));
    assert_eq!(read(&message::done(&[])), Answer::Done(Vec::new()));
    let why = Error::Empty.to_string();
    assert_eq!(read(&message::failed(&Error::Empty)), Answer::Failed(why));
    let option = Error::Options("runs is 0".to_owned());
    let refused = Answer::Refused("runs is 0".to_owned());
    assert_eq!(read(&message::failed(&option)), refused);
}

#[test]
fn cut_and_stretched_frames_are_refused() {
    for frame in frames() {
        let refused = |frame: &[u8]| {
            assert!(Request::decode(frame).is_err() && Answer::decode(frame).is_err());
        };
        (0..frame.len()).for_each(|end| refused(&frame[..end]));
        refused(&[&frame[..], &[0]].concat());
        refused(&[&[VERSION + 1], &frame[1..]].concat());
    }
}

#[test]
fn records_whose_lists_disagree_are_refused() {
    let mut broken = record();
    broken.p.pop();
    assert!(Answer::decode(&message::routing(&broken)).is_err());
    let mut absurd = record();
    absurd.modules = u32::MAX;
    assert!(Answer::decode(&message::routing(&absurd)).is_err());
}

#[test]
fn streams_end_between_frames_only() {
    let mut stream = Vec::new();
    for frame in frames() {
        write_frame(&mut stream, &frame).expect("memory");
    }
    let mut rest = &stream[..];
    let mut frame = Vec::new();
    for expected in frames() {
        assert!(read_frame(&mut rest, &mut frame).expect("sound"));
        assert_eq!(frame, expected);
    }
    assert!(!read_frame(&mut rest, &mut frame).expect("the end"));
    assert!(read_frame(&mut &stream[..3], &mut frame).is_err());
    assert!(read_frame(&mut &stream[..5], &mut frame).is_err());
    // A length beyond all reason, and one that is only claimed: neither is reserved.
    assert!(read_frame(&mut &[255; 8][..], &mut frame).is_err());
    let mut claimed = Vec::new();
    let claim = [LONGEST_FRAME.to_le_bytes(), [0; 4]].concat();
    assert!(read_frame(&mut &claim[..], &mut claimed).is_err());
    assert!(claimed.capacity() < 1 << 20);
}

proptest! {
    #[test]
    fn anything_can_come_over_the_wire(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_protocol(&bytes);
    }

    /// Damaged frames: the counts inside them are wrong more often than in random bytes.
    #[test]
    fn damaged_frames_do_no_harm(which in 0_usize..11, at in any::<usize>(), byte in any::<u8>()) {
        let mut frame = frames().swap_remove(which);
        let at = at % frame.len();
        frame[at] = byte;
        fuzz_protocol(&frame);
    }
}
