//! `client merge`: one result from many clients that loaded the same servers at the same time.

use super::{Outputs, deliver, summary};
use crate::fleet::Verify;
use crate::report::format::time;
use crate::results::run::{HandshakeParts, RunReport, SCHEMA, per_s};
use crate::results::{command, merge_seconds};
use crate::{file, words};
use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Merges the results of clients that ran at the same time, as `client run --json` wrote them
///
/// Counts and rates are added up, times are those of the slowest client, histograms are merged.
/// Exit status: 0 if all went well for every client, 1 if anything failed for one of them, 2 if a flag is wrong.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true)]
pub struct MergeArgs {
    /// Results to merge
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Write the merged result as JSON to this file, or to standard output if it is '-'
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the merged latencies to this file, or to standard output if it is '-', as `client run --hdr` does
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
}

impl MergeArgs {
    /// Fails where a file would be counted twice, or two results would be written to the same file.
    ///
    /// # Errors
    /// Which ones, in one line.
    pub fn check(&self) -> Result<(), String> {
        for (index, file) in self.files.iter().enumerate() {
            if let Some(same) = self.files[..index].iter().find(|same| file::are_one(same, file)) {
                let (same, file) = (same.display(), file.display());
                return Err(format!("{same} and {file} are the same result, which would be counted twice"));
            }
        }
        self.outputs().check()
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs { json: self.json.as_deref(), hdr: self.hdr.as_deref(), csv: None }
    }
}

