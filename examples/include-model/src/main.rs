//! Says what a text is about: a classifier in one program, with nothing to load beside it.
#![forbid(unsafe_code)]

use gem_runtime::Model as _;

fn main() -> gem_runtime::Result<()> {
    let text = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let model = gem_cls::Model::embedded()?;
    for label in model.classify(&text)?.iter().take(3) {
        println!("{:5.1} % {}", 100.0 * label.score, label.label);
    }
    Ok(())
}
