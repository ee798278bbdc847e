//! Golden files: the published JSON and CSV of made-up records, byte for byte. Readers rely on names and order.
//!
//! `UPDATE_GOLDEN=1` writes the files anew, for a change of a layout that is meant.

use crate::fleet::{Class, Failures};
use crate::results::anatomy::{self, Anatomy, Check, Part, Share};
use crate::results::find::{self, Broke, FindReport, Found, Purpose, Step, Verdict};
use crate::results::race::{self, RaceReport, Side};
use crate::results::run::{
    self, ChurnReport, ConnectReport, EchoReport, MessageReport, ReconnectReport, RunReport, ServerReport,
};
use crate::results::{Close, Header, Hold, Latency, RampReport, Sample, SecondReport};
use crate::{million, report};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Compares a text with the golden file of this name.
fn assert_golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, text).expect("written");
    }
    let golden = fs::read_to_string(&file).expect("a golden file");
    let differs = golden.lines().zip(text.lines()).find(|(golden, line)| golden != line);
    assert_eq!(differs, None, "{name}: the first line that differs");
    assert!(golden == text, "{name}: one is longer than the other");
}

fn pretty(record: &impl Serialize) -> String {
    serde_json::to_string_pretty(record).expect("to JSON") + "\n"
}

/// A directory of this test's own, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        Directory(std::env::temp_dir().join(format!("client-golden-{name}-{}", std::process::id())))
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).expect("written")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn latency(times_us: &[u64]) -> Latency {
    let mut latency = Latency::default();
    times_us.iter().for_each(|us| latency.0.record(us * 1_000).expect("in range"));
    latency
}

fn failures(reset: u64) -> Failures {
    let mut failures =
        Failures { first: Some("recv: Connection reset by peer".into()), ..Failures::default() };
    failures.add(Class::Reset, reset);
    failures.add(Class::Timeout, 2);
    failures
}

fn echo(n: u64) -> EchoReport {
    EchoReport {
        rounds: 1,
        active: 500 * n,
        sent: 20_000,
        echoes: 19_990,
        bytes: 639_680,
        elapsed_s: 10.0,
        echoes_per_s: 1_999.0,
        late: 4,
        missing: 10,
        latency: latency(&[80, 84, 100, 2_000 * n]),
    }
}

fn server() -> ServerReport {
    let sample = |mb: u64| Sample { rss_bytes: mb << 20, cpu_s: mb as f64 / 8.0 };
    ServerReport {
        doubt: Some("it does not listen there".into()),
        before: sample(4),
        connected: Some(sample(8)),
        loaded: Some(sample(10)),
        closed: Some(sample(5)),
        peak_rss_bytes: 11 << 20,
        rss_bytes_per_connection: Some(4_198.5),
        cpu_us_per_echo: Some(12.5),
    }
}

/// A run with every phase; `n` tells it from others.
fn a_record(n: u64) -> RunReport {
    RunReport {
        header: Header {
            schema: run::SCHEMA,
            version: "0.1.0".into(),
            command: vec!["client".into(), "run".into(), format!("--connections={}", 1_000 * n)],
            started: format!("2025-01-02T03:04:0{n}.000Z"),
        },
        url: format!("ws://127.0.0.{n}:8000/echo"),
        proxy: None,
        clients: 1,
        scenario: "echo".into(),
        connections: 1_000 * n,
        shards: 2,
        payload_bytes: 32,
        messages: MessageReport::default(),
        in_flight: 1,
        rate_per_s: Some(2_000.0),
        ramp: None,
        connect_ramp: None,
        connect: Some(ConnectReport {
            rounds: 1,
            opened: 1_000 * n,
            connected: 1_000 * n - 1,
            elapsed_s: 0.5,
            connects_per_s: 2_000.0 * n as f64,
            handshake: latency(&[90, 110, 450 * n]),
            parts: None,
        }),
        hold: Some(Hold { elapsed_s: 1.25, held: 998 * n, lost: 1, pings: 3 }),
        echo: Some(echo(n)),
        churn: Some(ChurnReport {
            closed: 7,
            opened: 6,
            echoes: 5,
            elapsed_s: 2.5,
            connected: 990,
            handshake: latency(&[120]),
            parts: None,
        }),
        close: Some(Close { closed: 980, forced: 10, elapsed_s: 0.75 }),
        reconnect: Some(ReconnectReport {
            lost: 9,
            reconnected: 8,
            failed_attempts: 3,
            causes: failures(9),
            away: latency(&[150_000]),
        }),
        addresses: Vec::new(),
        greetings: 0,
        pushed: None,
        seconds: Vec::new(),
        server: (n == 1).then(server),
        failures: failures(n),
        ended_early: Some("no echo came for 10s".into()),
        interrupted: n > 1,
        exit_status: 1,
    }
}

#[test]
fn comparison() {
    let directory = Directory::new("compare");
    report::write(&report::sample::results(), &directory.0).expect("a report");
    assert_golden("results.json", &directory.read("results.json"));
    assert_golden("results.csv", &directory.read("results.csv"));
}

#[test]
fn a_million() {
    let directory = Directory::new("million");
    million::write(&million::sample::record(), &directory.0).expect("a report");
    assert_golden("million.json", &directory.read("million.json"));
}

#[test]
fn a_run() {
    assert_golden("run-1.json", &pretty(&a_record(1)));
    assert_golden("run-2.json", &pretty(&a_record(2)));
}

