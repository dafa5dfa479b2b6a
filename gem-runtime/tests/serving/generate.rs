//! Generation: where answers begin, what their pieces are, and where they end.

use gem_runtime::storage::Weights;
use gem_runtime::text::{Message, TextFiles};
use gem_runtime::{Engine, Error, Finish, Model as _, Piece, Sampling, Session, SessionOptions};

use crate::script::{self, BOS, END, MAX_POSITIONS};
use crate::toy;

fn session(engine: &Engine) -> Session {
    let options = SessionOptions {
        threads: Some(1),
        ..SessionOptions::default()
    };
    engine.session(options).expect("room")
}

fn pieces(session: &mut Session, prompt: &str, sampling: Sampling) -> (Vec<Piece>, Finish) {
    let mut answer = session.generate(prompt, sampling);
    let pieces = answer.by_ref().map(|piece| piece.expect("sound")).collect();
    assert!(answer.next().is_none());
    (pieces, answer.finish().expect("finished"))
}

fn texts(pieces: &[Piece]) -> Vec<&str> {
    pieces.iter().map(|piece| &*piece.text).collect()
}

fn failure(session: &mut Session, prompt: &str, sampling: Sampling) -> Error {
    let mut answer = session.generate(prompt, sampling);
    let error = answer.next().expect("an item").expect_err("an error");
    assert!(answer.next().is_none() && answer.finish().is_none());
    error
}

#[test]
fn every_piece_is_one_token_and_the_end_is_one_too() {
    let engine = script::writes(3, "h\u{e9}!");
    let mut session = session(&engine);
    let (pieces, finish) = pieces(&mut session, "ab", Sampling::default());
    assert_eq!(texts(&pieces), ["h", "", "\u{e9}", "!", ""]);
    let tokens: Vec<u32> = pieces.iter().map(|piece| piece.token).collect();
    assert_eq!(tokens, [u32::from(b'h'), 0xc3, 0xa9, u32::from(b'!'), END]);
    assert_eq!(finish, Finish::End);
    // The session holds the prompt, with what begins a text, and all tokens but the last.
    assert_eq!(session.tokens(), [&[BOS, 97, 98], &tokens[..4]].concat());
    let others = f64::from(script::VOCAB - 1);
    let expected = -(1.0 + others * (-f64::from(script::MARGIN)).exp()).ln();
    for piece in &pieces {
        assert!((f64::from(piece.logprob) - expected).abs() < 1e-6);
    }
}

#[test]
fn answers_end_where_asked() {
    let engine = script::writes(2, "one two three");
    let ask = |max_tokens, stop: &[&str]| {
        let sampling = Sampling {
            max_tokens,
            stop: stop.iter().map(|s| (*s).to_owned()).collect(),
            ..Sampling::default()
        };
        let (pieces, finish) = pieces(&mut session(&engine), "a", sampling);
        (texts(&pieces).concat(), pieces.len(), finish)
    };
    assert_eq!(ask(5, &[]), ("one t".to_owned(), 5, Finish::Length));
    assert_eq!(ask(0, &[]), (String::new(), 0, Finish::Length));
    assert_eq!(ask(99, &["wo "]), ("one t".to_owned(), 8, Finish::Stop));
    assert_eq!(ask(99, &["x", "e"]), ("on".to_owned(), 3, Finish::Stop));
    // What might have become a stop string comes out at the end, whatever the end is.
    assert_eq!(ask(5, &["two"]), ("one t".to_owned(), 5, Finish::Length));
    assert_eq!(
        ask(99, &["threefold"]),
        ("one two three".to_owned(), 14, Finish::End)
    );
    assert_eq!(ask(7, &["two"]), ("one ".to_owned(), 7, Finish::Stop));
}

#[test]
fn an_answer_cut_inside_a_character_has_no_half_of_it() {
    let engine = script::writes(2, "a\u{1f600}");
    for (max_tokens, text) in [(1, "a"), (2, "a"), (4, "a"), (5, "a\u{1f600}")] {
        let sampling = Sampling {
            max_tokens,
            ..Sampling::default()
        };
        let (pieces, _) = pieces(&mut session(&engine), "x", sampling);
        assert_eq!(texts(&pieces).concat(), text);
    }
}

#[test]
fn the_context_is_a_limit() {
    let engine = script::says(2, &[97]);
    let options = SessionOptions {
        context: Some(5),
        threads: Some(1),
    };
    let mut small = engine.session(options).expect("room");
    let (five, finish) = pieces(&mut small, "xy", Sampling::default());
    // Three tokens of prompt and two of the answer are held; the last one need not be.
    assert_eq!(
        (texts(&five).concat(), finish),
        ("aaa".to_owned(), Finish::Context)
    );
    assert_eq!(small.position(), 5);
    small.reset();
    match failure(&mut small, "123456", Sampling::default()) {
        Error::Context {
            needed: 7,
            limit: 5,
        } => {}
        other => panic!("unexpected {other}"),
    }
    assert_eq!(small.position(), 0);
    let mut whole = session(&engine);
    let (pieces, finish) = pieces(&mut whole, "x", Sampling::default());
    assert_eq!(
        (pieces.len() as u32, finish),
        (MAX_POSITIONS - 1, Finish::Context)
    );
}

#[test]
fn a_session_that_holds_something_is_continued() {
    let engine = script::says(4, &[98, END, 99, END]);
    let mut session = session(&engine);
    let (first, _) = pieces(&mut session, "xyz", Sampling::default());
    assert_eq!(texts(&first).concat(), "b");
    let (second, _) = pieces(&mut session, "q", Sampling::default());
    assert_eq!(texts(&second).concat(), "c");
    assert_eq!(session.tokens(), [BOS, 120, 121, 122, 98, 113, 99]);
}

