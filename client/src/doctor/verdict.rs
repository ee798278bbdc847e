//! Verdicts on each limit and on each stage.

use super::costs::{Cost, STAGES, TCP_PAGES_BUSY};
use super::limits::{self, Limit};
use super::machine::{Conntrack, Machine};
use crate::report::format::{bytes, count, limit_bytes};
use common::limits::{shards_needed, table_capacity};
use serde::Serialize;

/// The verdict on a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// High enough.
    Ok,
    /// Too low: it stops the connections.
    Short,
    /// Does not stop the connections, but slows them down or matters elsewhere.
    Note,
}

/// One limit with its verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The kernel's name of the limit.
    pub name: String,
    /// Current value, for display.
    pub current: String,
    /// Value that the connections need, for display.
    pub needed: String,
    /// Whether the current value suffices.
    pub verdict: Verdict,
    /// What to do, or what to know.
    pub advice: Option<String>,
}

/// Whether a stage can hold the connections.
#[derive(Clone, Debug, Serialize)]
pub struct StageVerdict {
    /// Its Cargo package.
    pub stage: &'static str,
    /// Whether it can hold all of them.
    pub fits: bool,
    /// How many it can hold.
    pub holds: u64,
    /// The limit it reaches first.
    pub stopped_by: &'static str,
}

/// All verdicts. The layout of `client doctor --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// Connections to hold.
    pub connections: u64,
    /// Whether HAProxy with TLS is in front of the stages, on this machine too.
    #[serde(skip_serializing_if = "is_false")]
    pub tls: bool,
    /// Whether the chosen stage can hold them; without one, whether any stage can.
    pub fits: bool,
    /// All limits, by topic.
    pub checks: Vec<Check>,
    /// The examined stages.
    pub stages: Vec<StageVerdict>,
}

/// Examines a machine for N connections to all stages, or to stage `stage` (1 to 4) only.
pub fn examine(machine: &Machine, connections: u64, stage: Option<u8>) -> Examination {
    examine_with(machine, connections, stage, false)
}

/// The same, with `tls` for `wss://` connections through HAProxy on this machine.
pub fn examine_with(machine: &Machine, connections: u64, stage: Option<u8>, tls: bool) -> Examination {
    let limits = limits::all(machine);
    let chosen = STAGES.iter().filter(|cost| stage.is_none_or(|stage| cost.stage == stage));
    let costs: Vec<Cost> = chosen.map(|cost| if tls { cost.behind_tls() } else { *cost }).collect();
    let costs: Vec<&Cost> = costs.iter().collect();
    let stages: Vec<StageVerdict> =
        costs.iter().map(|cost| stage_verdict(&limits, cost, connections)).collect();
    let mut checks = tables(machine, connections);
    checks.push(own_tables(machine));
    checks.extend(limits.iter().filter_map(|limit| check(limit, &costs, connections)));
    checks.extend(
        [conntrack_off(machine), ports(machine, connections), tcp_pages(machine, connections)]
            .into_iter()
            .flatten(),
    );
    checks.extend(
        [
            queue("net.core.somaxconn", machine.somaxconn),
            queue("net.ipv4.tcp_max_syn_backlog", machine.syn_backlog),
        ]
        .into_iter()
        .flatten(),
    );
    Examination { connections, tls, fits: stages.iter().any(|stage| stage.fits), checks, stages }
}

fn stage_verdict(limits: &[Limit], cost: &Cost, connections: u64) -> StageVerdict {
    let stops = limits.iter().filter_map(|limit| Some((limit.capacity(cost)?, limit.name)));
    let (holds, stopped_by) = stops.min().unwrap_or((u64::MAX, "nothing"));
    StageVerdict { stage: cost.package, fits: connections <= holds, holds, stopped_by }
}

/// A limit for the highest stage that it applies to: the one most likely to hold this many connections.
fn check(limit: &Limit, costs: &[&Cost], connections: u64) -> Option<Check> {
    let concerned: Vec<&&Cost> = costs.iter().filter(|cost| limit.concerns(cost)).collect();
    let cost = concerned.last()?;
    let needed = limit.needed(cost, connections);
    let current = match limit.in_bytes {
        true => limit_bytes(limit.limit),
        false => count(limit.limit as f64),
    };
    let text = |value: u64| if limit.in_bytes { bytes(value as f64) } else { count(value as f64) };
    let verdict = if needed <= limit.limit { Verdict::Ok } else { Verdict::Short };
    // The row names the stage if the need differs between stages.
    let all_alike = concerned.iter().all(|other| limit.needed(other, connections) == needed)
        && concerned.len() == costs.len();
    let of_stage =
        if all_alike || costs.len() == 1 { String::new() } else { format!(" (stage {})", cost.stage) };
    Some(Check {
        name: format!("{}{of_stage}", limit.name),
        current,
        needed: text(needed),
        verdict,
        advice: (verdict == Verdict::Short).then(|| limit.fix(needed)),
    })
}

