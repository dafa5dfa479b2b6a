//! Continues lines of text by a model that the build script compiled, word by word; a line ends early where its text does.
//! The weight file may be named by the first argument, since an installed program is far from where it was built.

use std::io::{BufRead as _, Write as _};

use gem_runtime::{Model as _, Sampling, SessionOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1);
    let model = gem_lm::Model::open(file.as_deref().unwrap_or(gem_lm::WEIGHT_FILE))?;
    let mut session = model.session(SessionOptions::default())?;
    let sampling = Sampling {
        max_tokens: 40,
        ..Sampling::default()
    };
    for line in std::io::stdin().lock().lines() {
        session.reset();
        let line = line?;
        print!("{line}");
        for piece in session.generate(&line, sampling.clone()) {
            print!("{}", piece?.text);
            std::io::stdout().flush()?;
        }
        println!();
    }
    Ok(())
}
