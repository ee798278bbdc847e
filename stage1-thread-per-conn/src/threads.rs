//! How many threads the machine lets this process have, and which limit says so.

use common::limits::threads_kept;
use common::{Bound, cgroup};
use std::fs;
use std::path::{Path, PathBuf};

/// Entries of the memory map that a thread takes: its stack, the guard page below it, and the same again for the
/// stack on which Rust's runtime handles an overflow of the first.
pub const MAPS_PER_THREAD: u64 = 4;
/// Entries left free for everything else, such as the allocator's arenas: a thread that cannot have its second stack
/// would abort.
pub const MAPS_RESERVE: u64 = 512;

/// The limit that connections meet first, counting what other processes have at the moment.
pub fn bound() -> Bound {
    let maps_now = fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count() as u64);
    let threads_now = threads_on_the_machine();
    let sysctl = |name: &str| number(Path::new("/proc/sys").join(name));
    let group = cgroup::pids(Path::new("/proc"), Path::new("/sys"));
    let counted = |limit: Option<u64>, in_use| limit.map(|limit| (limit, in_use + threads_kept(limit), 1));
    let limits = [
        (
            "vm.max_map_count",
            sysctl("vm/max_map_count").map(|limit| (limit, maps_now + MAPS_RESERVE, MAPS_PER_THREAD)),
        ),
        ("kernel.pid_max", counted(sysctl("kernel/pid_max"), threads_now)),
        ("kernel.threads-max", counted(sysctl("kernel/threads-max"), threads_now)),
        ("pids.max of the control group", group.and_then(|group| counted(Some(group.limit), group.in_use))),
    ];
    let known = limits.into_iter().filter_map(|(name, limit)| {
        let (limit, taken, each) = limit?;
        let because = match each {
            1 => format!("{name} = {limit}: a thread each, {taken} taken or kept free"),
            _ => format!("{name} = {limit}: {each} each, {taken} taken or kept free"),
        };
        Some(Bound { connections: (limit.saturating_sub(taken) / each) as usize, because })
    });
    known
        .min_by_key(|bound| bound.connections)
        .unwrap_or(Bound { connections: usize::MAX, because: "no limit that /proc knows".into() })
}

/// All threads of all processes, from the fourth field of /proc/loadavg (proc(5)): `running/all`.
pub fn threads_on_the_machine() -> u64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split([' ', '/']).nth(4).and_then(|all| all.parse().ok()).unwrap_or(0)
}

/// `None` where there is no such file, or it says `max`.
fn number(path: PathBuf) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
