//! What is freed goes back to the kernel.
//!
//! The C library would keep it for the next use, in five places (malloc(3), mallopt(3), malloc_trim(3); glibc alone):
//! - Large buffers, in a heap: they are mapped one by one instead, and go back one by one.
//! - Up to seven buffers of every size up to 1 KiB, in a cache that each thread has. Each keeps the page that it happens to
//!   lie on, a different one after each peak. The cache is off; echoes are as fast without it.
//! - What is smaller than 128 bytes and was freed last, apart from the rest: at the top of a heap it keeps all that is free
//!   below it, and malloc_trim(3) joins the two but does not give the top back. Such buffers join the rest at once.
//! - Up to 128 KiB at the top of every heap, of which there are eight a core where there are many threads. There are no more
//!   than threads that do not come and go.
//! - Free pages below that: one buffer that is still needed, high up, keeps all that was freed. They go back when somebody
//!   asks, and that is done once the server is quiescent.

use crate::metrics::Metrics;
use procfs::process::Process;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::time::Duration;
use std::{env, io};

/// A large buffer, in bytes. Below 256 KiB a long message of everyday size would have its pages anew each time, and stage 4 would
/// echo those of 64 KiB at two fifths of the pace. Unless it is told a number (mallopt(3), `M_MMAP_THRESHOLD`), the C
/// library takes the largest that it has freed: then what one message leaves in a heap is not wholly of use to the next.
#[cfg(target_env = "gnu")]
const LARGE_LEN: libc::c_int = 256 * 1024;

/// Threads beside the shards: the main thread, that of the admin server, the one for signals, and that of the log.
#[cfg(target_env = "gnu")]
const OTHER_THREADS: usize = 4;

/// Where the C library looks for its settings when a program starts, and the one for no cache (ld.so(8)).
const TUNABLES: &str = "GLIBC_TUNABLES";
const NO_CACHE: &str = "glibc.malloc.tcache_count=0";

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Quiescent: the last second saw at most one part in so many of the events since the last trim. A server that never is
/// trims once a minute.
const QUIESCENT: u64 = 60;

/// Has the C library cache nothing. To be called first: the program begins once more, for that can only be set at its
/// start. Whoever has set `GLIBC_TUNABLES` decides alone.
///
/// # Errors
/// Why it cannot begin again: then there are caches.
pub(crate) fn cache_nothing() -> io::Result<()> {
    if cfg!(target_env = "gnu") && env::var_os(TUNABLES).is_none() && !is_secure() {
        return Err(begin_again());
    }
    Ok(())
}

/// Has the C library keep few heaps, no large buffer, and no small one apart. To be called before a thread is started.
#[cfg(target_env = "gnu")]
pub(crate) fn keep_little(shards: usize) {
    let heaps = libc::c_int::try_from(shards + OTHER_THREADS).unwrap_or(libc::c_int::MAX);
    // SAFETY: takes no pointer; and no other thread is there yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_LEN);
        libc::mallopt(libc::M_ARENA_MAX, heaps);
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_little(_shards: usize) {}

/// Whether the program has more rights than who started it, and so is not told the settings (getauxval(3), `AT_SECURE`).
fn is_secure() -> bool {
    const AT_SECURE: u64 = 23;
    let told = Process::myself().and_then(|me| me.auxv());
    told.map_or(true, |told| told.get(&AT_SECURE) != Some(&0))
}

/// Returns only where it cannot.
fn begin_again() -> io::Error {
    let mut args = env::args_os();
    match env::current_exe() {
        Ok(program) => Command::new(program)
            .arg0(args.next().unwrap_or_default())
            .args(args)
            .env(TUNABLES, NO_CACHE)
            .exec(),
        Err(error) => error,
    }
}

/// Waits for a message, and trims the heap meanwhile whenever the server is quiescent.
///
/// # Errors
/// If no message can come any more.
pub(crate) fn receive<T>(
    from: &Receiver<T>,
    metrics: &Metrics,
    trim_policy: &mut TrimPolicy,
) -> Result<T, RecvError> {
    loop {
        match from.recv_timeout(LOOK_EVERY) {
            Ok(message) => return Ok(message),
            Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
            Err(RecvTimeoutError::Timeout) => {
                if trim_policy.is_quiescent(metrics.totals().happened()) {
                    return_freed_memory();
                }
            }
        }
    }
}

/// Gives the pages of the heap that are free back to the kernel (malloc_trim(3)). It takes a tenth of a second where 100,000
/// connections have gone, in which whoever allocates waits; where nothing was freed, a tenth of a millisecond.
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and locks each arena while it looks at it.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// When to trim: the events that may free memory (connections closed or rejected, messages), as counted at earlier looks.
#[derive(Default)]
pub(crate) struct TrimPolicy {
    at_last_look: u64,
    at_last_return: u64,
}

impl TrimPolicy {
    /// Whether to trim now, after so many events have `happened`. Asked once a second.
    fn is_quiescent(&mut self, happened: u64) -> bool {
        let (lately, in_all) = (happened - self.at_last_look, happened - self.at_last_return);
        self.at_last_look = happened;
        let quiescent = in_all > 0 && lately * QUIESCENT <= in_all;
        if quiescent {
            self.at_last_return = happened;
        }
        quiescent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which memory is returned, where so much happens in each.
    fn returned(happens: &[u64]) -> Vec<usize> {
        let (mut trim_policy, mut happened) = (TrimPolicy::default(), 0);
        let mut is_quiescent = |&now: &u64| {
            happened += now;
            trim_policy.is_quiescent(happened)
        };
        (0..happens.len()).filter(|&second| is_quiescent(&happens[second])).collect()
    }

    #[test]
    fn memory_is_returned_once_after_a_peak_and_not_in_it() {
        assert_eq!(returned(&[0, 50_000, 50_000, 40_000, 0, 0, 0]), [4]);
        assert_eq!(returned(&[0, 50_000, 50_000, 40_000, 0, 100, 0, 0]), [4, 6], "and for what came late");
        assert!(returned(&[0; 30]).is_empty());
    }

    #[test]
    fn where_it_is_never_quiescent_memory_is_returned_once_a_minute() {
        assert_eq!(returned(&[1_000; 180]), [59, 119, 179]);
    }
}
