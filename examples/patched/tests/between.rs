//! An answer that has begun ends on the model that it began with; the next is of the new one.

use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use gem_runtime::Engine;
use patched::answer::answer;
use patched::newest::Newest;
use patched::updates::Updates;

/// A prompt that module `law` has a part in.
const PROMPT: &str = "The court";

fn whole(engine: &Engine) -> String {
    let mut text = String::new();
    let answered = answer(engine, PROMPT, |piece| {
        text += piece;
        Ok(())
    });
    answered.expect("an answer");
    text
}

#[test]
#[ignore = "needs a patch of this model, in PATCHED_LAW: gemc/tests/command/patch_app.rs makes one"]
fn an_answer_that_has_begun_ends_as_it_began() {
    let law = env::var_os("PATCHED_LAW").expect("the path of a patch");
    let law = fs::read(law).expect("a patch");
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join("patched-state");
    let _ = fs::remove_dir_all(&state);
    fs::create_dir_all(&state).expect("space");
    let newest = Newest::open(Path::new(gem_lm::WEIGHT_FILE), &state).expect("its own weights");
    let newest = Arc::new(newest);
    let updates = Updates::new(Arc::clone(&newest), &state);
    let before = whole(&newest.engine());
    let (mut text, mut law) = (String::new(), Some(law));
    let answered = answer(&newest.engine(), PROMPT, |piece| {
        text += piece;
        if let Some(law) = law.take() {
            updates.take(law).expect("it fits");
        }
        Ok(())
    });
    answered.expect("an answer");
    assert_eq!(text, before);
    let after = whole(&newest.engine());
    assert_ne!(after, before);
    let again = Newest::open(Path::new(gem_lm::WEIGHT_FILE), &state).expect("weights");
    assert_eq!(whole(&again.engine()), after, "after a start, too");
}
