//! The protocol end to end: what a client over a pipe hears is what a server in the process says.

use std::io::{BufReader, PipeReader, PipeWriter, pipe};
use std::thread;

use gem_runtime::protocol::{
    BenchRequest, Client, LogitsRequest, Peer, ProbeRequest, RoutingRecord, Server, Setup, Which,
    serve,
};
use gem_runtime::{Error, Task};

use crate::toy;

const ONE: Setup = Setup {
    threads: Some(1),
    context: None,
};

type Pipes = Client<BufReader<PipeReader>, PipeWriter>;

/// Runs `ask` with a client of a served toy, then with a server in this process.
fn both(task: Task, mut ask: impl FnMut(&mut dyn Peer)) {
    let engine = toy::engine(task);
    ask(&mut Server::new(&engine, 11));
    thread::scope(|scope| {
        let (requests, to) = pipe().expect("a pipe");
        let (from, answers) = pipe().expect("a pipe");
        let serving = scope.spawn(|| serve(&toy::engine(task), 11, requests, answers));
        let mut client: Pipes = Client::new(BufReader::new(from), to);
        ask(&mut client);
        drop(client);
        serving.join().expect("no panic").expect("a clean end");
    });
}

type Rows = Vec<(u32, Vec<f32>)>;

fn rows(peer: &mut dyn Peer, request: &LogitsRequest) -> (Rows, Vec<RoutingRecord>) {
    let mut rows = Vec::new();
    let mut each = |position: u32, logits: &[f32]| rows.push((position, logits.to_vec()));
    let records = peer.logits(request, &mut each).expect("sound").routing;
    (rows, records)
}

fn request(ids: &[u32]) -> LogitsRequest {
    LogitsRequest {
        ids: ids.to_vec(),
        setup: ONE,
        ..LogitsRequest::default()
    }
}

const IDS: [u32; 9] = [1, 4, 2, 10, 7, 0, 5, 3, 9];

#[test]
fn facts_arrive() {
    both(Task::CausalLm, |peer| {
        assert_eq!(peer.info().expect("sound"), toy::info(Task::CausalLm));
    });
}

#[test]
fn prompts_in_one_call_and_in_pieces_have_the_same_logits() {
    both(Task::CausalLm, |peer| {
        let (whole, records) = rows(peer, &request(&IDS));
        assert!(records.is_empty());
        assert_eq!(whole.len(), IDS.len());
        for (position, (at, logits)) in whole.iter().enumerate() {
            assert_eq!(*at as usize, position);
            let state = toy::expected_state(&IDS[..=position], Some(IDS[position] % 3));
            assert_eq!(logits[5], toy::weight(5) * state);
        }
        for chunks in [vec![1], vec![3, 2], vec![100], vec![5, 1]] {
            let pieces = LogitsRequest {
                chunks,
                ..request(&IDS)
            };
            assert_eq!(rows(peer, &pieces).0, whole);
        }
        for last in [0, 1, 4, 5, 9, 100] {
            let end = LogitsRequest {
                which: Which::Last(last),
                chunks: vec![4],
                ..request(&IDS)
            };
            let first = IDS.len().saturating_sub(last as usize);
            assert_eq!(rows(peer, &end).0, whole[first..]);
        }
    });
}

#[test]
fn routing_is_recorded_and_forced() {
    both(Task::CausalLm, |peer| {
        let recorded = LogitsRequest {
            routing: true,
            chunks: vec![4, 1],
            ..request(&IDS)
        };
        let (own, records) = rows(peer, &recorded);
        let [record] = &records[..] else {
            panic!("one site, {} records", records.len());
        };
        assert_eq!(
            (&*record.site, record.modules, record.top_k),
            ("layers.0", 3, 1)
        );
        assert_eq!(record.fired, IDS.map(|id| (id % 3) as i32));
        assert_eq!(record.p.len(), IDS.len() * 3);
        assert!(record.cluster.is_empty());
        let mut other = record.clone();
        other.fired[4] = -1;
        let forced = LogitsRequest {
            forced: vec![other],
            ..recorded
        };
        let (changed, still) = rows(peer, &forced);
        // What is recorded is what the model's own routers chose.
        assert_eq!(still, records);
        for (position, (now, before)) in changed.iter().zip(&own).enumerate() {
            assert_eq!(now != before, position == 4);
        }
        let state = toy::expected_state(&IDS[..5], None);
        assert_eq!(changed[4].1[1], toy::weight(1) * state);
    });
}

#[test]
fn classifiers_have_one_row() {
    both(Task::SequenceClassification, |peer| {
        let (rows, records) = rows(
            peer,
            &LogitsRequest {
                routing: true,
                ..request(&IDS[..4])
            },
        );
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].0, rows[0].1.len()), (0, 2));
        assert_eq!(records[0].positions(), 4);
    });
}

