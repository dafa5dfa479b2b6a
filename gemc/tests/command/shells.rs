//! Completions and manual pages.

use super::*;

#[test]
fn shells_and_man_know_every_verb() {
    for (shell, says) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef gemc"),
        ("fish", "complete -c gemc"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let output = gemc(&["completions", shell]).output().expect("it starts");
        assert!(output.status.success(), "{}", told(&output));
        let script = String::from_utf8(output.stdout).expect("a text");
        for words in [says, "verify", "junit", "completions"] {
            assert!(script.contains(words), "{shell}: `{words}` is missing");
        }
    }
    let unknown = gemc(&["completions", "csh"]).output().expect("it starts");
    assert_eq!(unknown.status.code(), Some(2));
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = root.path().join("man1");
    let man = || {
        let folder = folder.to_str().expect("a plain path");
        gemc(&["man", folder]).output().expect("it starts")
    };
    assert!(man().status.success());
    let before = files(&folder);
    assert!(names(&folder).contains(&"gemc-verify.1".to_owned()));
    let page = fs::read_to_string(folder.join("gemc-cache.1")).expect("a page");
    assert!(page.contains("\\-\\-clear"), "{page}");
    assert!(man().status.success(), "pages are replaced");
    assert!(files(&folder) == before, "the same bytes");
    fs::write(folder.join("gemc.1"), "Dear").expect("space");
    let refused = man();
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("gemc.1"), "{}", told(&refused));
}
