//! How many threads the machine lets this process have, and which limit says so.

use super::limits::threads_kept;
use crate::cgroup;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Entries of the memory map that a thread takes: its stack, the guard page below it, and the same again for the
/// stack on which Rust's runtime handles an overflow of the first.
const MAPS_PER_THREAD: u64 = 4;
/// Entries left free for everything else, such as the allocator's arenas: a thread that cannot have its second stack
/// would abort.
const MAPS_RESERVE: u64 = 512;

/// A limit of the machine on the connections that a stage can hold.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Connections.
    pub connections: usize,
    /// The limit's name, its value, and what a connection takes of it.
    pub because: String,
}

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

/// Threads of this process, with those that are exiting: a thread keeps its stacks after it has run, until the kernel has
/// removed it. `/proc/self/task` has a directory for each, and a directory has a link from each of its subdirectories.
pub fn in_this_process() -> u64 {
    fs::metadata("/proc/self/task").map_or(0, |tasks| tasks.nlink().saturating_sub(2))
}

/// All threads of all processes, from the fourth field of /proc/loadavg (proc(5)): `running/all`.
fn threads_on_the_machine() -> u64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split([' ', '/']).nth(4).and_then(|all| all.parse().ok()).unwrap_or(0)
}

/// `None` where there is no such file, or it says `max`.
fn number(path: PathBuf) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn a_thread_takes_no_more_maps_than_assumed() {
        const THREADS: usize = 200;
        let maps = || fs::read_to_string("/proc/self/maps").unwrap().lines().count() as u64;
        let (before, all_run, measured) = (maps(), Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let run = || {
                    all_run.wait();
                    measured.wait();
                };
                thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, run).unwrap();
            }
            all_run.wait();
            let taken = maps() - before;
            let alive = in_this_process();
            measured.wait();
            assert!(
                (THREADS as u64 + 1..THREADS as u64 + 100).contains(&alive),
                "{alive} of {THREADS} threads"
            );
            assert!(
                taken <= MAPS_PER_THREAD * THREADS as u64 + MAPS_RESERVE,
                "{taken} maps for {THREADS} threads"
            );
            assert!(
                taken > (MAPS_PER_THREAD - 2) * THREADS as u64,
                "{taken} maps for {THREADS} threads: MAPS_PER_THREAD is too high"
            );
        });
    }

    #[test]
    fn this_machine_has_a_limit_and_threads() {
        let bound = bound();
        assert!(bound.connections > 0 && bound.connections < 10_000_000, "{bound:?}");
        assert!(threads_on_the_machine() > 0);
    }
}