#[test]
fn what_goes_wrong_is_the_first_piece() {
    let engine = script::writes(2, "x");
    let mut session = session(&engine);
    assert!(matches!(
        failure(&mut session, "", Sampling::default()),
        Error::Empty
    ));
    let hot = Sampling {
        temperature: f32::NAN,
        ..Sampling::default()
    };
    assert!(matches!(failure(&mut session, "a", hot), Error::Options(_)));
    let mute = toy::engine(gem_runtime::Task::CausalLm);
    let mut session = mute.session(SessionOptions::default()).expect("room");
    assert!(matches!(
        failure(&mut session, "a", Sampling::default()),
        Error::Text(_)
    ));
    let classifier = script::classifier();
    let mut session = classifier.session(SessionOptions::default()).expect("room");
    assert!(matches!(
        failure(&mut session, "a", Sampling::default()),
        Error::Task { .. }
    ));
}

#[test]
fn seeds_repeat_and_differ() {
    let engine = script::says(2, &[97]);
    let ask = |seed| {
        let sampling = Sampling {
            temperature: 3.0,
            max_tokens: 30,
            seed,
            ..Sampling::default()
        };
        let (pieces, _) = pieces(&mut session(&engine), "x", sampling);
        pieces.iter().map(|piece| piece.token).collect::<Vec<_>>()
    };
    assert_eq!(ask(1), ask(1));
    assert_ne!(ask(1), ask(2));
}

#[test]
fn a_conversation_keeps_what_it_shares() {
    // <s><|user|>hi<|end|><|assistant|> are 6 tokens.
    let engine = script::says(6, &[111, END]);
    let mut session = session(&engine);
    let say = |session: &mut Session, messages: &[Message]| -> String {
        let answer = session.chat(
            messages,
            Sampling {
                max_tokens: 3,
                ..Sampling::default()
            },
        );
        answer.map(|piece| piece.expect("sound").text).collect()
    };
    let mut messages = vec![Message::user("hi")];
    assert_eq!(say(&mut session, &messages), "o");
    let held = session.tokens().to_vec();
    assert_eq!(held[..6], [257, 259, 104, 105, 258, 260]);
    messages.extend([Message::assistant("o"), Message::user("x")]);
    say(&mut session, &messages);
    assert_eq!(session.tokens()[..held.len()], held);
    // Another conversation shares only the beginning.
    say(&mut session, &[Message::user("ha")]);
    assert_eq!(session.tokens()[..6], [257, 259, 104, 97, 258, 260]);
    // The same again: one token at least is new, and the answer is the same.
    assert_eq!(say(&mut session, &[Message::user("hi")]), "o");
    assert_eq!(say(&mut session, &[Message::user("hi")]), "o");
    let long = "x".repeat(100);
    let before = session.tokens().to_vec();
    let mut answer = session.chat(&[Message::user(&long)], Sampling::default());
    assert!(matches!(
        answer.next(),
        Some(Err(Error::Context {
            needed: 104,
            limit: 64
        }))
    ));
    drop(answer);
    assert_eq!(session.tokens(), before);
    let wrong = Sampling {
        temperature: -1.0,
        ..Sampling::default()
    };
    let mut answer = session.chat(&[Message::user("ha")], wrong);
    assert!(matches!(answer.next(), Some(Err(Error::Options(_)))));
    drop(answer);
    assert_eq!(session.tokens(), before);
}

#[test]
fn a_cancelled_answer_ends_with_a_reason_and_the_session_goes_on() {
    let engine = script::writes(2, "one two three");
    let mut session = session(&engine);
    // From the loop that reads it: the piece that is being read is the last one.
    let cancel = session.cancel_handle();
    let mut answer = session.generate("a", Sampling::default());
    let mut said = String::new();
    for piece in answer.by_ref() {
        said.push_str(&piece.expect("a piece").text);
        if said == "one" {
            cancel.cancel();
        }
    }
    assert_eq!((&*said, answer.finish()), ("one", Some(Finish::Cancelled)));
    assert!(answer.next().is_none());
    assert_eq!(Finish::Cancelled.name(), "cancelled");
    // The prompt of two tokens and all that was said but the last token.
    assert_eq!(session.position(), 4);
    // In the prompt: not a piece, and nothing is taken of a handle that came first.
    session.reset();
    session.cancel_handle().cancel();
    let mut answer = session.generate("a", Sampling::default());
    assert!(answer.next().is_none());
    assert_eq!(answer.finish(), Some(Finish::Cancelled));
    assert_eq!(session.position(), 0);
    let (pieces, finish) = pieces(&mut session, "a", Sampling::default());
    assert_eq!(
        (texts(&pieces).concat(), finish),
        ("one two three".to_owned(), Finish::End)
    );
}

#[test]
fn a_model_is_joined_from_weights_and_texts_of_anywhere() {
    let whole = script::says(2, &[97]);
    let tokenizer = script::tokenizer_json().to_string();
    let settings = script::tokenizer_config().to_string();
    let files = TextFiles {
        tokenizer: tokenizer.as_bytes(),
        tokenizer_config: Some(settings.as_bytes()),
        ..TextFiles::default()
    };
    let weights = || Weights::copied(&toy::weight_file()).expect("own file");
    let engine = script::from_parts(weights(), &files).expect("they fit");
    let text = engine.text().expect("it has one").tokenizer().encode("x");
    let own = whole.text().expect("it has one").tokenizer().encode("x");
    assert_eq!(text.expect("ids"), own.expect("ids"));
    let broken = TextFiles {
        tokenizer: b"{",
        ..TextFiles::default()
    };
    let error = script::from_parts(weights(), &broken).expect_err("no tokenizer");
    assert!(matches!(error, Error::Text(_)), "{error}");
}
