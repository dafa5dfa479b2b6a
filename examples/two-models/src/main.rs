//! A classifier says what a text is about, a language model continues it: two models in one program, over one runtime.
#![forbid(unsafe_code)]

use gem_runtime::{Model as _, Sampling, SessionOptions};

fn main() -> gem_runtime::Result<()> {
    let text = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let classifier = models::gem_cls::Model::embedded()?;
    let writer = models::gem_lm::Model::embedded()?;
    let labels = classifier.classify(&text)?;
    println!(
        "about {}:",
        labels
            .first()
            .map_or("nothing", |label| label.label.as_str())
    );
    let mut session = writer.session(SessionOptions::default())?;
    let sampling = Sampling {
        max_tokens: 30,
        ..Sampling::default()
    };
    print!("{text}");
    for piece in session.generate(&text, sampling) {
        print!("{}", piece?.text);
    }
    println!();
    Ok(())
}
