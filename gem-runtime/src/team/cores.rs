//! What the system says of its cores -> how many threads a team has by itself, and the cores that its workers keep to.
//!
//! Where cores are unequal, a phase waits for whoever took its last chunk, and a slow core holds it up: on a Pixel 6 somebody
//! measured 6.7 ms on the four fast cores and 79 on all eight (pytorch/executorch issue 5811). So a team keeps to the fast ones.
//! Nothing here asks for cores that the process may not use, and where nothing is known nothing is done.

use std::thread;

/// A core whose capacity is below this share of the largest is slow. On a Pixel 6 an A76 has half of an X1's, an A55 a sixth.
const FAST: f64 = 0.4;

/// How many threads a team has unless told: one for each fast core that this process may use, no more than a quota of the
/// system (cgroups) allows.
pub(super) fn usual() -> usize {
    let allowed = available();
    match system::fast() {
        0 => allowed,
        fast => allowed.min(fast),
    }
}

/// How many threads run at once at most.
pub(super) fn available() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The cores that threads of a team keep to: the fast ones, where cores are unequal; else none.
pub(super) fn kept() -> Vec<usize> {
    system::cores()
}

/// Whether the cores that this process may use are not equally fast, as far as the system tells.
pub(super) fn uneven() -> bool {
    system::uneven()
}

/// Keeps the calling thread to these cores. Says whether the system confirms it.
pub(super) fn keep_to(cores: &[usize]) -> bool {
    system::keep_to(cores)
}

/// Keeps the calling thread to the fast cores, where cores are unequal. Says whether the system confirms it; an app may call it
/// in the thread that runs a session, which is left alone otherwise.
pub fn keep_to_fast_cores() -> bool {
    let cores = kept();
    !cores.is_empty() && keep_to(&cores)
}

/// The fast ones of some cores, where others are slow; none where all are alike. `cores` are numbers with capacities, in any
/// unit.
#[cfg_attr(
    not(any(test, target_os = "linux", target_os = "android")),
    expect(dead_code)
)]
fn fast(cores: &[(usize, u64)]) -> Vec<usize> {
    let largest = cores.iter().map(|(_, capacity)| *capacity).max();
    let Some(largest) = largest else {
        return Vec::new();
    };
    let is_fast = |capacity: u64| capacity as f64 >= FAST * largest as f64;
    let found = cores.iter().filter(|(_, capacity)| is_fast(*capacity));
    let found: Vec<usize> = found.map(|(core, _)| *core).collect();
    if found.len() == cores.len() {
        return Vec::new();
    }
    found
}

/// Whether capacities differ by more than the favourite cores of one kind.
#[cfg_attr(
    not(any(test, target_os = "linux", target_os = "android")),
    expect(dead_code)
)]
fn differ(cores: &[(usize, u64)]) -> bool {
    let capacities = || cores.iter().map(|(_, capacity)| *capacity as f64);
    let least = capacities().fold(f64::INFINITY, f64::min);
    least < 0.85 * capacities().fold(0.0, f64::max)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::fs;
    use std::mem;
    use std::path::Path;

    /// Where the kernel tells of processors.
    const PROCESSORS: &str = "/sys/devices/system/cpu";

    pub(super) fn fast() -> usize {
        cores().len()
    }

    pub(super) fn cores() -> Vec<usize> {
        allowed().map_or_else(Vec::new, |cores| fast_of(Path::new(PROCESSORS), &cores))
    }

    pub(super) fn uneven() -> bool {
        let known = allowed().and_then(|cores| capacities(Path::new(PROCESSORS), &cores));
        known.is_some_and(|known| super::differ(&known))
    }

    /// The fast ones of some cores; none where all are alike or one tells nothing of itself.
    pub(super) fn fast_of(processors: &Path, cores: &[usize]) -> Vec<usize> {
        capacities(processors, cores).map_or_else(Vec::new, |known| super::fast(&known))
    }

    /// Capacities of cores, in any unit; nothing where one tells nothing of itself.
    fn capacities(processors: &Path, cores: &[usize]) -> Option<Vec<(usize, u64)>> {
        let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse().ok();
        let capacity = |core: usize| -> Option<u64> {
            let folder = processors.join(format!("cpu{core}"));
            // Arm's kernels tell capacities, those of others clocks.
            number(&folder.join("cpu_capacity"))
                .or_else(|| number(&folder.join("cpufreq/cpuinfo_max_freq")))
        };
        let known = cores.iter().map(|&core| Some((core, capacity(core)?)));
        known.collect()
    }

    /// The cores that the calling thread may use.
    pub(super) fn allowed() -> Option<Vec<usize>> {
        // SAFETY: a set of bits, of which zero is the empty one.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        let size = mem::size_of_val(&set);
        // SAFETY: the set is writable and as large as is said; 0 is the calling thread.
        let failed = unsafe { libc::sched_getaffinity(0, size, &raw mut set) } != 0;
        if failed {
            return None;
        }
        // SAFETY: the number is below the size of the set.
        let has = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
        Some((0..libc::CPU_SETSIZE as usize).filter(has).collect())
    }

    /// Asks for these cores, and whether the system then names them.
    pub(super) fn keep_to(cores: &[usize]) -> bool {
        // SAFETY: as in `allowed`.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        for &core in cores {
            debug_assert!(core < libc::CPU_SETSIZE as usize);
            // SAFETY: the cores are from `allowed`, below the size of the set.
            unsafe { libc::CPU_SET(core, &mut set) };
        }
        // SAFETY: the set is readable and as large as is said; 0 is the calling thread.
        let failed = unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &raw const set) };
        failed == 0 && allowed().as_deref() == Some(cores)
    }
}