/// The limits on descriptors. Each shard, at both ends, has its own table: the limits determine the number of shards,
/// and stop no connection.
fn tables(machine: &Machine, connections: u64) -> Vec<Check> {
    let (soft, hard) = machine.nofile;
    let capacity = table_capacity(usize::try_from(hard).unwrap_or(usize::MAX));
    let shards = shards_needed(usize::try_from(connections).unwrap_or(usize::MAX), capacity.max(1));
    let kept = hard - (capacity as u64).min(hard);
    let needed = count((connections as f64 / shards as f64).ceil() + kept as f64);
    let many = format!(
        "{} shards, each with its own descriptor table; a higher limit (ulimit -Hn) needs fewer",
        count(shards as f64)
    );
    let row = |name: &str, current: u64, advice: Option<String>| Check {
        name: name.into(),
        current: unlimited_or(current),
        needed: needed.clone(),
        verdict: Verdict::Ok,
        advice,
    };
    let raised = (soft < hard).then(|| "server and client raise it to the hard limit themselves".into());
    let mut rows = vec![row("nofile, soft limit", soft, raised)];
    rows.push(row("nofile, hard limit", hard, (machine.own_tables && shards > 1).then_some(many)));
    rows.extend(machine.nr_open.map(|most| row("fs.nr_open, to which nofile can be raised", most, None)));
    rows
}

fn own_tables(machine: &Machine) -> Check {
    let works = machine.own_tables;
    Check {
        name: "descriptor tables of their own".into(),
        current: if works { "yes" } else { "no" }.into(),
        needed: "yes".into(),
        verdict: if works { Verdict::Ok } else { Verdict::Note },
        advice: (!works).then(|| {
            "needs close_range(2) with CLOSE_RANGE_UNSHARE (Linux 5.9), or permission for unshare(2)".into()
        }),
    }
}

fn conntrack_off(machine: &Machine) -> Option<Check> {
    let current = match machine.conntrack {
        Conntrack::On(_) => return None,
        Conntrack::Off => "not tracking",
        Conntrack::Absent => "not loaded",
    };
    Some(Check {
        name: "net.netfilter.nf_conntrack_max".into(),
        current: current.into(),
        needed: "–".into(),
        verdict: Verdict::Ok,
        advice: None,
    })
}

/// Loopback connections do not run out of ports: the client uses many source addresses of 127.0.0.0/8.
fn ports(machine: &Machine, connections: u64) -> Option<Check> {
    let ports = machine.ports()?;
    let few = connections > ports;
    let advice = "does not limit loopback; limits one source address to a remote server: more --source-ip, or \
                  sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"";
    Some(Check {
        name: "net.ipv4.ip_local_port_range".into(),
        current: format!("{} ports", count(ports as f64)),
        needed: "–".into(),
        verdict: if few { Verdict::Note } else { Verdict::Ok },
        advice: few.then(|| advice.into()),
    })
}

/// An idle connection takes no pages; one with a message in flight takes [`TCP_PAGES_BUSY`].
fn tcp_pages(machine: &Machine, connections: u64) -> Option<Check> {
    let share = machine.tcp_pages?;
    let burst = share.in_use + (connections as f64 * TCP_PAGES_BUSY) as u64;
    let short = burst > share.limit;
    let advice = || {
        format!(
            "idle connections take no pages; if all send at once, sysctl -w net.ipv4.tcp_mem=\"{} {} {burst}\"",
            burst / 2,
            burst / 4 * 3
        )
    };
    Some(Check {
        name: "net.ipv4.tcp_mem, in pages".into(),
        current: count(share.limit as f64),
        needed: count(burst as f64),
        verdict: if short { Verdict::Note } else { Verdict::Ok },
        advice: short.then(advice),
    })
}

/// A queue of connections not yet accepted. While it is full, SYNs are dropped and retransmitted after a second.
fn queue(name: &str, length: Option<u64>) -> Option<Check> {
    const ENOUGH: u64 = 1_024;
    let length = length?;
    let short = length < ENOUGH;
    Some(Check {
        name: name.into(),
        current: count(length as f64),
        needed: count(ENOUGH as f64),
        verdict: if short { Verdict::Note } else { Verdict::Ok },
        advice: short.then(|| format!("slows down connection storms: sysctl -w {name}=4096")),
    })
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn unlimited_or(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".into() } else { count(limit as f64) }
}
