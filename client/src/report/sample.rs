//! Made-up results for tests.

use super::results::*;
use crate::results::Origin;
use std::collections::BTreeMap;

/// Three rounds of the four stages; stage 1 stops below the highest level.
pub fn results() -> Results {
    let targets = [
        ("stage1-thread-per-conn", 20_300.0, 34_000.0, 1.0, Some(32_183)),
        ("stage2-task-per-conn", 5_480.0, 4_100.0, 0.84, None),
        ("stage3-mio-epoll", 4_610.0, 4_050.0, 0.74, None),
        ("stage4-zero-buffer", 32.0, 4_050.0, 0.66, None),
    ];
    let mut visits = Vec::new();
    for round in 1..=3 {
        let wobble = [1.0, 0.96, 1.05][round as usize - 1];
        for (name, user, kernel, cost, limit) in targets {
            visits.push(visit(name, round, user, kernel, cost * wobble, limit));
        }
    }
    Results {
        origin: origin("client compare --rounds 3"),
        elapsed_s: 221.0,
        machine: machine(),
        settings: Settings {
            rounds: 3,
            quick: false,
            levels: vec![1_000, 3_000, 10_000, 30_000, 100_000],
            warm_connections: 200,
            load_connections: 2_000,
            active: 500,
            payload_bytes: 32,
            closed_loop_s: 3.0,
            open_loop_s: 4.0,
            open_rate: Some(20_000.0),
            workloads: vec![Workload {
                name: "1MiB".into(),
                connections: 4,
                in_flight: 1,
                payload_bytes: 1 << 20,
            }],
        },
        targets: targets
            .map(|(name, ..)| Target { name: name.into(), command: format!("target/{name}") })
            .into(),
        visits,
        failures: Vec::new(),
    }
}

fn visit(name: &str, round: u32, user: f64, kernel: f64, cost: f64, limit: Option<u64>) -> Visit {
    let levels = [1_000u64, 3_000, 10_000, 30_000, 100_000]
        .into_iter()
        .map(|asked| {
            let open = asked.min(limit.unwrap_or(asked));
            Level {
                asked,
                open,
                connects_per_s: Some((50_000.0 / cost).round()),
                idle_bytes: (open as f64 * user) as i64,
                echoed_bytes: Some((open as f64 * user * 1.02) as i64),
                kernel_bytes: Some((open as f64 * kernel) as i64),
                kernel_source: Some("slabinfo".into()),
                threads: if user > 10_000.0 { open + 3 } else { 4 },
                failures: BTreeMap::new(),
            }
        })
        .collect();
    Visit {
        target: name.into(),
        round,
        warm: Process { rss_bytes: 3_000_000, threads: 4 },
        levels,
        held: limit.unwrap_or(100_000),
        stopped: limit.map(|_| "vm.max_map_count".into()),
        rejected: BTreeMap::new(),
        after_close: Some(Process { rss_bytes: 3_400_000, threads: 4 }),
        closed_loop: Some(ClosedLoop {
            echoes: 600_000,
            echoes_per_s: (150_000.0 / cost).round(),
            latency: latency(2_000.0 * cost),
            user_cpu_us_per_echo: Some((2e3 * cost * cost * cost).round() / 1e3),
            cpu_us_per_echo: Some(5.0 + (2e3 * cost * cost * cost).round() / 1e3),
            user_instructions_per_echo: None,
            instructions_note: Some("perf is not installed".into()),
        }),
        open_loop: Some(OpenLoop {
            rate: 20_000.0,
            echoes_per_s: 20_000.0,
            late: 12,
            latency: latency(80.0 * cost),
            failures: BTreeMap::new(),
        }),
        workloads: BTreeMap::from([(
            "1MiB".into(),
            ClosedLoop {
                echoes: 3_000,
                echoes_per_s: (2_000.0 / cost).round(),
                cpu_us_per_echo: Some((300.0 * cost).round()),
                ..ClosedLoop::default()
            },
        )]),
        others_cpu_share: Some(0.01),
        exit: Some("exit 0".into()),
    }
}

fn latency(median: f64) -> Latency {
    let factors = [0.3, 0.6, 0.8, 1.0, 1.3, 1.8, 2.4, 3.5, 4.5, 6.0, 9.0, 12.0, 40.0, 90.0];
    let percentiles_us =
        PERCENTILES.into_iter().zip(factors.map(|factor| (factor * median).round())).collect();
    Latency { samples: 80_000, percentiles_us }
}

/// An origin, also for the tests of other records.
pub fn origin(command: &str) -> Origin {
    Origin {
        schema: SCHEMA,
        date: "2025-01-02T03:04:05Z".into(),
        commit: Some("0123abc".into()),
        command: command.into(),
    }
}

/// A machine, also for the tests of other records.
pub fn machine() -> Machine {
    Machine {
        cpu: "Example CPU <&>".into(),
        cores: 2,
        memory_bytes: 25_276_500_000,
        kernel: "Linux 6.18".into(),
        limits: BTreeMap::from([("fs.nr_open".into(), "1,048,576".into())]),
    }
}
