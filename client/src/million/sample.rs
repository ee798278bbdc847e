//! A record for tests, with made-up figures.

use super::record::*;
use crate::fleet::histogram_ns;
use crate::report::sample::{machine, origin};
use crate::results::{Close, Hold, Latency};

/// Four stages, of which the first stops at 16,246 connections.
pub fn record() -> Record {
    let stages = [
        (1, "stage1-thread-per-conn", 18_100.0, 27_600.0, 16_246),
        (2, "stage2-task-per-conn", 5_580.0, 4_060.0, 1_000_000),
        (3, "stage3-mio-epoll", 4_380.0, 4_040.0, 1_000_000),
        (4, "stage4-zero-buffer", 8.3, 3_920.0, 1_000_000),
    ];
    Record {
        origin: origin("cargo run --release -p client -- million --stage 1,2,3,4 --raw"),
        machine: machine(),
        settings: Settings {
            stages: vec![1, 2, 3, 4],
            connections: 1_000_000,
            hold_s: 10.0,
            rate_per_s: 20_000.0,
            duration_s: 60.0,
            payload_bytes: 32,
            raw: true,
            server_flags: Vec::new(),
        },
        runs: stages
            .map(|(stage, package, user, kernel, held)| run(stage, package, user, kernel, held))
            .into(),
    }
}

fn run(stage: u8, package: &str, user: f64, kernel: f64, held: u64) -> Run {
    const START: u64 = 4_600_000;
    let rss = |connections: u64| START + (connections as f64 * user) as u64;
    let point = |connections: u64| Point {
        connections,
        elapsed_s: connections as f64 / 26_000.0,
        rss_bytes: rss(connections),
        kernel_bytes: Some((connections as f64 * kernel) as i64),
        client_rss_bytes: 3_000_000 + connections * 27,
        available_bytes: Some(22_000_000_000 - connections * 8_000),
    };
    let goal = if held < 1_000_000 { held * 11 / 10 } else { held };
    let counts = ConnectionCounts {
        client_open: held,
        server_active: held,
        server_accepted: held,
        server_closed: 0,
        agree: true,
    };
    let echoes = held * 2 + 1_220_000;
    Run {
        stage,
        package: package.into(),
        asked: 1_000_000,
        goal,
        held,
        stopped: (held < 1_000_000).then(|| "vm.max_map_count".into()),
        shards: Some(53),
        client_shards: 52,
        raw: Some(Raw { pairs: held, setup_s: held as f64 / 55_000.0, echoes_s: held as f64 / 102_000.0 }),
        curve: (0..=20).map(|step| point(held * step / 20)).collect(),
        setup: Some(Setup {
            opened: held,
            elapsed_s: held as f64 / 26_200.0,
            connects_per_s: 26_200.0,
            handshake: latency(9_000),
        }),
        memory: memory(START, rss(held), user, kernel, held),
        hold: Some(Hold { elapsed_s: 10.0, held, lost: 0, pings: 0 }),
        each: Some(phase(held, held, held as f64 / 65_800.0, None)),
        open_loop: Some(phase(held, 1_200_000, 60.0, Some(20_000.0))),
        burst: Some(phase(held, held, held as f64 / 70_000.0, None)),
        close: Some(Close { closed: held, forced: 0, elapsed_s: held as f64 / 30_303.0 }),
        counts: Counts {
            connections: Some(counts),
            messages: Some(MessageCounts {
                client_echoes: echoes,
                server_received: echoes,
                server_sent: echoes,
                agree: true,
            }),
        },
        exit: Some("exit 0".into()),
        ..Run::default()
    }
}

fn memory(start: u64, connected: u64, user: f64, kernel: f64, held: u64) -> Memory {
    Memory {
        server_start_bytes: start,
        server_connected_bytes: Some(connected),
        server_bytes_per_connection: Some(user),
        server_held_bytes: Some(connected),
        server_echoed_bytes: Some(connected),
        server_closed_bytes: Some(start + 400_000),
        kernel_bytes: Some((kernel * held as f64) as i64),
        kernel_both_ends_bytes: Some((kernel * 2.0 * held as f64) as i64),
        client_start_bytes: 3_000_000,
        client_peak_bytes: 3_000_000 + held * 27,
        client_bytes_per_connection: Some(27.0),
    }
}

fn phase(connections: u64, sent: u64, elapsed_s: f64, rate_per_s: Option<f64>) -> Echoes {
    Echoes {
        connections,
        rate_per_s,
        sent,
        echoes: sent,
        elapsed_s,
        echoes_per_s: sent as f64 / elapsed_s,
        late: 0,
        missing: 0,
        latency: latency(140),
    }
}

fn latency(median_us: u64) -> Latency {
    let mut times = histogram_ns();
    (1..=1_000u64).for_each(|i| times.saturating_record(median_us * 1_000 * 500 / (1_001 - i)));
    Latency(times)
}
