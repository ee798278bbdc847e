//! What a server and its kernel take, and when a server is quiescent.

use crate::results::compare::Process;
use crate::watch::{KernelMemory, Metrics, Reading, Watched};
use anyhow::Result;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Memory and threads of a quiescent server, and the kernel's memory.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Of the process.
    pub process: Reading,
    /// Of the whole machine; `None` where it cannot be read.
    pub kernel: Option<KernelMemory>,
}

impl Rest {
    /// Reads until two readings in a row agree on memory and threads, for at most two seconds: a server that never becomes
    /// quiescent is read as it is.
    ///
    /// # Errors
    /// Where the process cannot be read.
    pub fn of(watched: &Watched) -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut process = watched.read()?;
        loop {
            thread::sleep(Duration::from_millis(30));
            let again = watched.read()?;
            let quiescent = (again.rss_bytes, again.threads) == (process.rss_bytes, process.threads);
            process = again;
            if quiescent || Instant::now() > deadline {
                return Ok(Self { process, kernel: KernelMemory::read(Path::new("/proc")) });
            }
        }
    }

    /// For the results.
    pub fn to_process(self) -> Process {
        Process { rss_bytes: self.process.rss_bytes, threads: self.process.threads }
    }

    /// Growth of resident memory since `before`, in bytes.
    pub fn user_bytes_above(&self, before: &Self) -> i64 {
        self.process.rss_bytes as i64 - before.process.rss_bytes as i64
    }

    /// Growth of kernel memory for the server since `before`, page tables included, in bytes, and where it was read.
    pub fn kernel_bytes_above(&self, before: &Self) -> Option<(i64, &'static str)> {
        let (now, then) = (self.kernel?, before.kernel?);
        let tables = self.process.page_table_bytes as i64 - before.process.page_table_bytes as i64;
        Some((now.servers_share_since(&then) + tables, now.source.name()))
    }
}

/// Waits until the server whose metrics are at `admin` has no connection left, for at most `limit`; returns at once where
/// it has no metrics.
pub fn wait_until_empty(admin: Option<SocketAddr>, limit: Duration) {
    let Some(admin) = admin else { return };
    let deadline = Instant::now() + limit;
    let is_empty =
        || Metrics::fetch(admin).is_ok_and(|metrics| metrics.value("ws_connections_active") == Some(0.0));
    while !is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
}

/// A server with less resident memory than this has nothing to return that matters.
const WORTH_WAITING_FOR_BYTES: u64 = 8 << 20;

/// Waits until a server without connections has returned memory to the kernel, for at most 2.5 s: the stages do so within
/// two quiescent seconds.
///
/// # Errors
/// Where the process cannot be read.
pub fn wait_until_given_back(watched: &Watched) -> Result<()> {
    let deadline = Instant::now() + Duration::from_millis(2_500);
    while watched.read()?.rss_bytes >= WORTH_WAITING_FOR_BYTES && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

/// Connections rejected so far, by reason, from the metrics at `admin`; empty where there are none.
pub fn rejected(admin: Option<SocketAddr>) -> BTreeMap<String, u64> {
    let metrics = admin.and_then(|admin| Metrics::fetch(admin).ok()).unwrap_or_default();
    let counts = metrics.by_label("ws_connections_rejected_total", "reason");
    counts
        .into_iter()
        .filter(|(_, count)| *count > 0.0)
        .map(|(reason, count)| (reason, count as u64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_nothing_is_at_rest() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let rest = Rest::of(&Watched::new(sleeper.id())).expect("a reading");
        assert!(rest.process.rss_bytes > 0 && rest.process.threads == 1);
        assert_eq!(rest.user_bytes_above(&rest), 0);
        sleeper.kill().expect("killed");
        sleeper.wait().expect("waited for");
    }
}
