//! Where the memory and the processor time of a server are read, while it is loaded.

use crate::results::Sample;
use crate::watch::{Metrics, Watched};
use anyhow::{Context, Result};
use std::net::SocketAddr;

/// How a server's memory and processor time are read.
pub enum Sampler {
    /// From /proc, of a process on this machine.
    Process(Watched),
    /// From `/metrics` at this address.
    Metrics(SocketAddr),
    /// Not at all.
    Unwatched,
}

impl Sampler {
    /// Reads both now.
    ///
    /// # Errors
    /// Where they cannot be read, or the server is not watched.
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

/// Parses `http://IP:PORT/metrics`, and returns the address.
///
/// # Errors
/// What is wrong with it, for clap to show.
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
