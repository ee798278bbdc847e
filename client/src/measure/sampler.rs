//! Where the memory and the processor time of a server are read, while it is loaded.

use crate::fleet::{Authority, AuthorityError};
use crate::results::Sample;
use crate::watch::{Metrics, Watched};
use anyhow::{Context, Result};
use clap::Args;
use std::net::SocketAddr;

/// Which server to watch
#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    /// The server's process id, to sample its memory and processor time
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "metrics_url")]
    pub pid: Option<u32>,

    /// The server's metrics, to sample the same on another machine: http://HOST:PORT/metrics
    #[arg(long, value_name = "URL", value_parser = metrics_url)]
    pub metrics_url: Option<Authority>,
}

impl WatchArgs {
    /// How the server is sampled, by the flags. It is sampled once, so that a wrong flag is noticed before the load.
    ///
    /// # Errors
    /// Where it cannot be sampled.
    pub fn sampler(&self) -> Result<Sampler> {
        let sampler = match (self.pid, &self.metrics_url) {
            (Some(pid), _) => Sampler::Process(Watched::new(pid)),
            (None, Some(authority)) => Sampler::of_metrics(authority)?,
            (None, None) => return Ok(Sampler::Unwatched),
        };
        sampler.read().context("the server cannot be watched")?;
        Ok(sampler)
    }
}

/// How a server's memory and processor time are read.
pub enum Sampler {
    /// From /proc, of a process on this machine.
    Process(Watched),
    /// From `/metrics` at an address, with this `Host` header.
    Metrics(SocketAddr, String),
    /// Not at all.
    Unwatched,
}

impl Sampler {
    /// From `/metrics` of a host, which is resolved once. Of several addresses, the first that has metrics is read.
    ///
    /// # Errors
    /// If the host is a name without an address.
    pub fn of_metrics(authority: &Authority) -> Result<Sampler> {
        let (addrs, host) = (authority.resolve()?, authority.to_string());
        let (last, others) = addrs.split_last().context("a host has an address")?;
        let has_metrics = |addr: &&SocketAddr| Metrics::fetch_as(**addr, &host).is_ok();
        Ok(Sampler::Metrics(*others.iter().find(has_metrics).unwrap_or(last), host))
    }

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
            Sampler::Metrics(addr, host) => {
                let metrics = Metrics::fetch_as(*addr, host)?;
                let value = |name| metrics.value(name).with_context(|| format!("{addr} has no {name}"));
                let rss_bytes = value("process_resident_memory_bytes")? as u64;
                Ok(Sample { rss_bytes, cpu_s: value("process_cpu_seconds_total")? })
            }
            Sampler::Unwatched => anyhow::bail!("neither --pid nor --metrics-url was given"),
        }
    }
}

/// Parses `http://HOST:PORT/metrics`, and returns host and port.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn metrics_url(url: &str) -> Result<Authority, String> {
    if url.starts_with("https://") {
        return Err("metrics are read without TLS: give http://HOST:PORT/metrics".into());
    }
    let rest = url.strip_prefix("http://").ok_or("not http://HOST:PORT/metrics")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
    if path != "metrics" {
        return Err(format!("the path must be /metrics, not /{path}"));
    }
    authority.parse().map_err(|error: AuthorityError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn urls_of_metrics() {
        for (url, host) in [
            ("http://127.0.0.1:8001/metrics", "127.0.0.1:8001"),
            ("http://localhost:8001", "localhost:8001"),
            ("http://[::1]:8001/metrics", "[::1]:8001"),
            ("http://example.org/metrics", "example.org"),
        ] {
            assert_eq!(metrics_url(url).map(|authority| authority.to_string()), Ok(host.into()), "{url}");
        }
        for url in ["https://127.0.0.1:8001/metrics", "http://256.0.0.1/metrics", "http://127.0.0.1:8001/x"] {
            assert!(metrics_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_name_is_sent_as_host() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let server = thread::spawn(move || {
            // The first connection only tries the address.
            let mut peer = listener.incoming().flatten().nth(1).expect("a peer");
            let mut request = [0; 512];
            let length = peer.read(&mut request).expect("a request");
            let body = "process_resident_memory_bytes 4096\nprocess_cpu_seconds_total 0.5\n";
            write!(peer, "HTTP/1.1 200 OK\r\n\r\n{body}").expect("written");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let authority = metrics_url(&format!("http://localhost:{port}/metrics")).expect("a name");
        let sample = Sampler::of_metrics(&authority).expect("resolved").read().expect("a sample");
        assert_eq!((sample.rss_bytes, sample.cpu_s), (4_096, 0.5));
        let request = server.join().expect("served");
        assert!(request.contains(&format!("\r\nHost: localhost:{port}\r\n")), "{request}");
    }
}