#[test]
fn a_ramp() {
    let mut report = a_record(1);
    (report.rate_per_s, report.server, report.ended_early) = (None, None, None);
    report.ramp = Some(RampReport { from_per_s: 0.0, to_per_s: 40_000.0, time_s: 20.0 });
    report.connect_ramp = Some(RampReport { from_per_s: 0.0, to_per_s: 2_000.0, time_s: 1.0 });
    report.seconds.push(SecondReport {
        phase: "connect".into(),
        time_s: 1.0,
        elapsed_s: 1.0,
        connections: 999,
        due: Some(1_000),
        due_per_s: Some(1_000.0),
        opened: 999,
        echoes: 0,
        late: 0,
        failures: 1,
        latency: latency(&[90, 110, 450]).into(),
    });
    // It keeps up with 25,000 messages per second.
    report.seconds.extend((0..20u64).map(|second| {
        let due = second * 2_000 + 1_000;
        let queued_us = second.saturating_sub(12) * 40_000;
        SecondReport {
            phase: "echo".into(),
            time_s: second as f64 + 1.0,
            elapsed_s: 1.0,
            connections: 999,
            due: Some(due),
            due_per_s: Some(due as f64),
            opened: 0,
            echoes: due.min(25_000),
            late: second,
            failures: 0,
            latency: latency(&[80 + queued_us, 90 + queued_us, 400 + queued_us]).into(),
        }
    }));
    assert_golden("ramp.json", &pretty(&report));
}

#[test]
fn a_search() {
    let step = |rate_per_s: f64, purpose, p99_us: u64, verdict| Step {
        rate_per_s,
        purpose,
        elapsed_s: 3.0,
        achieved_per_s: rate_per_s.min(182_500.0),
        sent: rate_per_s as u64 * 3,
        echoes: rate_per_s as u64 * 3,
        missing: 0,
        late: 5,
        failures: 0,
        server_cores: Some(0.75),
        latency: latency(&[80, 84, p99_us]).into(),
        verdict,
    };
    let mut steps = vec![
        step(128_000.0, Purpose::Grow, 4_000, Verdict::Held),
        step(256_000.0, Purpose::Grow, 900_000, Verdict::Latency),
        step(181_000.0, Purpose::Bisect, 30_000, Verdict::Held),
        step(185_000.0, Purpose::Bisect, 120_000, Verdict::Behind),
        step(185_000.0, Purpose::Above, 40_000, Verdict::ClientLate),
    ];
    steps.extend([30_000, 31_000, 32_000].map(|us| step(181_000.0, Purpose::Confirm, us, Verdict::Held)));
    let run = a_record(1);
    let report = FindReport {
        header: Header { schema: find::SCHEMA, ..run.header },
        url: run.url,
        connections: 1_000,
        active: 500,
        shards: 2,
        payload_bytes: 32,
        bound_p99_us: 50_000.0,
        from_per_s: 1_000.0,
        step_s: 3.0,
        connect: run.connect,
        steps,
        found: Some(Found {
            rate_per_s: 181_000.0,
            confirmations: 3,
            p99_us: Some(32_000.0),
            broke: Some(Broke {
                rate_per_s: 185_000.0,
                verdict: Verdict::ClientLate,
                p99_us: Some(40_000.0),
                achieved_per_s: 182_500.0,
            }),
        }),
        server: Some(server()),
        failures: Failures::default(),
        ended_early: None,
        interrupted: false,
        exit_status: 0,
    };
    assert_golden("find.json", &pretty(&report));
}

#[test]
fn a_race() {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_787_045);
    let side = |n: u64, run: Option<RunReport>| Side {
        name: format!("server-{n}"),
        command: (n == 1).then(|| "stage4-zero-buffer --addr 127.0.0.1:0".into()),
        error: run.is_none().then(|| "it died: signal 9".into()),
        run,
        exit: (n == 1).then(|| "exit 0".into()),
    };
    let report = RaceReport {
        header: Header {
            schema: race::SCHEMA,
            version: "0.1.0".into(),
            command: vec!["client".into(), "race".into(), "4".into(), "ws://127.0.0.1:9000/".into()],
            started: humantime::format_rfc3339_millis(started).to_string(),
        },
        servers: vec![side(1, Some(a_record(1))), side(2, None)],
    };
    assert_golden("race.json", &pretty(&report));
}

#[test]
fn an_anatomy() {
    let part = |name: &str, share, objects: Option<f64>| Part {
        name: name.into(),
        share,
        objects,
        object_bytes: objects.map(|_| 2_368),
        bytes: 2_368.0 * objects.unwrap_or(0.125),
    };
    let anatomy = Anatomy {
        schema: anatomy::SCHEMA,
        date: "2025-01-02T03:04:05Z".into(),
        command: "cargo run --release -p client -- anatomy --pid 7".into(),
        pid: 7,
        program: "stage4-zero-buffer".into(),
        doubt: Some("it does not listen there".into()),
        url: "ws://127.0.0.1:8000/echo".into(),
        connections: 10_000,
        parts: vec![
            part("heap", Share::User, None),
            part("page tables", Share::Process, None),
            part("task_struct", Share::Server, Some(0.5)),
            part("TCP", Share::Half, Some(1.0)),
        ],
        user_bytes: 296.0,
        kernel_bytes: 3_848.0,
        check: Check { parts_bytes: 6_216.5, pages_bytes: 6_400.25 },
    };
    assert_golden("anatomy.json", &pretty(&anatomy));
}
