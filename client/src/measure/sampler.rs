//! Where the memory and the processor time of a server are read, while it is loaded.

use crate::results::Sample;
use crate::watch::{Metrics, Watched};
use anyhow::{Context, Result};
use std::net::SocketAddr;

/// Where to look.
pub enum Sampler {
    /// In /proc, at a process of this machine.
    Process(Watched),
    /// At this address, where it serves `/metrics`.
    Metrics(SocketAddr),
    /// Nowhere.
    Unwatched,
}

impl Sampler {
    /// What it takes now.
    ///
    /// # Errors
    /// Where it cannot be read, or nothing was said about where to look.
    pub fn read(&self) -> Result<Sample> {
        match self {
            Sampler::Process(process) => {
                let reading = process.read()?;
                let cpu_s = reading.cpu.as_secs_f64();
                Ok(Sample { rss_bytes: reading.rss_bytes, cpu_s })
            }
            Sampler::Metrics(addr) => {
                let metrics = Metrics::fetch(*addr)?;
                let value = |name| metrics.value(name).with_context(|| format!("{addr} has no {name}"));
                let rss_bytes = value("process_resident_memory_bytes")? as u64;
                Ok(Sample { rss_bytes, cpu_s: value("process_cpu_seconds_total")? })
            }
            Sampler::Unwatched => anyhow::bail!("neither --pid nor --metrics-url was given"),
        }
    }
}

/// The address in `http://IP:PORT/metrics`.
pub fn metrics_addr(url: &str) -> Result<SocketAddr, String> {
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
