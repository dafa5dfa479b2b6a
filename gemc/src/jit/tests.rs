//! Loading and dropping, and everything that is refused; what programs compute is compared by the workspace tests.

use gemc_kernels::ir::testing::{Bytes, Memory, interpret, run, valid_program};
use gemc_kernels::ir::verify::verify;

use super::*;

fn program(seed: u64) -> Verified {
    verify(valid_program(&Bytes::random(seed, 400))).unwrap()
}

#[test]
fn a_program_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let verified = program(1);
    let jit = JitProgram::with_effort(&verified, Effort::Low).unwrap();
    shared(&jit);
    let mut memory = Memory::new(verified.program().shape, 4, 1);
    interpret(&verified, &mut memory).unwrap();
    let expected = memory.image();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut memory = Memory::new(verified.program().shape, 4, 1);
                run(&jit, &mut memory);
                assert!(memory.image() == expected);
            });
        }
    });
}

#[test]
fn targets_of_other_machines_are_refused() {
    let verified = program(2);
    let mut target = Target::host();
    target.triple = "riscv64gc-unknown-linux-gnu".to_owned();
    let error = JitProgram::for_target(&verified, &target, Effort::Low).unwrap_err();
    assert!(matches!(error, JitError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("riscv64gc"), "{error}");
    for target in Target::all().into_iter().filter(|t| !t.runs_here()) {
        assert!(
            JitProgram::for_target(&verified, &target, Effort::Low).is_err(),
            "{}",
            target.name
        );
    }
}

#[test]
fn missing_features_are_named() {
    let verified = program(3);
    let mut target = Target::host();
    // No machine has both.
    target.features = vec!["avxvnni".to_owned(), "dotprod".to_owned()];
    let error = JitProgram::for_target(&verified, &target, Effort::Low).unwrap_err();
    assert!(
        matches!(&error, JitError::Features { missing, .. } if !missing.is_empty()),
        "{error}"
    );
}
