//! Folders that are made, refused, interrupted and waited for.

use super::*;

fn beside(dir: &Path) -> usize {
    fs::read_dir(dir).expect("listed").count()
}

/// Allows to replace a folder that holds `x`.
fn ours(dir: &Path) -> Result<(), OutputError> {
    match dir.join("x").exists() {
        true => Ok(()),
        false => refuse_occupied(dir),
    }
}

#[test]
fn a_folder_appears_only_on_commit() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let target = root.path().join("a/b");
    let folder = OutputFolder::create(&target).expect("a new folder");
    fs::write(folder.path().join("x"), "1").expect("written");
    assert!(!target.exists());
    folder.commit().expect("renamed");
    assert!(target.join("x").exists());
    let taken = OutputFolder::create(&target).expect_err("it is not empty");
    assert!(matches!(taken, OutputError::Occupied(_)));
    drop(OutputFolder::replacing(&target, ours).expect("it is ours"));
    assert!(target.join("x").exists(), "dropped without commit");
    let again = OutputFolder::replacing(&target, ours).expect("ours");
    again.commit().expect("replaced");
    assert!(!target.join("x").exists());
    assert_eq!(beside(&root.path().join("a")), 1);
    fs::write(root.path().join("file"), "").expect("written");
    assert!(OutputFolder::create(&root.path().join("file")).is_err());
    assert!(OutputFolder::create(&root.path().join("file/below")).is_err());
    assert!(OutputFolder::create(Path::new("/")).is_err());
}

#[test]
fn what_a_killed_run_left_is_put_right() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let target = root.path().join("out");
    let partial = root.path().join(".out.gemc-partial");
    let old = root.path().join(".out.gemc-old");
    fs::create_dir_all(partial.join("src")).expect("made");
    fs::create_dir(&old).expect("made");
    fs::write(old.join("x"), "1").expect("written");
    fs::write(root.path().join(".out.gemc-lock"), "").expect("written");
    drop(OutputFolder::replacing(&target, ours).expect("ours"));
    assert!(target.join("x").exists(), "what was moved aside is back");
    assert_eq!(beside(root.path()), 1);
}

#[test]
fn a_folder_is_removed_unless_somebody_is_at_it() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let target = root.path().join("out");
    let making = OutputFolder::create(&target).expect("a new folder");
    making.commit().expect("renamed");
    let making = OutputFolder::create(&target).expect("it is empty");
    let busy = OutputFolder::remove(&target);
    assert!(matches!(busy, Err(OutputError::Busy(_))));
    drop(making);
    OutputFolder::remove(&target).expect("nobody is");
    assert_eq!(beside(root.path()), 0);
}

#[test]
fn what_is_kept_is_at_the_path_whenever_a_run_is_killed() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let target = root.path().join("out");
    let (old, partial) = (
        root.path().join(".out.gemc-old"),
        root.path().join(".out.gemc-partial"),
    );
    let git = |folder: &Path| fs::read(folder.join(".git/HEAD")).ok();
    fs::create_dir_all(target.join(".git")).expect("made");
    fs::create_dir(target.join("target")).expect("made");
    fs::write(target.join(".git/HEAD"), "main").expect("written");
    let keep = Keep {
        linked: vec![".git".into()],
        moved: vec!["target".into(), "absent".into()],
    };
    let begin = || OutputFolder::replacing(&target, |_| Ok::<_, OutputError>(()));
    begin().expect("free").commit_with(&keep).expect("renamed");
    assert!(git(&target).is_some() && target.join("target").exists());
    assert_eq!(beside(root.path()), 1);
    // Before the switch: the old one has it, whatever the new one has.
    fs::create_dir(&partial).expect("made");
    keep::link(&target.join(".git"), &partial.join(".git")).expect("linked");
    drop(begin().expect("free"));
    assert!(git(&target).is_some() && !partial.exists());
    // Between the two renames.
    fs::create_dir(&partial).expect("made");
    keep::link(&target.join(".git"), &partial.join(".git")).expect("linked");
    fs::rename(&target, &old).expect("renamed");
    drop(begin().expect("free"));
    assert!(git(&target).is_some() && !partial.exists() && !old.exists());
    // The same, and then somebody makes another folder.
    fs::create_dir(&partial).expect("made");
    fs::rename(&target, &old).expect("renamed");
    fs::create_dir(&target).expect("made");
    for _ in 0..2 {
        let told = begin().expect_err("not ours to remove");
        assert!(matches!(told, OutputError::Interrupted { .. }));
        assert!(git(&old).is_some());
    }
    fs::remove_dir(&target).expect("empty");
    drop(begin().expect("free"));
    // After the switch.
    fs::create_dir_all(old.join(".git")).expect("made");
    drop(begin().expect("free"));
    assert!(git(&target).is_some() && !old.exists());
}

#[test]
fn links_to_folders_stay_and_tries_leave_nothing() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let link = root.path().join("link");
    std::os::unix::fs::symlink("there", &link).expect("made");
    let made = OutputFolder::create(&link).expect("a new folder");
    made.commit().expect("renamed");
    assert!(link.is_symlink() && root.path().join("there").is_dir());
    drop(OutputFolder::create(&root.path().join("a/b/c")).expect("new"));
    assert!(OutputFolder::create(&root.path().join("a/..")).is_err());
    assert!(OutputFolder::create(Path::new("")).is_err());
    assert_eq!(beside(root.path()), 2);
    let mounted = OutputFolder::create(Path::new("/proc"));
    assert!(matches!(mounted, Err(OutputError::Mounted(_))));
}

/// Eight at once: one makes it, the others wait and find it made. Whoever fails leaves it to the next.
#[test]
fn those_in_turn_wait_for_each_other() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let target = root.path().join("out");
    let made = std::sync::atomic::AtomicU32::new(0);
    let count = || made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let done = |path: &Path| path.join("x").exists();
                let mine = OutputFolder::in_turn(&target, &|| (), done).expect("space");
                let Some(folder) = mine else { return };
                if count() > 0 {
                    fs::write(folder.path().join("x"), "1").expect("written");
                    folder.commit().expect("renamed");
                }
            });
        }
    });
    assert_eq!(made.into_inner(), 2, "one failed, one made it");
    assert_eq!(beside(root.path()), 1);
}

#[test]
fn waiting_is_told_once() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let target = root.path().join("out");
    let first = OutputFolder::create(&target).expect("a new folder");
    let told = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        let waiting = || {
            told.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        let second = scope
            .spawn(move || OutputFolder::in_turn(&root.path().join("out"), &waiting, |_| false));
        std::thread::sleep(PATIENCE + 5 * LOOK);
        drop(first);
        assert!(second.join().expect("no panic").is_ok_and(|f| f.is_some()));
    });
    assert_eq!(told.into_inner(), 1);
}

#[test]
fn two_at_once_do_not_mix() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let target = root.path().join("out");
    let first = OutputFolder::create(&target).expect("a new folder");
    let second = OutputFolder::create(&target);
    assert!(matches!(second, Err(OutputError::Busy(_))));
    first.commit().expect("it was first");
}
