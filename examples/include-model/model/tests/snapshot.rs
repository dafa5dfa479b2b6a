//! The model is the committed one: what it computes, in which formats. `GEM_BLESS=1 cargo test` writes the file anew.

use gemc::testing::{TextError, assert_snapshot, outline};

#[test]
fn the_model_is_the_committed_one() -> Result<(), TextError> {
    let text = outline("../../models/gem-cls", "4.25", "portable")?;
    assert_snapshot("tests/gem-cls.outline", &text);
    Ok(())
}
