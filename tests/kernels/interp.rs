//! The interpreter on small kernels, against what the rules say.

use gemc::executions::{RunError, run_kernel};
use gemc_kernels::ir::build::KernelBuilder;
use gemc_kernels::ir::interp::Fault;
use gemc_kernels::ir::testing::{Bytes, Memory, any_program, interpret, shape, valid_program};
use gemc_kernels::ir::text::{parse, print};
use gemc_kernels::ir::verify::verify;
use gemc_kernels::ir::{Elem, Kernel, Ty};

fn sum_of_squares() -> Kernel {
    KernelBuilder::build("sum_of_squares", "y[u] = sum x[u][i]^2", 4, |k| {
        let x = k.input("x", Elem::F32, 256);
        let y = k.output("y", Elem::F32, 4);
        let x = x.row(k.item(), 64);
        let sum = k.var("sum", k.splat(0.0));
        k.for_n(4, |i| {
            let v = x.lanes(i * 16);
            sum.update(|sum| v.mul_add(v, sum));
        });
        y.store(k.item(), sum.get().reduce_add());
    })
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
    let kernel = KernelBuilder::build("claims", "a load that claims too much", 1, |k| {
        let x = k.input("x", Elem::I8, 64);
        let _ = x.load_in(Ty::I8x64, 0, -8..=7);
    });
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
    let kernel = KernelBuilder::build("racy", "every item writes word 0", 2, |k| {
        k.output("x", Elem::I32, 1).store(0, k.item());
    });
    let mut memory = Memory::new(shape(64, 0, 0), 1, 1);
    let error = run_kernel(&mut memory, vec![], kernel, &[0], 2).unwrap_err();
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
