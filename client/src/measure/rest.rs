//! What a server and its kernel take, and when a server is quiescent.

use crate::results::compare::Process;
use crate::watch::{KernelMemory, Metrics, Reading, Watched};
use anyhow::Result;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// What a server and its kernel take, once they have come to rest.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// The process.
    pub process: Reading,
    /// The whole machine; `None` where it cannot be read.
    pub kernel: Option<KernelMemory>,
}

impl Rest {
    /// Reads until two readings in a row agree on memory and threads, for two seconds at most: a server that is never
    /// quite still is read as it is.
    pub fn of(watched: &Watched) -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut process = watched.read()?;
        loop {
            thread::sleep(Duration::from_millis(30));
            let again = watched.read()?;
            let still = (again.rss_bytes, again.threads) == (process.rss_bytes, process.threads);
            process = again;
            if still || Instant::now() > deadline {
                return Ok(Self { process, kernel: KernelMemory::read(Path::new("/proc")) });
            }
        }
    }

    /// For the results.
    pub fn to_process(self) -> Process {
        Process { rss_bytes: self.process.rss_bytes, threads: self.process.threads }
    }

    /// Resident memory above that of `before`.
    pub fn user_bytes_above(&self, before: &Self) -> i64 {
        self.process.rss_bytes as i64 - before.process.rss_bytes as i64
    }

    /// The kernel's memory for the server above that of `before`, with its page tables, and where it was read.
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

/// Resident memory from which on it matters what a server gives back.
const WORTH_WAITING_FOR_BYTES: u64 = 8 << 20;

/// Waits until a server that has no connection left has given memory back, as ours do in the second calm second at the
/// latest.
pub fn wait_until_given_back(watched: &Watched) -> Result<()> {
    let deadline = Instant::now() + Duration::from_millis(2_500);
    while watched.read()?.rss_bytes >= WORTH_WAITING_FOR_BYTES && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

/// Connections that the server has refused so far, by its reasons; empty where it does not say.
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
