//! Watching the server: its memory and processor time.

use super::RunArgs;
use crate::watch::{Metrics, Watched};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Where to look.
pub(crate) enum Server {
    Process(Watched),
    Metrics(SocketAddr),
    Unwatched,
}

/// What the server takes at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time since it was started, user and system.
    pub cpu_s: f64,
}

impl Server {
    pub(super) fn new(args: &RunArgs) -> Server {
        match (args.pid, args.metrics_url) {
            (Some(pid), _) => Server::Process(Watched::new(pid)),
            (None, Some(addr)) => Server::Metrics(addr),
            (None, None) => Server::Unwatched,
        }
    }

    /// What it takes now.
    ///
    /// # Errors
    /// Where it cannot be read, or nothing was said about where to look.
    pub(crate) fn read(&self) -> Result<Sample> {
        match self {
            Server::Process(process) => {
                let reading = process.read()?;
                let cpu_s = reading.cpu.as_secs_f64();
                Ok(Sample { rss_bytes: reading.rss_bytes, cpu_s })
            }
            Server::Metrics(addr) => {
                let metrics = Metrics::fetch(*addr)?;
                let value = |name| metrics.value(name).with_context(|| format!("{addr} has no {name}"));
                let rss_bytes = value("process_resident_memory_bytes")? as u64;
                Ok(Sample { rss_bytes, cpu_s: value("process_cpu_seconds_total")? })
            }
            Server::Unwatched => anyhow::bail!("neither --pid nor --metrics-url was given"),
        }
    }
}

/// The address in `http://IP:PORT/metrics`.
pub(super) fn metrics_addr(url: &str) -> Result<SocketAddr, String> {
    let rest = url.strip_prefix("http://").ok_or("not http://IP:PORT/metrics")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
    if path != "metrics" {
        return Err(format!("the path must be /metrics, not /{path}"));
    }
    let authority = authority.replace("localhost", "127.0.0.1");
    authority.parse().map_err(|_| format!("'{authority}' is not IP:PORT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_metrics() {
        let addr = "127.0.0.1:8001".parse().expect("address");
        for url in ["http://127.0.0.1:8001/metrics", "http://localhost:8001", "http://127.0.0.1:8001/metrics"]
        {
            assert_eq!(metrics_addr(url), Ok(addr), "{url}");
        }
        for url in ["https://127.0.0.1:8001/metrics", "http://example.org/metrics", "http://127.0.0.1:8001/x"]
        {
            assert!(metrics_addr(url).is_err(), "{url}");
        }
    }
}
