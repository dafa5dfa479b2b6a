//! Vectors in inner loops for Arm stay in registers: the loops that are emitted, compiled by the toolchain for the target, and
//! their accesses to the stack counted (`tests/devices/cycles.py --spills`).

use std::collections::BTreeMap;
use std::process::Command;

use gem_tests::needs::{repository, skipped};
use gemc::package::{Linkage, Toolchain};
use gemc::target::Target;

/// Accesses that are known, of formats whose codes or sums take many registers, by level: of the loop over blocks for a row
/// alone. Loops over rows have none.
const KNOWN: [(&str, &str, u64); 7] = [
    ("neon", "L6", 10),
    ("neon", "N5", 21),
    ("neon", "N4", 8),
    ("neon", "N3", 11),
    ("neon", "N2", 6),
    ("neon_dotprod", "N5", 10),
    ("neon_dotprod", "N3", 3),
];

#[test]
fn inner_loops_for_arm_keep_vectors_in_registers() {
    let target = Target::find("aarch64").expect("an embedded target");
    let toolchain = match Toolchain::find(target.rust_triple().as_deref(), Linkage::Static) {
        Ok(toolchain) => toolchain,
        Err(missing) => return skipped(&missing.to_string()).expect("GEM_REQUIRE is not set"),
    };
    let run = Command::new("python3")
        .arg(repository("tests/devices/cycles.py"))
        .arg("--spills")
        .env("RUSTC", &toolchain.rustc.program)
        .output()
        .expect("python3");
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let found: BTreeMap<String, BTreeMap<String, [u64; 2]>> =
        serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!(found.len(), 2, "both levels");
    for (level, formats) in found {
        assert_eq!(formats.len(), 8, "all formats of {level}");
        for (format, accesses) in formats {
            let known = KNOWN
                .iter()
                .find(|known| (known.0, known.1) == (&level, &format));
            let most = known.map_or(0, |known| known.2);
            assert!(
                accesses[0] <= most && accesses[1] == 0,
                "{level} {format}: {accesses:?} accesses of the stack, {most} and none are known"
            );
        }
    }
}
