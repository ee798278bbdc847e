//! SIGTERM and SIGINT, with no handler.
//!
//! A handler runs on whichever thread the kernel picks, in that thread's descriptor table: one that writes to a
//! pipe, as most libraries do, would write to whatever file has that number there. So the signals stay blocked in
//! all threads, and one thread waits for them (sigwait(3)).

use crate::shutdown::Shutdown;
use std::{io, mem, process, ptr, thread};

/// The signals, blocked in this thread and those it starts from now on.
pub(crate) struct Blocked(libc::sigset_t);

/// Blocks SIGTERM and SIGINT.
pub(crate) fn block() -> Blocked {
    // SAFETY: sigemptyset initialises the set that the other calls read; a zeroed sigset_t is a valid place for it.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        Blocked(set)
    }
}

impl Blocked {
    /// Begins the drain on the first signal; ends the process on the second.
    pub(crate) fn on_first(self, shutdown: Shutdown) -> io::Result<()> {
        thread::Builder::new().name("signals".into()).spawn(move || {
            self.wait();
            tracing::info!("draining; a second signal ends it at once");
            shutdown.begin();
            process::exit(128 + self.wait());
        })?;
        Ok(())
    }

    fn wait(&self) -> i32 {
        let mut signal = 0;
        // SAFETY: both point to what lives through the call.
        while unsafe { libc::sigwait(&self.0, &mut signal) } != 0 {}
        signal
    }
}
