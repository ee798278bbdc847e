//! The cores that this process may run on, and a thread that stays on one.
//!
//! Over loopback the kernel carries a segment to its receiver within the sender's own send(2), on the sender's core; a
//! network card with a queue for each core interrupts the one. Where a connection's owner runs on that same core, what the
//! kernel has just touched for it is in that core's cache, and nobody on another core has to be woken.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// The numbers of the cores that the calling thread may run on: at least one.
///
/// # Errors
/// The kernel's, as from sched_getaffinity(2): there are more than 1,024 of them.
pub fn available() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps the calling thread, and the threads it will spawn, on this core.
///
/// # Errors
/// The error of sched_setaffinity(2): the core is offline, or not in this process's set.
pub fn stay_on(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_stays_where_it_is_told_and_so_do_its_own() {
        let all = available().expect("cores");
        for &core in &all {
            let spawned = thread::spawn(move || {
                stay_on(core).expect("one of ours");
                thread::spawn(available).join().expect("no panic")
            });
            assert_eq!(spawned.join().expect("no panic").expect("cores"), [core]);
        }
        assert_eq!(available().expect("cores"), all, "of this thread nothing was said");
        assert!(stay_on(CpuSet::MAX_CPU - 1).is_err());
    }
}
