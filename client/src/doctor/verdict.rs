//! From the limits to verdicts: on each limit, and on each stage.

use super::costs::{Cost, STAGES, TCP_PAGES_BUSY};
use super::limits::{self, Limit};
use super::machine::{Conntrack, Machine};
use crate::report::format::{bytes, count, limit_bytes};
use common::limits::{shards_needed, table_capacity};
use serde::Serialize;

/// What became of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is enough.
    Ok,
    /// It stops the connections.
    Short,
    /// It stops nothing, and is worth knowing.
    Note,
}

/// One limit and what is to be said of it.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The kernel's name for it.
    pub name: String,
    /// What it is.
    pub current: String,
    /// What the connections need.
    pub needed: String,
    /// Whether that is enough.
    pub verdict: Verdict,
    /// The command that mends it, or what is worth knowing.
    pub advice: Option<String>,
}

/// Whether a stage holds the connections.
#[derive(Clone, Debug, Serialize)]
pub struct StageVerdict {
    /// Its package.
    pub stage: &'static str,
    /// Whether it holds them all.
    pub fits: bool,
    /// How many it holds.
    pub holds: u64,
    /// What stops it first.
    pub stopped_by: &'static str,
}

/// All verdicts. The layout of `client doctor --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// How many connections were asked about.
    pub connections: u64,
    /// Whether the stage that was asked about holds them, or any if none was.
    pub fits: bool,
    /// The limits.
    pub checks: Vec<Check>,
    /// The stages.
    pub stages: Vec<StageVerdict>,
}

/// Examines a machine for so many connections, to all stages or to the one of this number.
pub fn examine(machine: &Machine, connections: u64, stage: Option<u8>) -> Examination {
    let limits = limits::all(machine);
    let costs: Vec<&Cost> =
        STAGES.iter().filter(|cost| stage.is_none_or(|stage| cost.stage == stage)).collect();
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
    Examination { connections, fits: stages.iter().any(|stage| stage.fits), checks, stages }
}

fn stage_verdict(limits: &[Limit], cost: &Cost, connections: u64) -> StageVerdict {
    let stops = limits.iter().filter_map(|limit| Some((limit.capacity(cost)?, limit.name)));
    let (holds, stopped_by) = stops.min().unwrap_or((u64::MAX, "nothing"));
    StageVerdict { stage: cost.package, fits: connections <= holds, holds, stopped_by }
}

/// A limit as it stands for the highest stage that meets it: the one that this many connections are meant for.
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
    // Where only some stages meet a limit, or need more of it than this one, the row says whose figure it is.
    let all_alike = concerned.iter().all(|other| limit.needed(other, connections) == needed)
        && concerned.len() == costs.len();
    let of_stage =
        if all_alike || costs.len() == 1 { String::new() } else { format!(" (stage {})", cost.stage) };
    Some(Check {
        name: format!("{}{of_stage}", limit.name),
        current,
        needed: text(needed),
        verdict,
        advice: (verdict == Verdict::Short).then(|| limit.mend(needed)),
    })
}

/// The limits on descriptors. Each shard of either end has a table of its own, so they decide how many shards there
/// are, and stop nothing.
fn tables(machine: &Machine, connections: u64) -> Vec<Check> {
    let (soft, hard) = machine.nofile;
    let capacity = table_capacity(usize::try_from(hard).unwrap_or(usize::MAX));
    let shards = shards_needed(usize::try_from(connections).unwrap_or(usize::MAX), capacity.max(1));
    let kept = hard - (capacity as u64).min(hard);
    let needed = count((connections as f64 / shards as f64).ceil() + kept as f64);
    let many = format!(
        "{} shards, each with a table of its own; a higher limit (ulimit -Hn) makes them fewer",
        count(shards as f64)
    );
    let row = |name: &str, current: u64, advice: Option<String>| Check {
        name: name.into(),
        current: unlimited_or(current),
        needed: needed.clone(),
        verdict: Verdict::Ok,
        advice,
    };
    let raised = (soft < hard).then(|| "server and client raise it to the hard limit by themselves".into());
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
            "needs close_range(2) with CLOSE_RANGE_UNSHARE (Linux 5.9), or unshare(2) allowed".into()
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

/// Ports do not run out on loopback, where connections come from many addresses of 127.0.0.0/8.
fn ports(machine: &Machine, connections: u64) -> Option<Check> {
    let ports = machine.ports()?;
    let few = connections > ports;
    let advice = "no limit on loopback; from one address to a real server it is one: more --source-ip, or \
                  sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"";
    Some(Check {
        name: "net.ipv4.ip_local_port_range".into(),
        current: format!("{} ports", count(ports as f64)),
        needed: "–".into(),
        verdict: if few { Verdict::Note } else { Verdict::Ok },
        advice: few.then(|| advice.into()),
    })
}

/// An idle connection has no page; a burst in which every one sends at once takes [`TCP_PAGES_BUSY`] for each.
fn tcp_pages(machine: &Machine, connections: u64) -> Option<Check> {
    let share = machine.tcp_pages?;
    let burst = share.in_use + (connections as f64 * TCP_PAGES_BUSY) as u64;
    let short = burst > share.limit;
    let advice = || {
        format!(
            "idle connections take none of it; if all send at once, sysctl -w net.ipv4.tcp_mem=\"{} {} {burst}\"",
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

/// Connections that come faster than they are taken wait here; where it is full, they try again a second later.
fn queue(name: &str, length: Option<u64>) -> Option<Check> {
    const ENOUGH: u64 = 1_024;
    let length = length?;
    let short = length < ENOUGH;
    Some(Check {
        name: name.into(),
        current: count(length as f64),
        needed: count(ENOUGH as f64),
        verdict: if short { Verdict::Note } else { Verdict::Ok },
        advice: short.then(|| format!("a storm of connections is slowed down by it: sysctl -w {name}=4096")),
    })
}

fn unlimited_or(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".into() } else { count(limit as f64) }
}
