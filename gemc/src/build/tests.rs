//! Modules as text: which architectures compile which program.

use super::*;

fn module(targets: &[&str]) -> String {
    let checkpoint = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/checkpoints/lm-dense-pre-learned"
    );
    let build = targets
        .iter()
        .fold(Build::new(checkpoint), |build, target| {
            build.target(*target)
        });
    let loaded = pipeline::load(&build.checkpoint).expect("a good checkpoint");
    let made = build.made(loaded, &|_| true, false, &mut |_| {
        Ok(PathBuf::from("/model.gemw"))
    });
    let module = module::module(&made.expect("it compiles"), &TokenStream::new());
    module.expect("a module").to_string().replace(' ', "")
}

#[test]
fn every_architecture_has_a_program_unless_targets_are_named() {
    let text = module(&[]);
    for (condition, program) in [
        (r#"#[cfg(target_arch="x86_64")]"#, "modx86_64_v4_vnni_0{"),
        (r#"#[cfg(target_arch="x86_64")]"#, "modx86_64_v3_1{"),
        (r#"#[cfg(target_arch="x86_64")]"#, "modportable_2{"),
        (r#"#[cfg(target_arch="aarch64")]"#, "modaarch64_dotprod_3{"),
        (r#"#[cfg(target_arch="aarch64")]"#, "modaarch64_4{"),
        (
            r#"#[cfg(not(any(target_arch="x86_64",target_arch="aarch64")))]"#,
            "modportable_5{",
        ),
    ] {
        assert!(text.contains(&format!("{condition}{program}")), "{program}");
    }
    assert!(!text.contains("compile_error"));
}

/// It was compiled for the architectures that have no kernels of their own alone, and others had no program.
#[test]
fn portable_code_that_is_named_is_for_all() {
    let text = module(&["portable"]);
    assert!(
        text.contains("modportable_0{") && !text.contains("cfg("),
        "conditions"
    );
    let text = module(&["aarch64"]);
    assert!(text.contains(r#"#[cfg(target_arch="aarch64")]modaarch64_0{"#));
    assert!(text.contains(r#"#[cfg(not(target_arch="aarch64"))]compile_error!"#));
}
