//! SIGBUS, which the system sends to who reads a mapped file that was cut short or whose disk fails -> a line on standard
//! error and exit code 1.
//!
//! For programs alone, which own their process: `main` of this module and of `gemc` call it. The library never installs a
//! handler; an app that maps weights and fears for the file reads it instead ([`crate::storage::Weights::read`]).

/// From now on a file that grows beyond the limit of its size (`ulimit -f`) is an error of the write, as on a full disk,
/// instead of the end of this process. A no-op where the system is not Linux.
pub fn report_file_limits() {
    #[cfg(target_os = "linux")]
    // SAFETY: to ignore a signal touches nothing of this process.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// From now on a mapped file that is lost ends this process with exit code 1 and this message as a line. A no-op where the
/// system is not Linux. The first call counts.
pub fn end_at_lost_files(message: &str) {
    #[cfg(target_os = "linux")]
    linux::install(format!("{message}\n"));
    #[cfg(not(target_os = "linux"))]
    let _ = message;
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{c_int, c_void};
    use std::mem;
    use std::ptr;
    use std::sync::OnceLock;

    /// What is said, made beforehand: a handler may not allocate.
    static MESSAGE: OnceLock<String> = OnceLock::new();

    pub(super) fn install(message: String) {
        if MESSAGE.set(message).is_err() {
            return;
        }
        // SAFETY: a zeroed `sigaction` is a value of the type; all fields that count are set before it is used.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = on_bus as *const () as usize;
        // On the stack that Rust's threads have for signals, should the usual one be full.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler has the type that SA_SIGINFO asks for, and calls nothing but functions that may be called in
        // a handler. It replaces the one of Rust's standard library, which on Linux waits for SIGSEGV of a full stack.
        unsafe {
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
        }
    }

    extern "C" fn on_bus(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
        // SAFETY: the system gives a handler of SA_SIGINFO the signal's facts.
        let code = unsafe { (*info).si_code };
        let lost = matches!(
            code,
            libc::BUS_ADRERR | libc::BUS_MCEERR_AR | libc::BUS_MCEERR_AO
        );
        // SAFETY: write, _exit, signal and raise may be called in a handler; the message is whole, since it was set before
        // the handler was installed.
        unsafe {
            if lost {
                let words = MESSAGE.get().map_or("", String::as_str);
                // Nobody can be told if this fails.
                let _ = libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len());
                libc::_exit(1);
            }
            // Sent by hand, or an access that is not aligned: what happens without a handler.
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}
