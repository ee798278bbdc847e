//! Reads a server's `/metrics`.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The samples of one scrape, by name and labels as written: `name{label="value"}`.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Scrapes an admin address.
    ///
    /// # Errors
    /// If there is no response within two seconds, or its status is not `200`.
    pub fn fetch(admin: SocketAddr) -> Result<Self> {
        Self::fetch_as(admin, &admin.to_string())
    }

    /// The same with this `Host` header, for a server that was given by its name.
    ///
    /// # Errors
    /// As [`fetch`](Metrics::fetch).
    pub fn fetch_as(admin: SocketAddr, host: &str) -> Result<Self> {
        let timeout = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&admin, timeout)
            .with_context(|| format!("no response from {admin}"))?;
        stream.set_read_timeout(Some(timeout))?;
        // One write: a server may respond and close after the first segment.
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response).with_context(|| format!("no metrics from {admin}"))?;
        let (head, body) = response.split_once("\r\n\r\n").context("the response is not HTTP")?;
        anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{admin} has no /metrics");
        Ok(Self::parse(body))
    }

    /// Parses the Prometheus text format. Lines that do not parse are skipped.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self { samples: samples.collect() }
    }

    /// The sample without labels.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.samples.get(name).copied()
    }

    /// The samples of a family that has a single label, by the label's value.
    pub fn by_label(&self, family: &str, label: &str) -> BTreeMap<String, f64> {
        let start = format!("{family}{{{label}=\"");
        let within = |name: &str| Some(name.strip_prefix(&start)?.strip_suffix("\"}")?.to_owned());
        self.samples.iter().filter_map(|(name, &value)| Some((within(name)?, value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const TEXT: &str = "# HELP ws_connections_active Open\n# TYPE ws_connections_active gauge\n\
        ws_connections_active 12\nws_connections_rejected_total{reason=\"full\"} 3\n\
        ws_connections_rejected_total{reason=\"threads\"} 40\nws_handshake_seconds_bucket{le=\"+Inf\"} 9\n";

    #[test]
    fn parses_values_and_labels() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.value("ws_connections_active"), Some(12.0));
        assert_eq!(metrics.value("ws_connections"), None);
        let rejected = metrics.by_label("ws_connections_rejected_total", "reason");
        assert_eq!(rejected, BTreeMap::from([("full".into(), 3.0), ("threads".into(), 40.0)]));
    }

    #[test]
    fn fetches_over_http() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its address");
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("a peer");
            let mut request = [0; 512];
            let length = peer.read(&mut request).expect("a request");
            write!(peer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{TEXT}", TEXT.len()).expect("written");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let metrics = Metrics::fetch(addr).expect("metrics");
        assert_eq!(metrics.value("ws_connections_active"), Some(12.0));
        assert!(server.join().expect("served").starts_with("GET /metrics HTTP/1.1\r\n"));
        assert!(Metrics::fetch(addr).is_err());
    }
}
