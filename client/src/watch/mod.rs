//! Observes a server from outside: its process in /proc, and its `/metrics`.

mod listener;
mod mappings;
mod metrics;
mod perf;
mod processors;

pub use common::kernel::{KernelMemory, Owner, Slab, tcp_sockstat};
pub use listener::{Listens, doubt, listens};
pub use mappings::{Kind, resident_bytes};
pub use metrics::Metrics;
pub use perf::InstructionCount;
pub use processors::busy as processors_busy;

use anyhow::{Context, Result};
use procfs::FromRead;
use procfs::process::{SmapsRollup, Stat};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process in /proc.
#[derive(Clone, Debug)]
pub struct Watched {
    directory: PathBuf,
    /// Its CPU-time clock, which has nanoseconds where /proc has ticks; `None` if it has none.
    clock: Option<libc::clockid_t>,
}

/// A sample of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Resident memory: `Rss` in smaps_rollup, which is exact. `VmRSS` in status sums per-CPU counters and may be off by
    /// a batch of pages per CPU.
    pub rss_bytes: u64,
    /// OS threads.
    pub threads: u64,
    /// CPU time of all threads, including terminated ones.
    pub cpu: Duration,
    /// The same in clock ticks, user space and kernel: coarse, but the only source that separates the two.
    pub ticks: (u64, u64),
    /// Its page tables (`VmPTE`).
    pub page_table_bytes: u64,
}

impl Watched {
    /// The process with this id.
    pub fn new(pid: u32) -> Self {
        Self { clock: cpu_clock(pid), ..Self::under(Path::new("/proc"), pid) }
    }

    /// The same under another root than /proc, without the CPU-time clock.
    pub fn under(proc: &Path, pid: u32) -> Self {
        Self { directory: proc.join(pid.to_string()), clock: None }
    }

    /// Samples the process.
    ///
    /// # Errors
    /// If the process has ended, or belongs to another user.
    pub fn read(&self) -> Result<Reading> {
        let file = |name: &str| self.directory.join(name);
        let context = || format!("cannot read {}: has the process ended?", self.directory.display());
        let stat = Stat::from_file(file("stat")).with_context(context)?;
        let by_ticks =
            || Duration::from_secs_f64((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64);
        Ok(Reading {
            rss_bytes: rss_bytes(&file("smaps_rollup")).with_context(context)?,
            threads: stat.num_threads.max(0) as u64,
            cpu: self.clock.and_then(time_of).unwrap_or_else(by_ticks),
            ticks: (stat.utime, stat.stime),
            page_table_bytes: page_table_bytes(&fs::read_to_string(file("status")).with_context(context)?),
        })
    }
}

/// A process's CPU-time clock (clock_getcpuclockid(3)).
fn cpu_clock(pid: u32) -> Option<libc::clockid_t> {
    let mut clock = 0;
    // SAFETY: writes one clockid_t to where the pointer says, which lives through the call.
    let error = unsafe { libc::clock_getcpuclockid(libc::pid_t::try_from(pid).ok()?, &mut clock) };
    (error == 0).then_some(clock)
}

/// A clock's time; `None` if its process has ended.
fn time_of(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec to where the pointer says, which lives through the call.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

fn rss_bytes(path: &Path) -> Result<u64> {
    let rollup = SmapsRollup::from_file(path)?;
    let map = rollup.memory_map_rollup.into_iter().next().context("smaps_rollup is empty")?;
    map.extension.map.get("Rss").copied().context("smaps_rollup has no Rss")
}

/// `VmPTE` in /proc/PID/status in bytes; 0 if missing.
fn page_table_bytes(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmPTE:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    #[test]
    fn reads_a_process_under_another_root() {
        let root = std::env::temp_dir().join(format!("client-watch-{}", process::id()));
        let directory = root.join("42");
        fs::create_dir_all(&directory).expect("a directory");
        let rollup = "55d0c0a00000-7ffc1f5f9000 ---p 00000000 00:00 0 [rollup]\nRss:            12 kB\nPss:             9 kB\n";
        fs::write(directory.join("smaps_rollup"), rollup).expect("written");
        let ticks = procfs::ticks_per_second();
        let stat = format!(
            "42 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 {} {} 0 0 20 0 7 0 100 200 300 {}\n",
            3 * ticks,
            ticks / 2,
            "0 ".repeat(27).trim_end()
        );
        fs::write(directory.join("stat"), stat).expect("written");
        fs::write(directory.join("status"), "Name:\tx\nVmPTE:\t      56 kB\nThreads:\t7\n").expect("written");
        let reading = Watched::under(&root, 42).read().expect("a reading");
        let expected = Reading {
            rss_bytes: 12 * 1024,
            threads: 7,
            cpu: Duration::from_millis(3_500),
            ticks: (3 * ticks, ticks / 2),
            page_table_bytes: 56 * 1024,
        };
        assert_eq!(reading, expected);
        fs::remove_dir_all(&root).expect("removed");
    }

    #[test]
    fn reads_itself_and_sees_memory_grow() {
        let me = Watched::new(process::id());
        let before = me.read().expect("a reading");
        let block = vec![1u8; 256 << 20];
        let after = me.read().expect("a reading");
        // Other tests free memory at the same time.
        assert!(after.rss_bytes > before.rss_bytes + (64 << 20), "{before:?} {after:?}");
        assert!(after.threads >= 1 && block[12_345] == 1);
        assert!(after.cpu > before.cpu, "{before:?} {after:?}");
    }

    #[test]
    fn reports_a_process_that_has_ended() {
        let error = Watched::new(u32::MAX).read().unwrap_err();
        assert!(error.to_string().contains("has the process ended?"), "{error}");
    }
}
