//! A process as the kernel reports it (proc(5)).

use crate::wait;
use std::fs;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Resident memory in bytes, from `smaps_rollup`, which is exact. `VmRSS` of `status` is not.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let text =
        fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup of a living server");
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).expect("a line with Rss");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("Rss in kB") * 1024
}

/// Waits until its resident memory exceeds `before` bytes by an amount in `by`.
#[track_caller]
pub(crate) fn has_grown(pid: u32, before: u64, by: impl RangeBounds<u64>) {
    let range = format!("{:?} to {:?} bytes more than before", by.start_bound(), by.end_bound());
    wait::until(&range, || match resident_bytes(pid).saturating_sub(before) {
        grown if by.contains(&grown) => Ok(()),
        grown => Err(format!("{grown} bytes more")),
    });
}

/// An environment variable that it was started with.
pub(crate) fn variable(pid: u32, name: &str) -> Option<String> {
    let all = fs::read_to_string(format!("/proc/{pid}/environ")).expect("environ of a living server");
    all.split('\0').find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

/// The number of its threads.
pub(crate) fn threads(pid: u32) -> usize {
    tasks(pid).count()
}

/// The directories of its threads.
fn tasks(pid: u32) -> impl Iterator<Item = PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("tasks of a living server");
    tasks.flatten().map(|task| task.path())
}

/// The id of the thread of a server's only shard. Call it before the first connection: a thread per connection would
/// have the same name.
pub(crate) fn shard_thread(pid: u32) -> u32 {
    let is_shard =
        |task: &Path| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("shard-"));
    let mut shards = tasks(pid).filter(|task| is_shard(task));
    let shard = shards.next().expect("a thread named shard-0");
    assert!(shards.next().is_none(), "one shard, and no connection yet");
    shard.file_name().and_then(|id| id.to_str()?.parse().ok()).expect("a thread id")
}

/// Voluntary context switches of its thread with this name: how often it has blocked.
pub(crate) fn blocks_of(pid: u32, name: &str) -> u64 {
    let named = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
    let thread = tasks(pid).find(named).unwrap_or_else(|| panic!("expected a thread {name}"));
    let status = fs::read_to_string(thread.join("status")).expect("status of a living thread");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a line with voluntary_ctxt_switches")
}

/// The cores on which this thread may run.
pub(crate) fn cores() -> Vec<u32> {
    allowed(&fs::read_to_string("/proc/thread-self/status").expect("status of this thread"))
}

/// The cores on which each of its threads may run whose name begins with `name`.
pub(crate) fn cores_of(pid: u32, name: &str) -> Vec<Vec<u32>> {
    let status = tasks(pid).filter_map(|task| fs::read_to_string(task.join("status")).ok());
    let named = |status: &String| {
        status.lines().next().is_some_and(|line| line.trim_start_matches("Name:").trim().starts_with(name))
    };
    status.filter(named).map(|status| allowed(&status)).collect()
}

/// `Cpus_allowed_list` of a status, such as `0-2,5`.
fn allowed(status: &str) -> Vec<u32> {
    let list =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a line with it");
    let number = |text: &str| text.trim().parse::<u32>().expect("a core's number");
    let range = |range: &str| match range.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(range)..=number(range),
    };
    list.trim().split(',').flat_map(range).collect()
}

/// The number of open descriptors, summed over its threads, because each thread may have its own table. A shared table
/// counts once per thread.
pub(crate) fn descriptors(pid: u32) -> usize {
    tasks(pid).filter_map(|task| fs::read_dir(task.join("fd")).ok()).map(Iterator::count).sum()
}

/// CPU seconds that it has used, user and system. Resolution: 1/100 s (`USER_HZ`).
fn cpu_s(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat of a living server");
    let (_, after_name) = text.rsplit_once(')').expect("a name in parentheses");
    let ticks = |field| after_name.split_whitespace().nth(field).and_then(|ticks| ticks.parse::<f64>().ok());
    (ticks(11).expect("utime") + ticks(12).expect("stime")) / 100.0
}

/// Expects it to use almost no CPU time for 0.3 s: to block, not to spin.
#[track_caller]
pub(crate) fn does_not_spin(pid: u32) {
    let before = cpu_s(pid);
    thread::sleep(Duration::from_millis(300));
    let used = cpu_s(pid) - before;
    assert!(used <= 0.1, "expected: at most 0.1 s of CPU time in 0.3 s; got: {used} s");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let pid = std::process::id();
        assert!(resident_bytes(pid) > 100_000);
        assert!(threads(pid) >= 1);
        assert!(descriptors(pid) >= 3);
        assert!(cpu_s(pid) >= 0.0);
        let builder = thread::Builder::new().name("blocks".into());
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        // The new thread sets its own name, so wait until it runs.
        let (started, named) = std::sync::mpsc::channel();
        let run = move || {
            started.send(()).expect("a receiver");
            wait.recv()
        };
        let blocked = builder.spawn(run).expect("a thread");
        named.recv().expect("it runs");
        wait::until("a thread blocks", || match blocks_of(pid, "blocks") {
            0 => Err("it has not".into()),
            _ => Ok(()),
        });
        drop(stop);
        blocked.join().expect("no panic").expect_err("nothing was sent");
    }
}
