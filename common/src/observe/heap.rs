//! Returns freed memory to the kernel.
//!
//! glibc would retain it in five places (malloc(3), mallopt(3), malloc_trim(3)):
//! - Large buffers, in a heap. Here they are mapped one by one, and unmapped when freed.
//! - Thread caches: each thread keeps up to seven buffers of every size up to 1 KiB. Each pins its page, a different one
//!   after each peak. Here the caches are off; echoes are as fast without them.
//! - Fast bins: freed buffers below 128 bytes, kept apart from the rest. One at the top of a heap pins all free memory below
//!   it; malloc_trim(3) merges the two but does not return the top. Here they are off, and such buffers merge at once.
//! - Up to 128 KiB at the top of every heap, and with many threads there are eight heaps per core. Here there are no more
//!   heaps than long-lived threads.
//! - Free pages below the top: one buffer in use above them pins them all. malloc_trim(3) returns them, and is called once
//!   the server is quiescent.

use crate::metrics::Metrics;
use procfs::process::Process;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::time::Duration;
use std::{env, io};

/// The size of a large buffer, in bytes. With a lower threshold, common message sizes would fault in new pages each time:
/// stage 4 would echo 64 KiB at two fifths of the rate. Without a fixed one (mallopt(3), `M_MMAP_THRESHOLD`), the C library
/// raises it to the largest buffer freed, and freed space in a heap is only partly reusable for the next message.
#[cfg(target_env = "gnu")]
const LARGE_LEN: libc::c_int = 256 * 1024;

/// Threads other than shards: main, admin server, signals, log.
#[cfg(target_env = "gnu")]
const OTHER_THREADS: usize = 4;

/// The variable with the C library's settings at program start, and the setting that disables the caches (ld.so(8)).
const TUNABLES: &str = "GLIBC_TUNABLES";
const NO_CACHE: &str = "glibc.malloc.tcache_count=0";

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Quiescent: this second saw at most 1/60 of the events since the last trim. A server that never is trims once per minute.
const QUIESCENT: u64 = 60;

/// Disables the C library's thread caches. Call it first: the setting is read only at program start, so the program
/// re-executes itself. A `GLIBC_TUNABLES` that is already set has precedence.
///
/// # Errors
/// The error of exec(2); the caches then stay on.
pub(crate) fn cache_nothing() -> io::Result<()> {
    if cfg!(target_env = "gnu") && env::var_os(TUNABLES).is_none() && !is_secure() {
        return Err(begin_again());
    }
    Ok(())
}

/// Limits the number of heaps, maps large buffers one by one, and disables fast bins. Call it before starting a thread.
#[cfg(target_env = "gnu")]
pub(crate) fn keep_little(shards: usize) {
    let heaps = libc::c_int::try_from(shards + OTHER_THREADS).unwrap_or(libc::c_int::MAX);
    // SAFETY: takes no pointer; and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_LEN);
        libc::mallopt(libc::M_ARENA_MAX, heaps);
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_little(_shards: usize) {}

/// Whether the program has more privileges than its caller, so that the C library ignores the settings (getauxval(3),
/// `AT_SECURE`).
fn is_secure() -> bool {
    const AT_SECURE: u64 = 23;
    let auxv = Process::myself().and_then(|me| me.auxv());
    auxv.map_or(true, |auxv| auxv.get(&AT_SECURE) != Some(&0))
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

/// Returns free heap pages to the kernel (malloc_trim(3)). After 100,000 connections have closed it takes a tenth of a
/// second, during which allocations block; if nothing was freed, a tenth of a millisecond.
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
    /// Whether to trim now. `happened` is the total of events; call it once per second.
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

    /// The seconds at which memory is returned, given the number of events in each second.
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
    fn a_server_that_is_never_quiescent_returns_memory_once_per_minute() {
        assert_eq!(returned(&[1_000; 180]), [59, 119, 179]);
    }
}
