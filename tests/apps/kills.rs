//! A compiler that is killed while its macro makes weights: what it leaves is no half of anything, and the next one, which
//! finds it, makes the program of an undisturbed one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use gemc::cache::{self, Cache};
use gemc::package::WEIGHTS;

use crate::races::{Compilers, empty, workspace};
use crate::workspace::kept;

/// How far the making of weights is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// A matrix was quantised, others were not.
    Matrix,
    /// The folder of the weight file is begun.
    Folder,
    /// The weight file has its first bytes.
    File,
    /// The folder is in its place; the compiler goes on.
    Place,
}

impl Moment {
    const ALL: [Self; 4] = [Self::Matrix, Self::Folder, Self::File, Self::Place];

    fn is_reached(self, cache: &Path) -> bool {
        let partial = || {
            names(&cache.join("weights"))
                .into_iter()
                .find(|path| is_partial(path))
        };
        let file = |folder: PathBuf| fs::metadata(folder.join(WEIGHTS));
        match self {
            Self::Matrix => !names(&cache.join("matrices")).is_empty(),
            Self::Folder => partial().is_some(),
            Self::File => {
                partial().is_some_and(|folder| file(folder).is_ok_and(|meta| meta.len() > 0))
            }
            Self::Place => kept(cache) == 1,
        }
    }
}

fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "gemc-partial")
}

/// What a folder holds.
fn names(folder: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(folder).into_iter().flatten().flatten();
    items.map(|item| item.path()).collect()
}

/// Kills a compiler as soon as it is so far; whether it was in time.
fn kill_at(moment: Moment, cache: &Path, mut compiler: Child) -> bool {
    let began = Instant::now();
    let mut reached = false;
    while !reached && compiler.try_wait().expect("it is ours").is_none() {
        assert!(began.elapsed() < Duration::from_secs(120), "{moment:?}");
        reached = moment.is_reached(cache);
        std::thread::sleep(Duration::from_micros(50));
    }
    let killed = compiler.kill().is_ok();
    let status = compiler.wait().expect("it ends");
    reached && killed && !status.success()
}

/// Entries that would be taken for whole and are not.
fn halves(cache: &Path) -> Vec<PathBuf> {
    let entries = |kind: &str| {
        let all = names(&cache.join(kind)).into_iter();
        all.filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            // Others, being written, have names of another kind.
            (name.len() == 64).then(|| (path, gem_runtime::from_hex(&name), name))
        })
    };
    let opened = Cache::at(cache).expect("a folder");
    let matrices = entries("matrices")
        .filter(|(_, key, _)| opened.find("matrices", key).is_none())
        .map(|(path, ..)| path);
    let weights = entries("weights")
        .filter(|(path, _, name)| !cache::is_sealed(path, name))
        .map(|(path, ..)| path);
    matrices.chain(weights).collect()
}

#[test]
fn a_killed_compiler_leaves_nothing_half_written() {
    let workspace = workspace("apps-kills");
    let compilers = Compilers::new(&workspace);
    let whole = empty("apps-kills-whole");
    assert!(
        compilers
            .start(0, &whole)
            .wait()
            .expect("it ends")
            .success()
    );
    let expected = compilers.program(0);
    let mut next = Vec::new();
    for (i, moment) in (1..).zip(Moment::ALL) {
        let cache = empty(&format!("apps-kills-{i}"));
        let in_time = (0..20).any(|_| {
            let _ = fs::remove_dir_all(&cache);
            kill_at(moment, &cache, compilers.start(i, &cache))
        });
        assert!(in_time, "{moment:?} passes too quickly to be seen");
        assert_eq!(halves(&cache), [] as [PathBuf; 0], "{moment:?}");
        assert_eq!(kept(&cache), usize::from(moment == Moment::Place));
        assert!(!compilers.folder(i).join("raced").exists(), "{moment:?}");
        next.push((i, compilers.start(i, &cache), cache));
    }
    for (i, mut compiler, cache) in next {
        assert!(compiler.wait().expect("it ends").success());
        assert!(compilers.program(i) == expected, "the same bytes");
        assert_eq!(kept(&cache), 1);
        assert_eq!(halves(&cache), [] as [PathBuf; 0]);
        let left = names(&cache.join("weights"));
        assert!(!left.iter().any(|path| is_partial(path)), "{left:?}");
    }
    is_seen_when_cut(&whole);
}

/// What is looked for would be found.
fn is_seen_when_cut(cache: &Path) {
    let weights = names(&cache.join("weights")).into_iter();
    let file = weights
        .map(|path| path.join(WEIGHTS))
        .find(|path| path.is_file());
    let matrix = names(&cache.join("matrices")).into_iter().next();
    for path in [file, matrix] {
        let path = path.expect("an entry");
        let bytes = fs::metadata(&path).expect("a file").len();
        let file = fs::File::options().write(true).open(&path).expect("ours");
        file.set_len(bytes - 1).expect("shorter");
    }
    assert_eq!(halves(cache).len(), 2);
}
