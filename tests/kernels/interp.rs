//! The interpreter on small kernels, against what the rules say.

use gemc::executions::{RunError, run_kernel};
use gemc_kernels::ir::build::old::{KernelBuilder, Ops};
use gemc_kernels::ir::interp::Fault;
use gemc_kernels::ir::testing::{Bytes, Memory, any_program, interpret, shape, valid_program};
use gemc_kernels::ir::text::{parse, print};
use gemc_kernels::ir::verify::verify;
use gemc_kernels::ir::{Elem, Extent, Kernel, Space, Ty};

fn sum_of_squares() -> Kernel {
    let mut b = KernelBuilder::new("sum_of_squares", "y[u] = sum x[u][i]^2", 4);
    let x = b.region("x", Space::Arena, Elem::F32, Extent::fixed(256), false);
    let y = b.region("y", Space::Arena, Elem::F32, Extent::fixed(4), true);
    let item = b.item();
    let zero = b.splat_f32(0.0);
    let acc = b.var(zero);
    let row = b.mul_const(item, 64);
    b.for_n(4, |b, i| {
        let at = b.at(i, 16, row);
        let v = b.load(Ty::F32x16, x, at);
        let old = b.get(acc);
        let new = b.fma(v, v, old);
        b.set(acc, new);
    });
    let acc = b.get(acc);
    let sum = b.reduce_add(acc);
    b.store(y, item, sum);
    b.finish()
}

#[test]
fn runs_a_reduction() {
    let mut memory = Memory::new(shape(2048, 0, 0), 1, 1);
    for (i, x) in memory.arena()[..1024].chunks_exact_mut(4).enumerate() {
        x.copy_from_slice(&(i as f32).to_le_bytes());
    }
    run_kernel(&mut memory, vec![], sum_of_squares(), &[0, 16], 4).unwrap();
    let y: Vec<f32> = memory.arena()[1024..1040]
        .chunks_exact(4)
        .map(|x| f32::from_le_bytes(x.try_into().unwrap()))
        .collect();
    let expected: Vec<f32> = (0..4)
        .map(|u| (64 * u..64 * u + 64).map(|i| (i * i) as f32).sum())
        .collect();
    assert_eq!(y, expected);
}

#[test]
fn reports_the_first_broken_rule() {
    let mut b = KernelBuilder::new("claims", "a load that claims too much", 1);
    let x = b.region("x", Space::Arena, Elem::I8, Extent::fixed(64), false);
    let at = b.i32(0);
    b.load_range(Ty::I8x64, x, at, -8, 7);
    let kernel = b.finish();
    let mut memory = Memory::new(shape(64, 0, 0), 1, 1);
    memory.arena()[5] = 9;
    let error = run_kernel(&mut memory, vec![], kernel, &[0], 1).unwrap_err();
    let RunError::Trap(trap) = error else {
        panic!("{error}")
    };
    assert_eq!(
        trap.fault,
        Fault::Declared {
            found: 9,
            lo: -8,
            hi: 7
        }
    );
    assert_eq!(
        trap.to_string(),
        "kernel claims, item 0, v2: loaded 9, declared in -8..=7"
    );
}

#[test]
fn finds_races() {
    let mut b = KernelBuilder::new("racy", "every item writes word 0", 2);
    let x = b.region("x", Space::Arena, Elem::I32, Extent::fixed(1), true);
    let at = b.i32(0);
    let item = b.item();
    b.store(x, at, item);
    let mut memory = Memory::new(shape(64, 0, 0), 1, 1);
    let error = run_kernel(&mut memory, vec![], b.finish(), &[0], 2).unwrap_err();
    let RunError::Trap(trap) = error else {
        panic!("{error}")
    };
    assert!(matches!(trap.fault, Fault::Race { other: 0, .. }), "{trap}");
}

/// Valid programs verify, run without a trap, and run the same again from their text.
#[test]
fn random_valid_programs_run() {
    for seed in 0..300 {
        let program = valid_program(&Bytes::random(seed, 600));
        let text = print(&program);
        let image = |program| {
            let verified =
                verify(program).unwrap_or_else(|e| panic!("seed {seed}: {e:#?}\n{text}"));
            let mut memory = Memory::random(verified.program().shape, seed);
            interpret(&verified, &mut memory)
                .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
            memory.image()
        };
        let again = parse(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(again, program, "seed {seed}");
        assert_eq!(image(program), image(again), "seed {seed}");
    }
}

/// Nonsense reads back as itself, and the verifier comes to a conclusion.
#[test]
fn random_nonsense_round_trips() {
    for seed in 0..2000 {
        let program = any_program(&Bytes::random(seed, 700));
        let text = print(&program);
        let again = parse(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        assert_eq!(again, program, "seed {seed}\n{text}");
        drop(verify(program));
    }
}
