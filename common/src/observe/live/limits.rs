//! The limits that a server approaches, as far as reading them costs little.

use super::Live;
use crate::kernel::tcp_sockstat;
use crate::memory::Memory;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// A limit, and how much of it is taken.
#[derive(Serialize)]
pub(super) struct Limit {
    name: &'static str,
    taken: f64,
    limit: f64,
    bytes: bool,
}

/// All limits that can be read here; `fullest` is how many connections the fullest shard has.
pub(super) fn all(live: &Live, connections: u64, fullest: u64, processors: &mut Processors) -> Vec<Limit> {
    let Live { metrics, .. } = live;
    let budget = &metrics.budget;
    let page = procfs::page_size() as f64;
    let memory = Memory::now().map(|Memory { total, available }| [(total - available) as f64, total as f64]);
    let tcp = last_number("/proc/sys/net/ipv4/tcp_mem")
        .map(|pages| [tcp_sockstat(Path::new("/proc"), "mem") as f64 * page, pages * page]);
    let files = first_number("/proc/sys/fs/file-nr").zip(last_number("/proc/sys/fs/file-nr"));
    let tracked = "/proc/sys/net/netfilter/nf_conntrack_count";
    let tracked = first_number(tracked).zip(first_number("/proc/sys/net/netfilter/nf_conntrack_max"));
    let counted = |name, [taken, limit]: [f64; 2]| Limit { name, taken, limit, bytes: false };
    let in_bytes = |name, [taken, limit]: [f64; 2]| Limit { name, taken, limit, bytes: true };
    [
        Some(counted("connections", [connections as f64, metrics.limit as f64])),
        Some(counted("fullest shard", [fullest as f64, metrics.shard_capacity as f64])),
        Some(counted("processors", processors.busy())),
        memory.map(|memory| in_bytes("memory in use", memory)),
        tcp.map(|tcp| in_bytes("TCP's buffers (tcp_mem)", tcp)),
        Some(in_bytes("buffer budget", [budget.held() as f64, budget.limit as f64])),
        files.map(|(open, max)| counted("open files (file-max)", [open, max])),
        tracked.map(|(tracked, max)| counted("tracked connections", [tracked, max])),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn first_number(path: &str) -> Option<f64> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

fn last_number(path: &str) -> Option<f64> {
    fs::read_to_string(path).ok()?.split_whitespace().next_back()?.parse().ok()
}

/// How many processors this process keeps busy.
pub(super) struct Processors {
    before: (Instant, Duration),
}

impl Processors {
    pub fn new() -> Processors {
        Processors { before: (Instant::now(), spent()) }
    }

    /// Those since the last call, and all that there are.
    fn busy(&mut self) -> [f64; 2] {
        let now = (Instant::now(), spent());
        let (then, spent_then) = std::mem::replace(&mut self.before, now);
        // What it took to begin says nothing of the load.
        let seconds = now.0.duration_since(then).as_secs_f64().max(0.1);
        let busy = now.1.saturating_sub(spent_then).as_secs_f64() / seconds;
        [busy, thread::available_parallelism().map_or(1.0, |all| all.get() as f64)]
    }
}

/// The processor time of all threads of this process so far.
fn spent() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}
