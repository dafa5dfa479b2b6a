//! Exit codes and the shape of the help; what verbs do is tested with their libraries.

use super::*;

fn code(arguments: &[&str]) -> u8 {
    let all = ["gemc"].iter().chain(arguments).map(OsString::from);
    run(all, &Ui::of_process())
}

#[test]
fn clap_finds_nothing_wrong_with_the_command() {
    command().debug_assert();
}

#[test]
fn exit_codes_tell_usage_from_input() {
    assert_eq!(code(&["--version"]), 0);
    assert_eq!(code(&["inspect", "--help"]), 0);
    assert_eq!(code(&["inspect"]), 2);
    assert_eq!(code(&["frobnicate"]), 2);
    assert_eq!(code(&["synth", "x.json", "-o", "y", "--seed", "-1"]), 2);
    assert_eq!(code(&["inspect", "no/such/folder"]), 1);
    assert_eq!(code(&["logits", "x"]), 2);
    assert_eq!(code(&["logits", "x", "--ids", "1,-2"]), 2);
    assert_eq!(code(&["logits", "no/such/folder", "--ids", "1,2"]), 1);
    assert_eq!(
        code(&["synth", "no/such/config.json", "-o", "no/such/out"]),
        1
    );
}

#[test]
fn every_verb_has_help_and_only_verbs_that_work_appear() {
    let help = command().render_long_help().to_string();
    for verb in VERBS {
        assert!(help.contains(verb.name));
        let about = command();
        let about = about
            .find_subcommand(verb.name)
            .and_then(Command::get_about);
        assert!(
            about.is_some_and(|a| !a.to_string().is_empty()),
            "{}",
            verb.name
        );
    }
    assert_eq!(command().get_subcommands().count(), VERBS.len());
}

#[test]
fn logits_need_ids_of_the_vocabulary_and_nothing_else() {
    let checkpoint = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/checkpoints/lm-dense-pre-rope"
    );
    for backend in ["reference", "interp"] {
        let ids = |ids| {
            let last = ["--last", "1", "--json", "--backend", backend];
            code(&[&["logits", checkpoint, "--ids", ids], &last[..]].concat())
        };
        assert_eq!(ids("1,5,9"), 0);
        assert_eq!(ids("1,4000000000"), 1);
    }
}
