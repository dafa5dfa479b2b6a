//! The allocator's settings for a command that runs large models.

/// Makes large blocks go back to the system when they are freed, instead of staying with the process for the next one.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE: i32 = 4 << 20;
        // glibc would raise the size from which on it does so with every such block that is freed, up to 32 MiB.
        // SAFETY: sets a number of the allocator, before any other thread runs.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        }
    }
}
