//! `gemc verify` with a budget and a JUnit file: what is broken, who is blamed, and what is written when.

use super::*;

const ROUTED: &str = "lm-all-8mlp-top3-always-domainscar";

const DENSE: &str = "lm-dense-pre-rope";

/// A checkpoint with text, in a folder of its own.
struct WithText(tempfile::TempDir);

impl WithText {
    fn new(checkpoint: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
        let root = tempfile::tempdir().expect("a temporary folder");
        let model = root.path().join("model");
        fs::create_dir(&model).expect("space");
        for (path, bytes) in files(&from.join(checkpoint)) {
            let name = path.file_name().expect("a file");
            fs::write(model.join(name), bytes).expect("space");
        }
        for split in ["evaluation", "calibration"] {
            fs::create_dir_all(model.join(split)).expect("space");
            for domain in ["law", "stem"] {
                let line = |n: usize| {
                    format!("{{\"text\": \"the quick {domain} {n} jumps over the dog\"}}\n")
                };
                let text: String = (0..8).map(line).collect();
                let file = model.join(split).join(format!("{domain}.jsonl"));
                fs::write(file, text).expect("space");
            }
        }
        Self(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("space");
    }

    fn gemc(&self, verb: &str, more: &[&str]) -> Output {
        let mut command = gemc(&[verb, "model"]);
        command.args(more).current_dir(self.0.path());
        command.env("GEMC_CACHE", self.path("cache"));
        command.output().expect("it starts")
    }

    /// What `verify` says on standard error; it must end with `code`.
    fn verify(&self, code: i32, more: &[&str]) -> String {
        let arguments = ["--backend", "fake", "--tokens", "200"];
        let target = ["--target", "x86-64-v3"];
        let target = if more.contains(&"--target") {
            &[][..]
        } else {
            &target
        };
        let output = self.gemc("verify", &[&arguments, target, more].concat());
        let told = told(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        told
    }
}

/// Names and failures of the cases in a JUnit file.
fn cases(path: &Path) -> Vec<(String, Option<String>)> {
    let text = fs::read_to_string(path).expect("a file");
    let tree = roxmltree::Document::parse(&text).expect("XML");
    let cases = tree
        .descendants()
        .filter(|node| node.has_tag_name("testcase"));
    cases
        .map(|case| {
            let failure = case.children().find(|node| node.has_tag_name("failure"));
            let name = case.attribute("name").expect("a name").to_owned();
            (name, failure.and_then(|f| f.text()).map(str::to_owned))
        })
        .collect()
}

#[test]
fn a_budget_that_is_broken_names_unit_and_figure() {
    let model = WithText::new(ROUTED);
    let junit = model.path("junit.xml");
    let with_junit = ["--budget", "budget.toml", "--junit", "junit.xml"];
    model.write(
        "budget.toml",
        "bytes = \"1G\"\nkl = 99\nworst_domain_kl = 99\ntop1 = 0\npredicted_ms = 1e6\n",
    );
    model.verify(0, &with_junit);
    let names: Vec<String> = cases(&junit)
        .into_iter()
        .map(|(name, failure)| {
            assert_eq!(failure, None, "{name}");
            name
        })
        .collect();
    for name in [
        "all: mean KL",
        "law: mean KL",
        "stem: top-1 agreement",
        "budget: bytes",
        "budget: worst_domain_kl",
        "budget: predicted_ms",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    model.write(
        "budget.toml",
        "bytes = 1000\nkl = 0\nworst_domain_kl = 0\ntop1 = 0\npredicted_ms = 1e-9\n",
    );
    let told = model.verify(3, &with_junit);
    for words in [
        "budget: bytes is ",
        "bound 1000; most is of lm_head (N4): ",
        "% of the file",
        "budget: kl is ",
        "no unit is blamed without a plan",
        "it is that of ",
        "budget: predicted_ms is ",
        "ms by the costs of x86-64-v3",
    ] {
        assert!(told.contains(words), "`{words}` in {told}");
    }
    let failed = cases(&junit)
        .into_iter()
        .filter_map(|(name, failure)| Some((name, failure?)));
    let failed: Vec<(String, String)> = failed.collect();
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert!(
        failed.iter().all(|(_, words)| told.contains(words)),
        "{failed:?}"
    );
    // The bounds of the command line are cases, too.
    model.verify(3, &["--max-kl", "0", "--junit", "junit.xml"]);
    let bound = cases(&junit)
        .into_iter()
        .find(|(name, _)| name == "all: mean KL");
    assert!(bound.is_some_and(|(_, failure)| failure.is_some_and(|f| f.contains("bound 0"))));
}

#[test]
fn a_plan_says_whom_to_blame() {
    let model = WithText::new(DENSE);
    let plan = [
        "--bits",
        "4.25",
        "--effort",
        "low",
        "--target",
        "x86-64-v3",
        "-o",
        "plan.toml",
    ];
    let planned = model.gemc("plan", &plan);
    assert!(planned.status.success(), "{}", told(&planned));
    model.write("budget.toml", "kl = 0\n");
    let told = model.verify(3, &["--budget", "budget.toml", "--plan", "plan.toml"]);
    for words in ["budget: kl is ", "its plan predicts ", " nats, "] {
        assert!(told.contains(words), "`{words}` in {told}");
    }
}

#[test]
fn what_cannot_be_judged_or_written_is_told_before_the_work() {
    let model = WithText::new(DENSE);
    let budget = ["--budget", "budget.toml"];
    model.write("budget.toml", "kls = 1\n");
    let told = model.verify(1, &budget);
    assert!(
        told.contains("budget.toml") && told.contains("`worst_domain_kl`"),
        "{told}"
    );
    model.write("budget.toml", "predicted_ms = 1\n");
    let told = model.verify(2, &[&budget[..], &["--target", "aarch64"]].concat());
    assert!(
        told.contains("target aarch64 has no costs; `gemc targets aarch64 --measure`"),
        "{told}"
    );
    model.write("letter.xml", "Dear");
    let told = model.verify(1, &["--junit", "letter.xml"]);
    assert!(
        told.contains("letter.xml") && told.contains("JUnit"),
        "{told}"
    );
    assert_eq!(fs::read(model.path("letter.xml")).expect("there"), b"Dear");
    fs::write(model.path("model/evaluation/zz.jsonl"), "{").expect("space");
    model.verify(1, &["--junit", "junit.xml"]);
    assert!(!model.path("junit.xml").exists(), "whole or not at all");
    fs::remove_dir_all(model.path("model/evaluation")).expect("ours");
    let told = model.verify(0, &["--junit", "junit.xml"]);
    assert!(told.contains("packaged default text"), "{told}");
}

#[test]
fn every_document_can_be_had_by_itself() {
    let model = WithText::new(ROUTED);
    fs::create_dir(model.path("given")).expect("space");
    let long = "the quick stem jumps over the dog and over ".repeat(40);
    let lines = [
        "{\"text\": \"the fox\"}\n",
        &format!("{{\"text\": \"{long}\", \"document\": \"a\"}}\n"),
        "{\"text\": \"the dog\", \"document\": \"a\"}\n",
        "{\"text\": \"a dog\", \"document\": \"b\"}\n",
    ];
    model.write("given/stem.jsonl", &lines.concat());
    let arguments = ["--backend", "fake", "--target", "x86-64-v3", "--json"];
    let of = |more: &[&str]| {
        let output = model.gemc("verify", &[&arguments, more].concat());
        assert!(output.status.success(), "{}", told(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("one value")
    };
    let given = ["--texts", "given", "--tokens", "100000"];
    let plain = of(&given);
    assert!(plain.get("documents").is_none(), "{plain}");
    let report = of(&[&given[..], &["--per-document"]].concat());
    let documents = report["documents"].as_array().expect("a list");
    let sum = |key: &str| {
        documents
            .iter()
            .map(|t| t[key].as_f64().expect(key))
            .sum::<f64>()
    };
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[0]["bytes"], 7);
    // A long document is several lines.
    assert_eq!(documents[1]["bytes"], long.len() + 7);
    assert_eq!(documents[2]["bytes"], 5);
    assert_eq!(
        (&documents[1]["domain"], &documents[1]["document"]),
        (&"stem".into(), &1.into())
    );
    // The long one is several windows, of which each first token is not predicted.
    assert!(documents[1]["predicted"].as_f64() < documents[1]["tokens"].as_f64().map(|n| n - 1.0));
    assert_eq!(sum("tokens"), report["tokens"].as_f64().expect("a number"));
    let perplexity = (sum("nats") / sum("predicted")).exp();
    let whole = report["ppl"].as_f64().expect("a number");
    assert!(
        (perplexity - whole).abs() < 1e-9 * whole,
        "{perplexity} {whole}"
    );
    let kl = report["kl_mean"].as_f64().expect("a number");
    assert!((sum("kl") / sum("outputs") - kl).abs() < 1e-12, "{kl}");
    // A person reads a table.
    let output = model.gemc(
        "verify",
        &[&arguments[..4], &given, &["--per-document"]].concat(),
    );
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("\nstem:0"), "{shown}");
    assert!(shown.contains("perplexity, the reference's"), "{shown}");
}
