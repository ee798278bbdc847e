//! From phases of the fleet to the report of a run.

use super::{CHURN_PER_S, Load, Scenario};
use crate::fleet::{
    AddressCounts, ChurnPhase, ClosePhase, ConnectPhase, EchoPhase, Failures, Fleet, HoldPhase, Proxy,
    Second, Unsolicited, Verify,
};
use crate::results::run::{
    AddressReport, ChurnReport, HandshakeParts, MessageReport, PushedReport, RunReport, SCHEMA, per_s,
};
use crate::results::{Header, Latency, RampReport, SecondReport};
use clap::ValueEnum;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

/// A report without phases, of a run that began at `started`.
pub(super) fn blank(load: &Load, fleet: &Fleet, started: impl Display) -> RunReport {
    let scenario = load.scenario.to_possible_value().expect("no scenario is hidden");
    RunReport {
        header: Header::new(SCHEMA, started.to_string()),
        url: load.fleet.endpoint.url.to_string(),
        proxy: load.fleet.endpoint.proxy.as_ref().map(Proxy::to_string),
        clients: 1,
        scenario: scenario.get_name().to_owned(),
        connections: load.fleet.connections,
        shards: fleet.shards() as u64,
        payload_bytes: load.fleet.payload_len as u64,
        messages: message_report(load),
        in_flight: load.fleet.in_flight.into(),
        rate_per_s: load.rate.or((load.scenario == Scenario::Churn).then_some(CHURN_PER_S)),
        ramp: load.ramp.map(RampReport::from),
        connect_ramp: load.connect_ramp.map(RampReport::from),
        connect: None,
        hold: None,
        echo: None,
        churn: None,
        close: None,
        reconnect: None,
        addresses: Vec::new(),
        greetings: 0,
        pushed: None,
        seconds: Vec::new(),
        server: None,
        failures: Failures::default(),
        ended_early: None,
        interrupted: false,
        exit_status: 0,
    }
}

fn message_report(load: &Load) -> MessageReport {
    let messages = &load.fleet.messages;
    MessageReport {
        text: messages.text,
        payload_min_bytes: messages.shortest.map(|shortest| shortest as u64),
        payload_file: messages.file.is_some(),
        verify: if load.scenario == Scenario::Idle { Verify::default() } else { messages.verify },
    }
}

impl RunReport {
    /// Sets the counts of messages that are no replies.
    pub(super) fn set_unsolicited(&mut self, counts: Unsolicited) {
        self.greetings = counts.greetings;
        // Only whole messages are counted, but the bytes of others too.
        self.pushed = (counts.pushed_bytes > 0 || counts.pushed > 0)
            .then_some(PushedReport { messages: counts.pushed, bytes: counts.pushed_bytes });
    }

    /// Sets the counts per address of the server, unless it has only one.
    pub(super) fn set_addresses(&mut self, fleet: &Fleet) {
        let addresses = fleet.addresses();
        if addresses.len() > 1 {
            let report = |(addr, AddressCounts { opened, failed }): (SocketAddr, _)| AddressReport {
                address: addr.to_string(),
                opened,
                failed,
            };
            self.addresses = addresses.map(report).collect();
        }
    }

    pub(super) fn add_connect(&mut self, phase: &ConnectPhase) {
        self.add_failures(&phase.failures, &phase.ended_early);
        let connect = self.connect.get_or_insert_default();
        connect.rounds += 1;
        connect.opened += phase.opened;
        connect.connected = phase.connected;
        connect.elapsed_s += phase.elapsed.as_secs_f64();
        connect.connects_per_s = per_s(connect.opened as f64, connect.elapsed_s);
        connect.handshake.add(&phase.handshake);
        if let Some(times) = &phase.tls {
            connect.parts.get_or_insert_default().add(times);
        }
        self.add_seconds("connect", &phase.seconds);
    }

    pub(super) fn add_hold(&mut self, phase: &HoldPhase) {
        self.add_failures(&phase.failures, &phase.ended_early);
        let hold = self.hold.get_or_insert_default();
        hold.elapsed_s += seconds(phase.elapsed);
        hold.held = phase.held;
        hold.lost += phase.lost;
        hold.pings += phase.pings;
    }

    pub(super) fn add_echo(&mut self, phase: &EchoPhase) {
        self.add_failures(&phase.failures, &phase.ended_early);
        let echo = self.echo.get_or_insert_default();
        let in_time = echo.echoes_per_s * echo.elapsed_s + phase.echoes_per_s * seconds(phase.elapsed);
        echo.rounds += 1;
        echo.active = phase.active;
        echo.sent += phase.sent;
        echo.echoes += phase.echoes;
        echo.bytes += phase.bytes;
        echo.elapsed_s += seconds(phase.elapsed);
        echo.echoes_per_s = per_s(in_time, echo.elapsed_s);
        echo.late += phase.late;
        echo.missing += phase.missing;
        echo.latency.add(&phase.latency);
        self.add_seconds("echo", &phase.seconds);
    }

    pub(super) fn add_churn(&mut self, phase: ChurnPhase) {
        self.add_failures(&phase.failures, &phase.ended_early);
        self.add_seconds("churn", &phase.seconds);
        self.churn = Some(ChurnReport {
            closed: phase.closed,
            opened: phase.opened,
            echoes: phase.echoes,
            elapsed_s: seconds(phase.elapsed),
            connected: phase.connected,
            handshake: Latency(phase.handshake),
            parts: phase.tls.as_ref().map(HandshakeParts::from),
        });
    }

    fn add_seconds(&mut self, phase: &str, seconds: &[Second]) {
        self.seconds.extend(seconds.iter().map(|second| SecondReport::new(phase, second)));
    }

    pub(super) fn add_close(&mut self, phase: &ClosePhase) {
        self.add_failures(&phase.failures, &None);
        let close = self.close.get_or_insert_default();
        close.closed += phase.closed;
        close.forced += phase.forced;
        close.elapsed_s += seconds(phase.elapsed);
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
