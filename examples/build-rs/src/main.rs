//! Continues lines of text by a model that the build script compiled, word by word; an empty line stops the answer that is on
//! its way, even while a long prompt is read. The weight file may be named by the first argument, since an installed program
//! is far from where it was built.

use std::io::{BufRead as _, Write as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use gem_runtime::{Cancel, Finish, Model as _, Sampling, Session, SessionOptions};

/// What stops the answer of the moment.
type Stop = Arc<Mutex<Cancel>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1);
    let model = gem_lm::Model::open(file.as_deref().unwrap_or(gem_lm::WEIGHT_FILE))?;
    let mut session = model.session(SessionOptions::default())?;
    let stop = Stop::default();
    for line in lines(&stop) {
        session.reset();
        *stop.lock().map_err(|_| "a reader failed")? = session.cancel_handle();
        answer(&mut session, &line)?;
    }
    Ok(())
}

/// Lines of standard input, read beside the answers.
fn lines(stop: &Stop) -> Receiver<String> {
    let (to, lines): (Sender<String>, _) = channel();
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match (line.trim().is_empty(), stop.lock()) {
                (true, Ok(stop)) => stop.cancel(),
                _ if to.send(line).is_err() => return,
                _ => {}
            }
        }
    });
    lines
}

fn answer(session: &mut Session, line: &str) -> Result<(), Box<dyn std::error::Error>> {
    let sampling = Sampling {
        max_tokens: 40,
        ..Sampling::default()
    };
    print!("{line}");
    let mut answer = session.generate(line, sampling);
    for piece in &mut answer {
        print!("{}", piece?.text);
        std::io::stdout().flush()?;
    }
    match answer.finish() {
        Some(Finish::Cancelled) => println!(" (stopped)"),
        _ => println!(),
    }
    Ok(())
}