#[test]
fn mistakes_are_answered_and_forgiven() {
    both(Task::CausalLm, |peer| {
        let good = rows(peer, &request(&IDS));
        let sites = LogitsRequest {
            routing: true,
            ..request(&IDS)
        };
        let record = rows(peer, &sites).1.swap_remove(0);
        let forced = |change: fn(&mut RoutingRecord)| {
            let mut record = record.clone();
            change(&mut record);
            LogitsRequest {
                forced: vec![record],
                ..request(&IDS)
            }
        };
        let chunks = |chunks: &[u32]| LogitsRequest {
            chunks: chunks.to_vec(),
            ..request(&IDS)
        };
        let many = Setup {
            threads: Some(0),
            context: None,
        };
        let bad = [
            (request(&[]), "no tokens"),
            (request(&[11]), "token id 11"),
            (request(&[1; 21]), "21 tokens"),
            (
                LogitsRequest {
                    setup: many,
                    ..request(&IDS)
                },
                "threads is 0",
            ),
            (chunks(&[2, 0]), "chunks"),
            (forced(|r| r.site = "final".to_owned()), "layers.0"),
            (
                forced(|r| {
                    r.modules = 1;
                    r.p.truncate(IDS.len());
                }),
                "3, top 1",
            ),
            (forced(|r| r.fired[0] = 3), "forced routing"),
            (forced(|r| r.domain[8] = 4), "forced routing"),
            (
                forced(|r| {
                    *r = RoutingRecord {
                        site: r.site.clone(),
                        modules: 3,
                        top_k: 1,
                        ..RoutingRecord::default()
                    }
                }),
                "0 rows",
            ),
        ];
        for (request, named) in bad {
            let error = peer.logits(&request, &mut |_, _| {}).expect_err("refused");
            assert!(error.to_string().contains(named), "{error}");
        }
        assert_eq!(rows(peer, &request(&IDS)), good);
    });
}

#[test]
fn time_and_memory_are_measured() {
    both(Task::CausalLm, |peer| {
        let bench = BenchRequest {
            prefill: 6,
            decode: 2,
            runs: 3,
            phases: true,
            threads: Some(2),
        };
        let result = peer.bench(&bench).expect("sound");
        let sum = |ns: &[u64]| ns.iter().sum::<u64>();
        for (phases, runs) in [
            (&result.prefill_phase_ns, &result.prefill_ns),
            (&result.decode_phase_ns, &result.decode_ns),
        ] {
            assert!(sum(phases) > 0 && sum(phases) <= sum(runs), "{result:?}");
        }
        let phases = result.prefill_phase_ns.len();
        assert_eq!(result.decode_phase_ns.len(), phases);
        let plain = BenchRequest {
            phases: false,
            ..bench
        };
        let plain = peer.bench(&plain).expect("sound");
        assert!(plain.prefill_phase_ns.is_empty() && plain.decode_phase_ns.is_empty());
        assert_eq!((result.prefill_ns.len(), result.decode_ns.len()), (3, 3));
        assert!(
            result
                .prefill_ns
                .iter()
                .chain(&result.decode_ns)
                .all(|ns| *ns > 0)
        );
        assert_eq!((result.load_ns, result.threads), (11, 2));
        assert_eq!(result.kv_bytes, 8 * 4);
        if cfg!(target_os = "linux") {
            assert!(result.peak_rss_bytes > result.anon_bytes && result.anon_bytes > Some(0));
        }
        for bad in [
            BenchRequest {
                prefill: 0,
                ..bench
            },
            BenchRequest { runs: 0, ..bench },
            BenchRequest {
                runs: u32::MAX,
                ..bench
            },
            BenchRequest {
                prefill: u32::MAX,
                decode: u32::MAX,
                ..bench
            },
            BenchRequest {
                decode: 15,
                ..bench
            },
            BenchRequest {
                threads: Some(1 << 20),
                ..bench
            },
        ] {
            assert!(peer.bench(&bad).is_err());
        }
    });
}

#[test]
fn the_probe_reads_memory() {
    both(Task::CausalLm, |peer| {
        let probe = ProbeRequest {
            bytes_per_thread: 20 << 20,
            rounds: 2,
            threads: Some(2),
        };
        let result = peer.probe(&probe).expect("room");
        assert_eq!(result.threads, 2);
        assert!(result.bytes_per_second > 1e6 && result.bytes_per_second.is_finite());
        for bad in [
            ProbeRequest { rounds: 0, ..probe },
            ProbeRequest {
                bytes_per_thread: u64::MAX,
                ..probe
            },
            ProbeRequest {
                threads: Some(0),
                ..probe
            },
        ] {
            assert!(peer.probe(&bad).is_err());
        }
    });
}

#[test]
fn a_program_that_ends_early_or_talks_nonsense_is_an_error() {
    let mut silent = Client::new(&[][..], Vec::new());
    assert!(matches!(silent.info(), Err(Error::Protocol(_))));
    let mut babble = Client::new(&b"Hello, world, this is no frame"[..], Vec::new());
    assert!(matches!(babble.info(), Err(Error::Protocol(_))));
    let engine = toy::engine(Task::CausalLm);
    let served = serve(&engine, 0, &[9, 0, 0, 0, 1][..], Vec::new());
    assert!(matches!(served, Err(Error::Protocol(_))));
    let mut answers = Vec::new();
    serve(&engine, 0, &[2, 0, 0, 0, 1, 99][..], &mut answers).expect("an answer");
    let mut client = Client::new(&answers[..], Vec::new());
    assert!(matches!(client.info(), Err(Error::Remote(_))));
}
