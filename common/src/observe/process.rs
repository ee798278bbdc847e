//! The standard `process_*` metrics, over all descriptor tables (proc(5)).

use crate::families::{MetricFamily, counter, gauge};
use procfs::process::{LimitValue, Process};
use std::collections::HashSet;
use std::{fs, process};

/// Resident memory, in bytes, up to which it is measured exactly.
const EXACT_UP_TO_BYTES: u64 = 256 << 20;

/// With more threads than this, exact figures are slow: more than shards are for 3,000,000 connections.
const EXACT_UP_TO_THREADS: i64 = 200;

/// The standard `process_*` metrics. `shard_threads` are the threads that each have a descriptor table of their own.
///
/// A figure that /proc does not give (it may be mounted with `hidepid`) is left out.
pub fn families(shard_threads: impl Iterator<Item = u32>) -> Vec<MetricFamily> {
    let tables: HashSet<u32> = shard_threads.filter(|&id| id != 0).chain([process::id()]).collect();
    let open_fds: u64 = tables.iter().map(|&thread| open_descriptors(thread)).sum();
    let mut families = vec![gauge("process_open_fds", "Open descriptors, all tables", open_fds as f64)];
    let Ok(me) = Process::myself() else { return families };
    if let Ok(limits) = me.limits()
        && let LimitValue::Value(limit) = limits.max_open_files.soft_limit
    {
        let all = limit as f64 * tables.len() as f64;
        families.push(gauge("process_max_fds", "Descriptors at most, all tables", all));
    }
    if let Some(rss) = resident_bytes(EXACT_UP_TO_BYTES) {
        families.push(gauge("process_resident_memory_bytes", "Resident memory", rss as f64));
    }
    if let Ok(stat) = me.stat() {
        let ticks = procfs::ticks_per_second() as f64;
        families.push(gauge("process_virtual_memory_bytes", "Virtual memory", stat.vsize as f64));
        families.push(gauge("process_threads", "OS threads", stat.num_threads as f64));
        let cpu_s = (stat.utime + stat.stime) as f64 / ticks;
        families.push(counter("process_cpu_seconds_total", "User and system time", cpu_s));
        if let Ok(boot) = procfs::boot_time_secs() {
            let start = boot as f64 + stat.starttime as f64 / ticks;
            families.push(gauge("process_start_time_seconds", "Start, since the epoch", start));
        }
    }
    families
}

/// Resident memory, in bytes. Before Linux 6.16, statm is off by up to a batch of pages per CPU. smaps_rollup is exact, but
/// walks every page, which takes a tenth of a second per gigabyte during a storm. It also contends for a lock with threads
/// that create mappings: with a thread per connection, for seconds. So it is read only where it matters and is quick.
pub(crate) fn resident_bytes(exact_up_to_bytes: u64) -> Option<u64> {
    let me = Process::myself().ok()?;
    let about = me.statm().ok()?.resident * procfs::page_size();
    if about > exact_up_to_bytes || me.stat().ok()?.num_threads > EXACT_UP_TO_THREADS {
        return Some(about);
    }
    let exact = me.smaps_rollup().ok().and_then(|rollup| {
        rollup.memory_map_rollup.iter().find_map(|map| map.extension.map.get("Rss").copied())
    });
    exact.or(Some(about))
}

/// Descriptors open in the table of a thread. Since Linux 6.2 the directory's size is their number; before, it is
/// zero and they are listed.
fn open_descriptors(thread: u32) -> u64 {
    let path = format!("/proc/self/task/{thread}/fd");
    match fs::metadata(&path) {
        Ok(directory) if directory.len() > 0 => directory.len(),
        _ => fs::read_dir(&path).map_or(0, |entries| entries.count() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::table::unshare_table;
    use rustix::thread::gettid;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::thread;

    #[test]
    fn counts_what_is_open() {
        let kept = File::open("/dev/null").unwrap();
        // In a table of its own, as other tests open and close at the same time.
        thread::scope(|scope| {
            scope.spawn(|| {
                unshare_table(kept.as_fd()).unwrap();
                let me = gettid().as_raw_nonzero().get() as u32;
                let before = open_descriptors(me);
                let files: Vec<File> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
                assert_eq!(open_descriptors(me), before + 100);
                drop(files);
                assert_eq!(open_descriptors(me), before);
            });
        });
    }
}
