//! Descriptors, of which the machine may allow few: each case, and each crowd of a case, has a table of its own, so
//! that those of cases that run at the same time do not add up.
//!
//! A table holds as many as `RLIMIT_NOFILE` says, and belongs to the threads that share it (clone(2), `CLONE_FILES`).

use crate::inject::{note, skip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Once;

/// Descriptors of a table that are no connections of a crowd: standard streams, a server's output, scrapes, honest
/// peers.
const RESERVE: usize = 64;
/// Descriptors of a table of a server's that it keeps for itself, at most.
const SERVER_RESERVE: usize = 112;

/// Raises the soft limit to the hard one, as any process may, and returns it.
pub(crate) fn limit() -> usize {
    static RAISE: Once = Once::new();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    RAISE.call_once(|| {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("as any process may");
    });
    maximum.map_or(usize::MAX, |limit| limit.try_into().unwrap_or(usize::MAX))
}

/// Gives this thread, and those that it will start, an empty table, but for the standard streams.
///
/// To be called before the thread has opened anything, and by a thread that uses no descriptor of another's. Where the
/// kernel has no such call (before Linux 5.9) the thread goes on with the table that it has.
pub(crate) fn own_table() {
    limit();
    const FIRST: libc::c_uint = 3;
    // SAFETY: closes descriptors in a table that this thread alone will own, of which it has used none; the others'
    // table stays as it is.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) };
}

/// Of `wanted` connections as many as one table has room for, with a line on stderr where these are fewer.
pub(crate) fn room(wanted: usize) -> usize {
    fitting(wanted, limit().saturating_sub(RESERVE))
}

/// The same for a server with one shard, which has one table for them.
pub(crate) fn room_of_a_shard(wanted: usize) -> usize {
    fitting(wanted, limit().saturating_sub(RESERVE.max(SERVER_RESERVE)))
}

/// As [`room`], where fewer than `least` show nothing: `None`, and a line on stderr.
pub(crate) fn room_for_at_least(wanted: usize, least: usize) -> Option<usize> {
    match limit().saturating_sub(RESERVE) {
        room if room < least.min(wanted) => {
            skip(&format!("{least} connections are more than RLIMIT_NOFILE of {} allows", limit()))
        }
        _ => Some(room(wanted)),
    }
}

fn fitting(wanted: usize, room: usize) -> usize {
    if wanted > room {
        note(&format!("scaled down: {room} connections of {wanted}, as RLIMIT_NOFILE is {}", limit()));
    }
    wanted.min(room)
}

/// Flags for a server with room for so many connections: in two shards, or in as many as it takes under the limit.
pub(crate) fn flags_for(connections: usize) -> Vec<String> {
    let mut flags = vec!["--max-connections".to_string(), connections.to_string()];
    if connections <= limit() / 2 {
        // The kernel deals connections out unevenly.
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
    fn a_case_sees_no_descriptor_of_another() {
        let others = File::open("/dev/null").expect("/dev/null");
        let number = others.as_raw_fd();
        let open = move || fs::read_link(format!("/proc/thread-self/fd/{number}")).is_ok();
        assert!(open());
        let seen = thread::spawn(move || {
            own_table();
            open()
        });
        assert!(!seen.join().expect("no panic"), "in a table of its own");
        assert!(open(), "in the table of the others");
    }

    #[test]
    fn no_more_than_there_is_room_for() {
        assert_eq!(fitting(100, 200), 100);
        assert_eq!(fitting(1_500, 928), 928);
        assert!(room(usize::MAX) < limit());
    }
}