/// Merges, reports, and prints what failed in one line on standard error.
pub fn merge(args: &MergeArgs) -> ExitCode {
    let checked = args.outputs().files().try_for_each(|(_, file)| file::check(file));
    let merged = checked.and_then(|()| read_all(&args.files));
    match merged {
        Ok(merged) => ExitCode::from(deliver(args.outputs(), &merged)),
        Err(error) => {
            words::complain("client", &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn read_all(files: &[PathBuf]) -> Result<RunReport> {
    let mut files = files.iter();
    let first = files.next().context("nothing to merge")?;
    let mut merged = read(first)?;
    let mut watched = usize::from(merged.server.is_some());
    for file in files {
        let more = read(file)?;
        watched += usize::from(more.server.is_some());
        merged.merge(&more).with_context(|| format!("cannot merge {}", file.display()))?;
    }
    // Samples of several clients cannot be added up; the samples of a single one are kept.
    merged.server = merged.server.filter(|_| watched == 1);
    merged.header.command = command();
    Ok(merged)
}

fn read(file: &Path) -> Result<RunReport> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let report: RunReport = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a complete result of `client run --json`", file.display()))?;
    ensure!(
        report.header.schema == SCHEMA,
        "{} has schema {}, and this program reads {SCHEMA}",
        file.display(),
        report.header.schema
    );
    Ok(report)
}

fn merge_parts(sum: &mut Option<HandshakeParts>, more: &Option<HandshakeParts>) {
    if let Some(more) = more {
        sum.get_or_insert_default().merge(more);
    }
}

impl RunReport {
    /// Adds the result of another client that ran at the same time.
    ///
    /// # Errors
    /// Where the loads differ, so that a sum would mean nothing.
    fn merge(&mut self, more: &RunReport) -> Result<()> {
        let did = |report: &RunReport| {
            (report.scenario.clone(), report.payload_bytes, report.messages, report.in_flight)
        };
        ensure!(
            did(self) == did(more)
                && self.rate_per_s.is_some() == more.rate_per_s.is_some()
                && self.ramp.map(|ramp| ramp.time_s) == more.ramp.map(|ramp| ramp.time_s),
            "its load differs: {}, and the first {}",
            more.description(),
            self.description()
        );
        if !self.url.split(", ").any(|url| url == more.url) {
            self.url = format!("{}, {}", self.url, more.url);
        }
        let proxies = [&self.proxy, &more.proxy].into_iter().flatten().flat_map(|names| names.split(", "));
        let proxies: BTreeSet<&str> = proxies.collect();
        self.proxy = (!proxies.is_empty()).then(|| proxies.into_iter().collect::<Vec<_>>().join(", "));
        if more.header.started < self.header.started {
            self.header.started.clone_from(&more.header.started);
        }
        self.clients += more.clients;
        self.connections += more.connections;
        self.shards += more.shards;
        self.rate_per_s = self.rate_per_s.zip(more.rate_per_s).map(|(one, other)| one + other);
        for (own, more) in [(&mut self.ramp, &more.ramp), (&mut self.connect_ramp, &more.connect_ramp)] {
            if let (Some(own), Some(more)) = (own, more) {
                own.from_per_s += more.from_per_s;
                own.to_per_s += more.to_per_s;
            }
        }
        merge_seconds(&mut self.seconds, &more.seconds).map_err(|error| anyhow!(error))?;
        self.merge_phases(more);
        self.merge_addresses(more);
        self.greetings += more.greetings;
        if let Some(more) = more.pushed {
            let pushed = self.pushed.get_or_insert_default();
            pushed.messages += more.messages;
            pushed.bytes += more.bytes;
        }
        self.server = self.server.take().or_else(|| more.server.clone());
        self.add_failures(&more.failures, &more.ended_early);
        self.interrupted |= more.interrupted;
        self.exit_status = self.exit_status.max(more.exit_status);
        Ok(())
    }

    fn merge_addresses(&mut self, more: &RunReport) {
        for more in &more.addresses {
            match self.addresses.iter_mut().find(|known| known.address == more.address) {
                Some(known) => {
                    known.opened += more.opened;
                    known.failed += more.failed;
                }
                None => self.addresses.push(more.clone()),
            }
        }
    }

    fn merge_phases(&mut self, more: &RunReport) {
        if let Some(more) = &more.connect {
            let connect = self.connect.get_or_insert_default();
            connect.rounds = connect.rounds.max(more.rounds);
            connect.opened += more.opened;
            connect.connected += more.connected;
            connect.elapsed_s = connect.elapsed_s.max(more.elapsed_s);
            connect.connects_per_s = per_s(connect.opened as f64, connect.elapsed_s);
            connect.handshake.add(&more.handshake.0);
            merge_parts(&mut connect.parts, &more.parts);
        }
        if let Some(more) = &more.hold {
            let hold = self.hold.get_or_insert_default();
            hold.elapsed_s = hold.elapsed_s.max(more.elapsed_s);
            hold.held += more.held;
            hold.lost += more.lost;
            hold.pings += more.pings;
        }
        if let Some(more) = &more.echo {
            let echo = self.echo.get_or_insert_default();
            echo.rounds = echo.rounds.max(more.rounds);
            echo.active += more.active;
            echo.sent += more.sent;
            echo.echoes += more.echoes;
            echo.bytes += more.bytes;
            echo.elapsed_s = echo.elapsed_s.max(more.elapsed_s);
            echo.echoes_per_s += more.echoes_per_s;
            echo.late += more.late;
            echo.missing += more.missing;
            echo.latency.add(&more.latency.0);
        }
        if let Some(more) = &more.churn {
            let churn = self.churn.get_or_insert_default();
            churn.closed += more.closed;
            churn.opened += more.opened;
            churn.echoes += more.echoes;
            churn.elapsed_s = churn.elapsed_s.max(more.elapsed_s);
            churn.connected += more.connected;
            churn.handshake.add(&more.handshake.0);
            merge_parts(&mut churn.parts, &more.parts);
        }
        if let Some(more) = &more.close {
            let close = self.close.get_or_insert_default();
            close.closed += more.closed;
            close.forced += more.forced;
            close.elapsed_s = close.elapsed_s.max(more.elapsed_s);
        }
        if let Some(more) = &more.reconnect {
            let reconnect = self.reconnect.get_or_insert_default();
            reconnect.lost += more.lost;
            reconnect.reconnected += more.reconnected;
            reconnect.failed_attempts += more.failed_attempts;
            reconnect.causes.merge(&more.causes);
            reconnect.away.add(&more.away.0);
        }
    }

    /// The load, in a few words.
    fn description(&self) -> String {
        let pace = match (self.ramp, self.rate_per_s, self.in_flight) {
            (Some(ramp), ..) => format!("at a rate that rises for {}", time(ramp.time_s)),
            (None, Some(_), _) => "at a rate".to_owned(),
            (None, None, count) => format!("in closed loop, {count} in flight"),
        };
        let verify = match self.messages.verify {
            Verify::Echo => "",
            Verify::Any => ", --verify any",
            Verify::None => ", --verify none",
        };
        format!("{} {pace}, {}{verify}", self.scenario, summary::payload(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Class;
    use crate::results::run::{AddressReport, EchoReport, PushedReport, ServerReport};

    /// A client's result: `n` connections, and as many echoes of a millisecond.
    fn report(n: u64, elapsed_s: f64) -> RunReport {
        let mut echo =
            EchoReport { echoes: n, echoes_per_s: n as f64 / elapsed_s, elapsed_s, ..Default::default() };
        echo.latency.0.record_n(1_000_000, n).expect("a millisecond");
        let text = serde_json::json!({
            "schema": SCHEMA, "version": "1", "command": [], "started": format!("2026-01-01T00:00:0{n}Z"),
            "url": "ws://127.0.0.1:8000/echo", "scenario": "echo", "connections": n, "shards": 2,
            "payload_bytes": 32, "rate_per_s": n as f64, "connect": null, "hold": null, "echo": echo,
            "churn": null, "close": null, "server": null, "failures": crate::fleet::Failures::default(),
            "ended_early": null, "interrupted": false, "exit_status": 0
        });
        serde_json::from_value(text)
            .expect("a result of an earlier version too, which does not count clients")
    }

    #[test]
    fn counts_add_up_and_distributions_merge() {
        let mut merged = report(3, 2.0);
        merged.merge(&report(1, 4.0)).expect("the same load");
        let mut third = report(5, 1.0);
        third.url = "ws://127.0.0.2:8000/echo".into();
        third.failures.add(Class::Reset, 2);
        third.exit_status = 1;
        (third.greetings, third.pushed) = (2, Some(PushedReport { messages: 3, bytes: 40 }));
        third.server = Some(ServerReport::default());
        merged.merge(&third).expect("the same load");
        let echo = merged.echo.as_ref().expect("echoes");
        assert_eq!((merged.clients, merged.connections, merged.shards), (3, 9, 6));
        assert_eq!((echo.echoes, echo.elapsed_s, echo.latency.0.len()), (9, 4.0, 9));
        assert_eq!((echo.echoes_per_s, merged.rate_per_s), (1.5 + 0.25 + 5.0, Some(9.0)));
        assert_eq!(merged.url, "ws://127.0.0.1:8000/echo, ws://127.0.0.2:8000/echo");
        assert_eq!(merged.header.started, "2026-01-01T00:00:01Z");
        assert_eq!((merged.failures.total(), merged.exit_status), (2, 1));
        assert!(merged.server.is_some(), "one watched it");
        merged.merge(&third).expect("the same load");
        assert_eq!((merged.greetings, merged.pushed), (4, Some(PushedReport { messages: 6, bytes: 80 })));
    }

    #[test]
    fn addresses_are_merged_by_address() {
        let address = |host: &str, opened, failed| AddressReport { address: host.into(), opened, failed };
        let (mut merged, mut more) = (report(1, 1.0), report(1, 1.0));
        merged.addresses = vec![address("[::1]:80", 4, 1), address("127.0.0.1:80", 5, 0)];
        more.addresses = vec![address("127.0.0.1:80", 2, 3), address("127.0.0.2:80", 1, 0)];
        merged.merge(&more).expect("the same load");
        let sums = [("[::1]:80", 4, 1), ("127.0.0.1:80", 7, 3), ("127.0.0.2:80", 1, 0)];
        assert_eq!(merged.addresses, sums.map(|(host, opened, failed)| address(host, opened, failed)));
    }

    #[test]
    fn proxies_are_named_once() {
        let (mut merged, mut other) = (report(1, 1.0), report(1, 1.0));
        merged.merge(&other).expect("alike");
        assert_eq!(merged.proxy, None);
        for (proxy, all) in [("b:1", "b:1"), ("a:1", "a:1, b:1"), ("b:1", "a:1, b:1")] {
            other.proxy = Some(proxy.to_owned());
            merged.merge(&other).expect("alike");
            assert_eq!(merged.proxy.as_deref(), Some(all));
        }
    }

    #[test]
    fn what_is_not_alike_is_not_added() {
        let mut other = report(1, 1.0);
        other.payload_bytes = 64;
        let error = report(1, 1.0).merge(&other).expect_err("another payload").to_string();
        assert_eq!(
            error,
            "its load differs: echo at a rate, payload 64 B, and the first echo at a rate, payload 32 B"
        );
        let mut other = report(1, 1.0);
        other.rate_per_s = None;
        assert!(report(1, 1.0).merge(&other).is_err(), "closed loop and open loop");
        let mut unverified = other.clone();
        unverified.messages.verify = Verify::Any;
        let error = unverified.merge(&other).expect_err("other replies").to_string();
        assert!(error.contains("payload 32 B, --verify any"), "{error}");
        let (one, mut many) = (other.clone(), other);
        many.in_flight = 16;
        let error = many.merge(&one).expect_err("another number in flight").to_string();
        assert!(error.contains("closed loop, 1 in flight, payload 32 B, and the first"), "{error}");
    }
}