#[cfg(target_vendor = "apple")]
mod system {
    pub(super) fn uneven() -> bool {
        fast() < super::available()
    }

    /// How many cores of the fastest kind there are. Which ones a thread runs on is not for programs to say there.
    pub(super) fn fast() -> usize {
        let mut count: libc::c_int = 0;
        let mut size = size_of_val(&count);
        // SAFETY: the name is a C string, and the number is writable and as large as is said.
        let failed = unsafe {
            libc::sysctlbyname(
                c"hw.perflevel0.logicalcpu".as_ptr(),
                (&raw mut count).cast(),
                &raw mut size,
                core::ptr::null_mut(),
                0,
            )
        };
        match failed {
            0 => usize::try_from(count).unwrap_or(0),
            _ => 0,
        }
    }

    pub(super) const fn cores() -> Vec<usize> {
        Vec::new()
    }

    pub(super) const fn keep_to(_: &[usize]) -> bool {
        false
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod system {
    pub(super) const fn uneven() -> bool {
        false
    }

    pub(super) const fn fast() -> usize {
        0
    }

    pub(super) const fn cores() -> Vec<usize> {
        Vec::new()
    }

    pub(super) const fn keep_to(_: &[usize]) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    #[test]
    fn slow_cores_are_left_out_and_equal_ones_are_not() {
        // Pixel 6, Snapdragon 8 Gen 3, Raspberry Pi, a laptop with cores of two kinds.
        let pixel: Vec<u64> = vec![124, 124, 124, 124, 498, 498, 1024, 1024];
        let snapdragon = vec![325, 325, 870, 870, 870, 800, 800, 1024];
        let numbered = |capacities: &[u64]| capacities.iter().copied().enumerate().collect();
        let found = |capacities: &[u64]| fast(&Vec::from_iter::<Vec<_>>(numbered(capacities)));
        assert_eq!(found(&pixel), [4, 5, 6, 7]);
        assert_eq!(found(&snapdragon), [2, 3, 4, 5, 6, 7]);
        assert_eq!(found(&[1024; 4]), NONE);
        assert_eq!(found(&[1024, 1024, 620, 620]), NONE);
        assert_eq!(found(&[]), NONE);
        assert_eq!(found(&[0, 0]), NONE);
        let uneven = |capacities: &[u64]| differ(&Vec::from_iter::<Vec<_>>(numbered(capacities)));
        assert!(uneven(&pixel[4..]) && uneven(&[1024, 1024, 620, 620]));
        assert!(!uneven(&[1024; 4]) && !uneven(&[5_300, 5_000, 5_000]) && !uneven(&[]));
    }

    #[test]
    fn a_team_has_no_more_threads_than_run_at_once() {
        assert!((1..=available()).contains(&usual()));
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn capacities_come_from_the_system_or_nothing_is_done() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let tell = |core: usize, file: &str, text: &str| {
            let path = dir.path().join(format!("cpu{core}/{file}"));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("space");
            std::fs::write(path, text).expect("space");
        };
        for core in 0..8 {
            tell(
                core,
                "cpu_capacity",
                if core < 4 { "160\n" } else { "1024\n" },
            );
        }
        let fast = |cores: &[usize]| system::fast_of(dir.path(), cores);
        assert_eq!(fast(&[0, 1, 2, 3, 4, 5, 6, 7]), [4, 5, 6, 7]);
        // Of those that the process may use.
        assert_eq!(fast(&[2, 3, 5]), [5]);
        assert_eq!(fast(&[0, 1, 2]), NONE);
        // One that tells nothing, then one that tells its clock alone.
        assert_eq!(fast(&[0, 7, 8]), NONE);
        tell(0, "cpu_capacity", "fast");
        assert_eq!(fast(&[0, 7]), NONE);
        tell(0, "cpufreq/cpuinfo_max_freq", "300");
        assert_eq!(fast(&[0, 7]), [7]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_keeps_to_cores_and_the_system_confirms_it() {
        let here = system::allowed().expect("the system tells");
        let own = here.clone();
        let kept = thread::spawn(move || (system::keep_to(&own[..1]), system::allowed()));
        assert_eq!(
            kept.join().expect("no panic"),
            (true, Some(here[..1].to_vec()))
        );
        assert_eq!(
            system::allowed(),
            Some(here),
            "other threads are left alone"
        );
    }
}
