//! Plans, budgets and texts that do not do.

use super::*;

#[test]
fn damaged_plans_are_refused() {
    let loaded = load(DENSE);
    let dir = tempfile::tempdir().unwrap();
    let made = make(&loaded, &settings(3.25));
    let path = write(&made, dir.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let unit = &made.file.units[0];
    let refused = |edit: &dyn Fn(&str) -> String, says: &str| {
        std::fs::write(&path, edit(&text)).unwrap();
        let error = read(&path, &loaded).expect_err(says);
        assert!(error.contains(says), "{error}");
        assert!(error.contains("plan."), "names the file: {error}");
    };
    refused(
        &|t| t.replace(&made.file.checkpoint, &"0".repeat(64)),
        "another checkpoint",
    );
    refused(
        &|t| {
            t.replacen(
                &format!("format = \"{}\"", unit.format),
                "format = \"Q9\"",
                1,
            )
        },
        "Q9",
    );
    refused(
        &|t| t.replacen(&unit.name, "model.nonsense", 1),
        "is missing",
    );
    refused(&|t| t.replacen("version = 1", "version = 2", 1), "version");
    refused(&|t| format!("{t}\nsurplus = 1\n"), "surplus");
    refused(&|t| t[..t.len() / 2].to_owned(), "");
    refused(&|_| "units = [".to_owned(), "");
    refused(
        &|t| t.replacen(&unit.codes[3..], &"a".repeat(64), 1),
        &unit.name,
    );
    refused(&|t| t.replacen(&unit.codes, "N4:xyz", 1), "not a digest");
    let second = &made.file.units[1].name;
    refused(
        &|t| t.replacen(&format!("{second}\""), &format!("{}\"", unit.name), 1),
        "twice",
    );
    std::fs::write(&path, &text).unwrap();
    let whole = std::fs::read(codes_path(&path)).unwrap();
    for (damage, says) in [
        (whole[..whole.len() - 100].to_vec(), "cut short"),
        (b"GEMCODEZ".to_vec(), "not a file of codes"),
        ([&whole[..whole.len() - 5], b"abcde"].concat(), ""),
    ] {
        std::fs::write(codes_path(&path), damage).unwrap();
        let found = read(&path, &loaded);
        assert!(
            says.is_empty() || found.is_err_and(|e| e.contains(says)),
            "{says}"
        );
    }
    std::fs::remove_file(codes_path(&path)).unwrap();
    assert!(
        read(&path, &loaded)
            .expect_err("no codes")
            .contains("plan.codes")
    );
}

#[test]
fn budgets_that_cannot_be_met_name_the_nearest() {
    let loaded = load(DENSE);
    let texts = Texts::divide(&documents(&loaded, 16, 48), 48);
    let mut asked = settings(1.5);
    let fails = |asked: &Settings| {
        planner::make(&loaded, asked, &texts, &mut |_, _| {}, &Silent)
            .expect_err("too small")
            .to_string()
    };
    assert!(fails(&asked).contains("2.2500"), "{}", fails(&asked));
    for bits in [f64::NAN, -1.0, 0.0, f64::INFINITY] {
        asked.budget = Budget::Bits(bits);
        assert!(fails(&asked).contains("allowed"), "{bits}");
    }
    asked.budget = Budget::Size(1000);
    let error = fails(&asked);
    let smallest: u64 = error
        .split_whitespace()
        .last()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    asked.budget = Budget::Size(smallest);
    let made = planner::make(&loaded, &asked, &texts, &mut |_, _| {}, &Silent)
        .expect("the nearest can be had");
    let plan = BitPlan::uniform(&loaded.graph, Codec::N2);
    let layout = pipeline::compile(&loaded.graph, &plan, &asked.target)
        .unwrap()
        .layout;
    assert_eq!(layout.weight_bytes(), smallest);
    let units = loaded.graph.units();
    let bytes = units.iter().map(|unit| unit.shape.bytes(Codec::N2));
    assert_eq!(made.file.unit_bytes, bytes.sum::<u64>());
}

#[test]
fn short_texts_name_the_modules_that_starve() {
    let loaded = load(ROUTED);
    let documents = documents(&loaded, 4, 6);
    let texts = Texts::divide(&documents, 48);
    let error = planner::make(&loaded, &settings(4.25), &texts, &mut |_, _| {}, &Silent);
    let error = error.expect_err("24 tokens").to_string();
    assert!(
        error.contains("too short") && error.contains("modules."),
        "{error}"
    );
}
