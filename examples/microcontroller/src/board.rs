//! What an operating system does elsewhere: memory, output through the debugger, and an end.

use core::fmt::Write as _;
use core::panic::PanicInfo;

use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hio;
use embedded_alloc::LlffHeap;

/// Bytes that sessions may take.
const HEAP: usize = 1 << 20;

#[global_allocator]
static MEMORY: LlffHeap = LlffHeap::empty();

#[entry]
fn main() -> ! {
    // SAFETY: called once, before anything allocates; nothing else uses this memory.
    unsafe {
        embedded_alloc::init!(MEMORY, HEAP);
    }
    let done = hio::hstdout().map(|mut out| match crate::answers::write(&mut out) {
        Ok(()) => true,
        Err(fault) => {
            let _ = writeln!(out, "{fault}");
            false
        }
    });
    debug::exit(if done == Ok(true) {
        EXIT_SUCCESS
    } else {
        EXIT_FAILURE
    });
    loop {}
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    if let Ok(mut out) = hio::hstdout() {
        let _ = writeln!(out, "{info}");
    }
    debug::exit(EXIT_FAILURE);
    loop {}
}
