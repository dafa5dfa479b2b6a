//! What an app holds: a model with its session in one struct, and a handle that stops an answer, also in its prompt.
#![cfg(feature = "std")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod toy;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gem_runtime::abi::RoutingTap;
use gem_runtime::routing::{RoutingHook, RoutingView};
use gem_runtime::{Cancel, Engine, Error, License, Model, Session, SessionOptions, Task};
use toy::{MAX_ROWS, VOCAB, expected_state, weight};

const IDS: [u32; 14] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7];

/// As a generated crate has it.
#[derive(Clone)]
struct Toy(Engine);

impl Model for Toy {
    fn engine(&self) -> &Engine {
        &self.0
    }
}

struct App {
    model: Toy,
    session: Session,
}

impl App {
    fn new(threads: usize) -> Self {
        let model = Toy(toy::engine(Task::CausalLm));
        let options = SessionOptions {
            context: None,
            threads: Some(threads),
        };
        let session = model.session(options).expect("small");
        Self { model, session }
    }
}

fn expected(tokens: &[u32]) -> Vec<f32> {
    let module = tokens[tokens.len() - 1] % toy::MODULES;
    let state = expected_state(tokens, Some(module));
    (0..VOCAB).map(|t| weight(t) * state).collect()
}

const _: () = {
    const fn movable<T: Send + 'static>() {}
    const fn shareable<T: Clone + Send + Sync + 'static>() {}
    movable::<Session>();
    movable::<App>();
    shareable::<Engine>();
    shareable::<Cancel>();
};

#[test]
fn an_app_holds_model_and_session_and_goes_to_a_thread() {
    let mut app = App::new(2);
    let shared = app.model.clone();
    let (model, mut session) = thread::spawn(move || {
        app.session.forward(&IDS[..5]).expect("fits");
        (app.model, app.session)
    })
    .join()
    .expect("no panic");
    drop((model, shared));
    // The session has all it needs.
    assert_eq!(session.forward(&IDS[5..]).expect("fits"), expected(&IDS));
    assert_eq!(session.engine().info().name, "toy");
}

#[test]
fn licence_texts_are_at_hand() {
    let plain = toy::engine(Task::CausalLm);
    assert!(plain.license().is_empty());
    let texts = vec![License::new("LICENSE", "Free.")];
    let licensed = Toy(plain.with_license(texts.clone()));
    assert_eq!(licensed.license(), texts);
    assert_eq!(licensed.clone().license(), texts);
}

/// Tells a test that a step has begun, and waits until it may end.
struct Gate {
    begun: mpsc::Sender<u32>,
    go_on: mpsc::Receiver<()>,
}

impl RoutingHook for Gate {
    fn routed(&mut self, _: &RoutingTap, view: RoutingView<'_>) {
        self.begun.send(view.rows()[0].position).expect("a test");
        self.go_on.recv().expect("a test");
    }
}

#[test]
fn another_thread_stops_a_prompt_between_two_steps() {
    let mut app = App::new(1);
    let cancel = app.session.cancel_handle();
    let ((begun, steps), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    let mut gate = Gate {
        begun,
        go_on: may_go_on,
    };
    let prompt = thread::spawn(move || {
        let result = app.session.forward_routed(&IDS, &mut gate, |_, _| {});
        (result, app.session)
    });
    let wait = Duration::from_secs(60);
    assert_eq!(steps.recv_timeout(wait).expect("the first step"), 0);
    go_on.send(()).expect("it waits");
    assert_eq!(steps.recv_timeout(wait).expect("the second"), MAX_ROWS);
    cancel.cancel();
    assert!(cancel.is_cancelled());
    go_on.send(()).expect("it waits");
    let (result, mut session) = prompt.join().expect("no panic");
    match result {
        Err(Error::Cancelled { taken }) => assert_eq!(taken, 2 * MAX_ROWS),
        other => panic!("not cancelled: {other:?}"),
    }
    assert!(steps.recv().is_err(), "no third step began");
    // It holds what it took, and goes on from there; the handle means nothing any more.
    let taken = session.position();
    assert_eq!((taken, session.tokens()), (8, &IDS[..8]));
    let rest = session.forward(&IDS[8..]).expect("usable");
    assert_eq!(rest, expected(&IDS));
}

#[test]
fn a_callback_stops_what_called_it() {
    let mut app = App::new(2);
    let cancel = app.session.cancel_handle();
    let mut seen = 0;
    let result = app.session.forward_all(&IDS, |position, _| {
        seen = position + 1;
        if position == 1 {
            cancel.cancel();
        }
    });
    assert!(matches!(result, Err(Error::Cancelled { taken: MAX_ROWS })));
    // The step that called is done to its end.
    assert_eq!((seen, app.session.position()), (MAX_ROWS, MAX_ROWS));
    app.session.truncate(2);
    let rest = app.session.forward(&IDS[2..]).expect("usable");
    assert_eq!(rest, expected(&IDS));
}

#[test]
fn a_handle_stops_one_call_and_a_new_one_takes_its_place() {
    let mut app = App::new(1);
    let session = &mut app.session;
    // Before the call: nothing is taken, and the next call is not stopped again.
    session.cancel_handle().cancel();
    let stopped = session.forward(&IDS);
    assert!(matches!(stopped, Err(Error::Cancelled { taken: 0 })));
    assert_eq!(session.position(), 0);
    session.forward(&IDS[..6]).expect("usable");
    // A button of yesterday's answer.
    let old = session.cancel_handle();
    let _new = session.cancel_handle();
    old.cancel();
    assert_eq!(
        session.forward(&IDS[6..]).expect("not stopped"),
        expected(&IDS)
    );
    // Input is judged first.
    session.cancel_handle().cancel();
    assert!(matches!(session.forward(&[]), Err(Error::Empty)));

    let classifier = toy::engine(Task::SequenceClassification);
    let mut session = classifier
        .session(SessionOptions::default())
        .expect("small");
    let before = session.classify_ids(&IDS[..3]).expect("fits").to_vec();
    session.cancel_handle().cancel();
    let stopped = session.classify_ids(&IDS[..3]);
    assert!(matches!(stopped, Err(Error::Cancelled { taken: 0 })));
    assert_eq!(session.classify_ids(&IDS[..3]).expect("usable"), before);
}
