//! Descriptor tables and their limit.
//!
//! `RLIMIT_NOFILE` bounds a table, not a process, and threads share a table by default (clone(2), `CLONE_FILES`). Each
//! case, and each bulk client of a case, gets its own table, so concurrent cases do not share one limit.

use crate::notice::{note, skip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Once;

/// Descriptors of the suite's table that are not bulk connections: standard streams, the server's output, scrapes,
/// honest peers.
const RESERVE: usize = 64;
/// The most descriptors of one of its tables that a server keeps for itself.
const SERVER_RESERVE: usize = 112;

/// Raises the soft limit to the hard limit, which needs no privilege, and returns it.
pub(crate) fn limit() -> usize {
    static RAISE: Once = Once::new();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    RAISE.call_once(|| {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("raise the soft limit");
    });
    maximum.map_or(usize::MAX, |limit| limit.try_into().unwrap_or(usize::MAX))
}

/// Gives this thread, and the threads that it starts, a new table with only the standard streams.
///
/// Call it before the thread opens a descriptor, from a thread that uses none of another thread. Before Linux 5.9,
/// which introduced close_range(2), it does nothing.
pub(crate) fn own_table() {
    limit();
    const FIRST: libc::c_uint = 3;
    // SAFETY: the descriptors are closed in a copy of the table that only this thread owns, and it uses none of them.
    // The original table does not change.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) };
}

/// `wanted` connections, or as many as fit in one table, with a notice.
pub(crate) fn room(wanted: usize) -> usize {
    fitting(wanted, limit().saturating_sub(RESERVE))
}

/// The same, bounded also by the one table of a server with one shard.
pub(crate) fn shard_room(wanted: usize) -> usize {
    fitting(wanted, limit().saturating_sub(RESERVE.max(SERVER_RESERVE)))
}

/// The same for a case that needs `least` connections: `None`, with a notice, if fewer fit.
pub(crate) fn room_for_at_least(wanted: usize, least: usize) -> Option<usize> {
    match limit().saturating_sub(RESERVE) {
        room if room < least.min(wanted) => {
            skip(&format!("{least} connections need more than RLIMIT_NOFILE, {}", limit()))
        }
        _ => Some(room(wanted)),
    }
}

fn fitting(wanted: usize, room: usize) -> usize {
    if wanted > room {
        note(&format!("scaled down: {room} of {wanted} connections, because RLIMIT_NOFILE is {}", limit()));
    }
    wanted.min(room)
}

/// Flags for a server that must hold `connections`: in two shards if they fit, else in as many as the server chooses.
pub(crate) fn flags_for(connections: usize) -> Vec<String> {
    let mut flags = vec!["--max-connections".to_string(), connections.to_string()];
    if connections <= limit() / 2 {
        // Half the limit, because SO_REUSEPORT distributes connections unevenly.
        flags.extend(["--shards", "2"].map(String::from));
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;
    use std::thread;

    #[test]
    fn a_new_table_has_no_descriptor_of_the_old_one() {
        let others = File::open("/dev/null").expect("/dev/null");
        let number = others.as_raw_fd();
        let open = move || fs::read_link(format!("/proc/thread-self/fd/{number}")).is_ok();
        assert!(open());
        let seen = thread::spawn(move || {
            own_table();
            open()
        });
        assert!(!seen.join().expect("no panic"), "in the new table");
        assert!(open(), "in the original table");
    }

    #[test]
    fn connections_are_bounded_by_the_limit() {
        assert_eq!(fitting(100, 200), 100);
        assert_eq!(fitting(1_500, 928), 928);
        assert!(room(usize::MAX) < limit());
    }
}
