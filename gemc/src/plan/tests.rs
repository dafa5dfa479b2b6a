//! Plans as text: what is written is read back, and what was edited badly is refused in words.

use super::file::{Override, PlanFile, PlanUnit, VERSION, overrides};

fn plan() -> PlanFile {
    PlanFile {
        version: VERSION,
        checkpoint: "ab".repeat(32),
        calibration: String::new(),
        target: "portable".to_owned(),
        rounding: "feedback".to_owned(),
        bits_per_weight: 3.25,
        unit_bytes: 1000,
        predicted_ms: None,
        predicted_kl: 1.25e-3,
        measured_kl: Some(0.1),
        overrides: vec![Override {
            units: "o_proj$".to_owned(),
            format: "B8".to_owned(),
        }],
        units: vec![PlanUnit {
            name: "model.\"odd\" name\n".to_owned(),
            format: "N4".to_owned(),
            bytes: 1000,
            predicted_kl: 0.0,
            reason: "it = 'so'".to_owned(),
            codes: format!("N4:{}", "0f".repeat(32)),
        }],
    }
}

#[test]
fn what_is_written_is_read_back() {
    let mut plan = plan();
    assert_eq!(PlanFile::parse(&plan.text().unwrap()), Ok(plan.clone()));
    plan.measured_kl = None;
    plan.overrides.clear();
    let text = plan.text().unwrap();
    assert!(!text.contains("override"), "{text}");
    assert_eq!(PlanFile::parse(&text), Ok(plan));
}

#[test]
fn other_texts_are_refused_in_words() {
    let text = plan().text().unwrap();
    for (edited, says) in [
        (text.replacen("version = 1", "version = 9", 1), "version 9"),
        (text.replacen("bytes = 1000", "bytes = -1", 1), "bytes"),
        (text.replacen("[[unit]]", "[[units]]", 1), "units"),
        (text.replacen("reason", "raisin", 1), "raisin"),
        (String::new(), "version"),
        ("\u{0}".to_owned(), "1"),
    ] {
        let error = PlanFile::parse(&edited).expect_err(says);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn exceptions_are_regular_expressions_and_formats() {
    let entry = |units: &str, format: &str| Override {
        units: units.to_owned(),
        format: format.to_owned(),
    };
    assert!(overrides(&[entry("a+", "n4")]).is_ok());
    let error = overrides(&[entry("a(", "N4")]).expect_err("no expression");
    assert!(error.contains("override"), "{error}");
    let error = overrides(&[entry("a", "Q4")]).expect_err("no format");
    assert!(error.contains("Q4") && error.contains("B8"), "{error}");
}
