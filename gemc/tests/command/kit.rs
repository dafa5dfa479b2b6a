//! Kits: one program that measures the machine it is carried to, here and on an emulated board.

use gemc::target::Target;

use super::*;

#[test]
fn a_kit_needs_a_place_and_a_system_that_takes_it() {
    for (arguments, says) in [
        (&["bench", CHECKPOINT, "--pack"][..], "--output <DIR>"),
        (&["bench", CHECKPOINT, "-o", "kit"], "--pack"),
        (
            &[
                "bench",
                CHECKPOINT,
                "--pack",
                "-o",
                "kit",
                "--target",
                "apple-silicon",
            ],
            "--pack: a program for Apple's systems",
        ),
    ] {
        let output = gemc(arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        assert!(told(&output).contains(says), "{}", told(&output));
    }
    assert!(!Path::new("kit").exists());
}

#[test]
#[ignore = "minutes; scripts/check-all runs it"]
fn a_kit_measures_the_machine_it_is_carried_to() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // As many threads as the target's costs are of, so that there is something to compare with.
    for (target, threads, runner) in [
        ("host", 2, &[][..]),
        ("pi4", 4, &["qemu-aarch64-static", "-cpu", "cortex-a72"]),
    ] {
        let kit = dir.path().join(target);
        let packed = gemc(&[
            "bench", CHECKPOINT, "--target", target, "--pack", "--json", "-o",
        ])
        .arg(&kit)
        .output()
        .expect("it starts");
        let lacks = told(&packed).contains("need more than is installed");
        if lacks && std::env::var_os("GEM_REQUIRE").is_none_or(|all| all != "all") {
            continue;
        }
        assert!(packed.status.success(), "{}", told(&packed));
        let packed: serde_json::Value = serde_json::from_slice(&packed.stdout).expect("JSON");
        let program = packed["program"].as_str().expect("a path");
        let command = [runner, &[program]].concat();
        let measured = Command::new(command[0])
            .args(&command[1..])
            .args(["--threads", &format!("1,{threads}"), "--runs", "2", "-o"])
            .arg(kit.join("results"))
            .output()
            .expect("it starts");
        assert!(measured.status.success(), "{}", told(&measured));
        let table = String::from_utf8(measured.stdout).expect("text");
        assert!(
            table.contains(&format!("{threads} threads  prefill")),
            "{table}"
        );
        let word = if target == "pi4" {
            "; projected "
        } else {
            "; predicted "
        };
        let expected = Target::find(target).expect("built in").costs.is_some();
        assert_eq!(table.contains(word), expected, "{table}");
        let name = Target::find(target).expect("built in").name;
        let file = kit.join(format!("results/{name}.toml"));
        let board = Target::find(file.to_str().expect("UTF-8")).expect("a target file");
        let costs = board.costs.expect("they were measured");
        assert!(
            !costs.projected && costs.threads == threads && costs.weights.len() == 8,
            "{costs:?}"
        );
        assert!(board.provenance["costs"].contains("by a kit of gemc"));
    }
}
