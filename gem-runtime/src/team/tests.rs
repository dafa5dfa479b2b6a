//! One thread equals many; panics poison and do not hang; routed item counts are read between phases.

use super::*;
use crate::abi::{HalfTap, Items, ProgramShape, RoutingTap, Table};
use crate::memory::Buffer;

/// Phase 0 fills `values`, phase 1 (one item) writes how many items phase 2 has, phase 2 doubles the first of them.
struct Toy {
    shape: ProgramShape,
    phases: [Items; 3],
    panic_at: Option<u32>,
}

const COUNT: u32 = 64;
const UNITS: u32 = 1000;

impl Toy {
    fn new(panic_at: Option<u32>) -> Self {
        Self {
            shape: ProgramShape {
                arena_bytes: 128 + 4 * UNITS,
                kv_bytes_per_position: 0,
                ring_bytes: 0,
                rewind: u32::MAX,
                max_rows: 1,
                max_outputs: 1,
                logits: 128,
                logits_stride: 1,
                weight_bytes: 0,
            },
            phases: [
                Items::Fixed(UNITS),
                Items::Fixed(1),
                Items::Loaded {
                    offset: COUNT,
                    max: UNITS,
                },
            ],
            panic_at,
        }
    }
}

impl Executable for Toy {
    fn shape(&self) -> &ProgramShape {
        &self.shape
    }

    fn phases(&self, _: Part) -> &[Items] {
        &self.phases
    }

    fn taps(&self) -> &[RoutingTap] {
        &[]
    }

    fn halves(&self) -> &[HalfTap] {
        &[]
    }

    fn tables(&self) -> &[Table] {
        &[]
    }

    unsafe fn run(&self, _: Part, phase: usize, ctx: &Ctx, begin: u32, end: u32) {
        for item in begin..end {
            assert!(self.panic_at != Some(item), "asked to");
            // SAFETY: `arena` has `arena_bytes`, and each item touches its own element.
            unsafe {
                let value = ctx.arena.add(128).cast::<u32>().add(item as usize);
                match phase {
                    0 => *value = item * 3 + 1,
                    1 => *ctx.arena.add(COUNT as usize).cast::<u32>() = 700,
                    _ => *value *= 2,
                }
            }
        }
    }
}

fn context(arena: &mut Buffer) -> Ctx {
    Ctx {
        weights: core::ptr::null(),
        arena: arena.as_mut_ptr(),
        kv: core::ptr::null(),
        rows: core::ptr::null(),
        outputs: core::ptr::null(),
        tables: core::ptr::null(),
        n_rows: 1,
        n_slots: 0,
        n_outputs: 0,
        context: 1,
    }
}

fn run(team: &mut Team, toy: &Toy, arena: &mut Buffer) -> (Result<()>, Vec<usize>) {
    let ctx = context(arena);
    let mut seen = Vec::new();
    let mut after = |phase| {
        seen.push(phase);
        Ok(())
    };
    // SAFETY: the toy touches nothing but the arena, which lives here.
    let result = unsafe { team.run_part(toy, Part::Body, &ctx, Some(&mut after)) };
    (result, seen)
}

fn arena(toy: &Toy) -> Buffer {
    Buffer::zeroed(u64::from(toy.shape.arena_bytes)).expect("small")
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let toy = Toy::new(None);
    let mut expected = arena(&toy);
    let mut one = Team::new(Some(1)).expect("no thread");
    run(&mut one, &toy, &mut expected).0.expect("no panic");
    for threads in [1, 2, 3, 5] {
        let mut team = Team::new(Some(threads)).expect("few threads");
        assert_eq!(team.threads(), threads);
        for round in 0..300 {
            let mut found = arena(&toy);
            let (result, seen) = run(&mut team, &toy, &mut found);
            result.expect("no panic");
            assert_eq!(seen, [0, 1, 2]);
            assert!(found.as_slice() == expected.as_slice(), "{threads} {round}");
            if round % 100 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

#[test]
fn a_panic_poisons_and_does_not_hang() {
    for item in [0, 500, 999] {
        let mut team = Team::new(Some(3)).expect("few threads");
        let (bad, good) = (Toy::new(Some(item)), Toy::new(None));
        let mut memory = arena(&bad);
        let (result, seen) = run(&mut team, &bad, &mut memory);
        assert!(matches!(result, Err(Error::Poisoned)));
        assert!(seen.is_empty(), "no later phase runs");
        let again = run(&mut team, &good, &mut memory).0;
        assert!(matches!(again, Err(Error::Poisoned)));
    }
}

#[test]
fn absurd_thread_counts_are_errors() {
    for threads in [0, MOST_THREADS + 1, usize::MAX] {
        assert!(matches!(Team::new(Some(threads)), Err(Error::Options(_))));
    }
}

/// Every item tells which cores its thread may use.
#[cfg(all(feature = "threads", target_os = "linux"))]
struct Places {
    shape: ProgramShape,
    items: [Items; 1],
    seen: std::sync::Mutex<Vec<(Option<String>, String)>>,
}

#[cfg(all(feature = "threads", target_os = "linux"))]
impl Executable for Places {
    fn shape(&self) -> &ProgramShape {
        &self.shape
    }

    fn phases(&self, _: Part) -> &[Items] {
        &self.items
    }

    fn taps(&self) -> &[RoutingTap] {
        &[]
    }

    fn halves(&self) -> &[HalfTap] {
        &[]
    }

    fn tables(&self) -> &[Table] {
        &[]
    }

    unsafe fn run(&self, _: Part, _: usize, _: &Ctx, _: u32, _: u32) {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("Linux tells");
        let allowed = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let name = std::thread::current().name().map(str::to_owned);
        let place = (name, allowed.expect("a line").trim().to_owned());
        self.seen.lock().expect("nobody panics").push(place);
        // Long enough for others to take some.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[cfg(all(feature = "threads", target_os = "linux"))]
#[test]
fn workers_keep_to_the_cores_they_are_given_and_the_caller_does_not() {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("Linux tells");
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let own = own.expect("a line").trim();
    let first: usize = own
        .split(['-', ','])
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a core");
    let mut toy = Places {
        shape: Toy::new(None).shape,
        items: [Items::Fixed(64)],
        seen: std::sync::Mutex::default(),
    };
    for (cores, expected) in [(&[first][..], first.to_string()), (&[], own.to_owned())] {
        let (crew, refused) = crew::Crew::start(1, cores);
        assert!(refused.is_none());
        let mut team = Team {
            threads: 2,
            crew: Some(crew),
        };
        let mut arena = Buffer::zeroed(u64::from(toy.shape.arena_bytes)).expect("small");
        let ctx = context(&mut arena);
        // SAFETY: its items touch no memory.
        unsafe {
            team.run_part(&toy, Part::Body, &ctx, None)
                .expect("no panic")
        };
        let seen = std::mem::take(toy.seen.get_mut().expect("nobody panics"));
        let of_worker = |place: &&(Option<String>, String)| place.0.as_deref() == Some("gem-1");
        let (workers, caller): (Vec<_>, Vec<_>) = seen.iter().partition(of_worker);
        assert!(
            !workers.is_empty() && workers.iter().all(|place| place.1 == expected),
            "{seen:?}"
        );
        assert!(
            !caller.is_empty() && caller.iter().all(|place| place.1 == own),
            "{seen:?}"
        );
    }
}
