//! Connections and messages as both ends count them.

use super::load::Load;
use super::record::{ConnectionCounts, MessageCounts};
use crate::watch::Metrics;
use anyhow::{Context, Result};
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may take to count the last of them.
const TIMEOUT: Duration = Duration::from_secs(3);

impl Load<'_> {
    /// Counts open connections at both ends.
    pub(super) fn count_connections(&self) -> Result<ConnectionCounts> {
        self.counted(|metrics| connections(self.fleet.progress().connected, metrics), |counts| counts.agree)
    }

    /// Counts messages of all phases at both ends.
    pub(super) fn count_messages(&self) -> Result<MessageCounts> {
        self.counted(|metrics| messages(self.fleet.progress().echoes, metrics), |counts| counts.agree)
    }

    /// Reads the server's counts until they agree with ours, for at most [`TIMEOUT`].
    fn counted<T>(&self, counts: impl Fn(&Metrics) -> T, agree: impl Fn(&T) -> bool) -> Result<T> {
        let admin = self.server.admin.context("a stage has an admin address")?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let counts = Metrics::fetch(admin).map(|metrics| counts(&metrics));
            if counts.as_ref().is_ok_and(&agree) || Instant::now() > deadline {
                return counts;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn connections(client_open: u64, metrics: &Metrics) -> ConnectionCounts {
    let [server_active, server_accepted] =
        ["ws_connections_active", "ws_connections_accepted_total"].map(|name| value(metrics, name));
    let closed = metrics.by_label("ws_connections_closed_total", "reason");
    let server_closed = closed.values().sum::<f64>() as u64;
    let agree = client_open == server_active && server_active + server_closed == server_accepted;
    ConnectionCounts { client_open, server_active, server_accepted, server_closed, agree }
}

fn messages(client_echoes: u64, metrics: &Metrics) -> MessageCounts {
    let [server_received, server_sent] =
        ["ws_messages_received_total", "ws_messages_sent_total"].map(|name| value(metrics, name));
    let agree = client_echoes == server_received && client_echoes == server_sent;
    MessageCounts { client_echoes, server_received, server_sent, agree }
}

fn value(metrics: &Metrics, name: &str) -> u64 {
    metrics.value(name).unwrap_or(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_or_do_not() {
        let metrics = Metrics::parse(
            "ws_connections_active 7\nws_connections_accepted_total 10\nws_connections_closed_total{reason=\"eof\"} 1\n\
             ws_connections_closed_total{reason=\"error\"} 2\nws_messages_received_total 5\nws_messages_sent_total 5\n",
        );
        let counts = connections(7, &metrics);
        assert!(counts.agree && counts.server_closed == 3, "{counts:?}");
        assert!(!connections(8, &metrics).agree);
        assert!(messages(5, &metrics).agree && !messages(6, &metrics).agree);
        assert!(!messages(0, &Metrics::parse("")).agree || messages(0, &Metrics::parse("")).server_sent == 0);
    }
}
