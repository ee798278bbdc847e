//! A descriptor table of its own for a thread.
//!
//! `RLIMIT_NOFILE` bounds the *numbers* a descriptor table may hold, and a table belongs to the threads that
//! share it, not to the process (clone(2), `CLONE_FILES`). A thread that unshares its table therefore gets the
//! whole limit for itself: fifty threads under a limit of 20,000 hold a million sockets, with no privilege.
//!
//! The trap: a descriptor number means something else in another table. Writing to another thread's waker
//! (an eventfd) reaches the wrong file, silently. What wakes a shard from outside must have been open *before*
//! its table was split, so that both tables know it under the same number.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Gives the calling thread, and the threads it will spawn, a descriptor table of its own.
///
/// Descriptors up to and including `last_kept` stay open in it under their numbers; all above are closed in the
/// new table only. `close_range(CLOSE_RANGE_UNSHARE)` does both at once (Linux 5.9, and allowed by container
/// profiles that forbid unshare(2)); an older kernel gets `unshare(CLONE_FILES)`, which copies the whole table.
///
/// # Errors
/// The kernel's, where it allows neither call.
pub fn unshare_table(last_kept: BorrowedFd<'_>) -> io::Result<()> {
    let first_closed = last_kept.as_raw_fd() as libc::c_uint + 1;
    // SAFETY: closes descriptors in a table that this thread alone will own: no object of this thread holds one
    // above `last_kept`, since a shard opens its first descriptor after this call, and those of other threads
    // live on in the table they share.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, first_closed, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
    if result == 0 {
        return Ok(());
    }
    // SAFETY: takes no pointer; the thread goes on with a copy of the table, in which every number is as it was.
    match unsafe { libc::unshare(libc::CLONE_FILES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};
    use std::fs::File;
    use std::thread;

    #[test]
    fn a_split_table_keeps_what_was_open_and_shares_nothing_new() {
        let kept = eventfd(0, EventfdFlags::CLOEXEC).expect("eventfd");
        // Above the kept one, whatever other tests close meanwhile.
        let above = kept.as_raw_fd() + 1;
        let closed_there = File::from(rustix::io::fcntl_dupfd_cloexec(&kept, above).expect("a second one"));
        thread::scope(|scope| {
            scope.spawn(|| {
                unshare_table(kept.as_fd()).expect("unshare");
                rustix::io::write(&kept, &1u64.to_ne_bytes()).expect("the kept one is the same eventfd");
                let number = closed_there.as_raw_fd();
                assert!(std::fs::read_link(format!("/proc/thread-self/fd/{number}")).is_err());
            });
        });
        let mut count = [0; 8];
        rustix::io::read(&kept, &mut count).expect("read");
        assert_eq!(u64::from_ne_bytes(count), 1);
        closed_there.metadata().expect("still open in this table");
    }

    use std::os::fd::AsFd;
}
