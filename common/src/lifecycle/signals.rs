//! SIGTERM, SIGINT and SIGHUP, with no handler.
//!
//! A handler runs on whichever thread the kernel picks, in that thread's descriptor table: one that writes to a
//! pipe, as most libraries do, would write to whatever file has that number there. So the signals stay blocked in
//! all threads, and one thread waits for them (sigwait(3)).

use crate::pace::DrainPace;
use crate::shutdown::Shutdown;
use std::{io, mem, process, ptr, thread};

/// The signals, blocked in this thread and those it starts from now on.
pub(crate) struct Blocked(libc::sigset_t);

/// Blocks SIGTERM, SIGINT, and SIGHUP unless it is ignored, as by nohup(1).
pub(crate) fn block() -> Blocked {
    // SAFETY: sigemptyset initialises the set that the other calls read; a zeroed sigset_t is a valid place for it, and
    // a zeroed sigaction for what sigaction(2) tells of the present one.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        let mut hangup: libc::sigaction = mem::zeroed();
        libc::sigaction(libc::SIGHUP, ptr::null(), &mut hangup);
        if hangup.sa_sigaction != libc::SIG_IGN {
            libc::sigaddset(&mut set, libc::SIGHUP);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        Blocked(set)
    }
}

impl Blocked {
    /// Begins the drain on the first signal; ends the process on the second. A terminal that closes may send SIGHUP twice,
    /// by the kernel and by its shell: the second SIGHUP does not count.
    pub(crate) fn on_first(
        self,
        shutdown: Shutdown,
        pace: impl FnOnce() -> DrainPace + Send + 'static,
    ) -> io::Result<()> {
        thread::Builder::new().name("signals".into()).spawn(move || {
            self.wait();
            let pace = pace();
            let over = pace.over();
            shutdown.begin(pace);
            tracing::info!("draining: closing connections over {over:.1?}; a second signal ends it at once");
            loop {
                match self.wait() {
                    libc::SIGHUP => {}
                    signal => process::exit(128 + signal),
                }
            }
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
