//! One visit to a server: start, warm-up, memory level by level, loops, close, stop.

use super::loops::{self, check_connected, check_echoes, check_interrupted, fleet};
use super::plan::Plan;
use super::show::Show;
use crate::fleet::{ConnectPhase, Fleet, Progress};
use crate::measure::{self, Others, Rest};
use crate::progress::Goal;
use crate::report::format::count;
use crate::results::compare::{Level, Process, Visit, Workload};
use crate::subject::{Server, Subject};
use anyhow::{Context, Error, Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a server may take to notice that all connections have closed.
const UNTIL_EMPTY: Duration = Duration::from_secs(5);

/// Starts each server once and loads it briefly, to find what cannot be compared before the first minute is spent, and to
/// set the rate of the open loop to what the slowest server sustains.
///
/// # Errors
/// The first server that does not start, or does not echo, and why.
pub fn rehearse(plan: &mut Plan, show: &mut Show) -> Result<()> {
    let mut slowest = f64::INFINITY;
    for subject in &plan.subjects {
        show.step(&format!("rehearsing {}", subject.name));
        let mut server =
            Server::start(subject, plan.most_connections()).with_context(|| subject.name.clone())?;
        let rate = rehearse_one(plan, &mut server).and_then(|rate| {
            server.stop()?;
            Ok(rate)
        });
        slowest = slowest.min(rate.with_context(|| subject.name.clone())?);
    }
    if plan.settings.has_small() {
        plan.settings.open_rate.get_or_insert(two_digits(slowest * 0.4));
    }
    Ok(())
}

fn rehearse_one(plan: &Plan, server: &mut Server) -> Result<f64> {
    let settings = &plan.settings;
    let (connections, active) = match settings.has_small() {
        true => (settings.load_connections, settings.active),
        false => (settings.warm_connections, settings.warm_connections),
    };
    let mut fleet = fleet(plan, server, connections)?;
    let opened = fleet.connect_to(connections, None, &mut |_| ())?;
    check_connected(&opened, server)?;
    let run = fleet.closed_loop(active, plan.warmup, Duration::from_millis(250), &mut |_| ())?;
    check_echoes(&run, server)?;
    fleet.close_all(&mut |_| ())?;
    Ok(run.echoes_per_s)
}

/// The outcome of a visit.
pub struct Visited {
    /// Its figures, up to the error if there was one.
    pub visit: Visit,
    /// Workloads that failed on this server, and why.
    pub failed_workloads: Vec<Error>,
    /// What ended the visit early.
    pub error: Option<Error>,
}

/// Visits a server: the default workload, if the plan has it, and these. What was measured before an error is kept.
pub fn visit(plan: &Plan, subject: &Subject, workloads: &[Workload], round: u32, show: &mut Show) -> Visited {
    let visit = Visit {
        target: subject.name.clone(),
        round,
        warm: Process::default(),
        levels: Vec::new(),
        held: 0,
        stopped: None,
        rejected: BTreeMap::new(),
        after_close: None,
        closed_loop: None,
        open_loop: None,
        workloads: BTreeMap::new(),
        others_cpu_share: None,
        exit: None,
    };
    let mut visited = Visited { visit, failed_workloads: Vec::new(), error: None };
    visited.error = measure_all(plan, subject, workloads, &mut visited, show).err();
    visited
}

fn measure_all(
    plan: &Plan,
    subject: &Subject,
    workloads: &[Workload],
    visited: &mut Visited,
    show: &mut Show,
) -> Result<()> {
    let mut server = Server::start(subject, plan.most_connections())?;
    let outcome = loops(plan, subject, &mut server, workloads, visited, show);
    server.outlived(outcome)?;
    let ending = server.stop()?;
    let is_stage = subject.is_stage();
    let well = !is_stage || ending == "exit 0";
    visited.visit.exit = is_stage.then(|| ending.clone());
    ensure!(well, "it ended with {ending} on SIGTERM, and not with exit 0");
    Ok(())
}

fn loops(
    plan: &Plan,
    subject: &Subject,
    server: &mut Server,
    workloads: &[Workload],
    visited: &mut Visited,
    show: &mut Show,
) -> Result<()> {
    if plan.settings.has_small() {
        grow(plan, subject, server, &mut visited.visit, show)?;
    }
    let watched = server.watched();
    let others = Others::since_now(&watched)?;
    if plan.settings.has_small() {
        load(plan, server, &mut visited.visit, show)?;
    }
    for workload in workloads {
        let outcome = loops::run(plan, server, workload, show);
        check_interrupted(plan)?;
        match server.outlived(outcome) {
            Ok(run) => drop(visited.visit.workloads.insert(workload.name.clone(), run)),
            Err(error) => {
                server.check_alive()?;
                visited.failed_workloads.push(error.context(workload.name.clone()));
            }
        }
    }
    visited.visit.others_cpu_share = others.share(&watched)?;
    Ok(())
}

/// Measures memory from the warm process without connections to as many as the plan asks for or the server holds, and back.
fn grow(
    plan: &Plan,
    subject: &Subject,
    server: &mut Server,
    visit: &mut Visit,
    show: &mut Show,
) -> Result<()> {
    let mut fleet = fleet(plan, server, plan.most_connections())?;
    show.step("warming up");
    fleet.connect_to(plan.settings.warm_connections, None, &mut |_| ())?;
    check_echoes(&fleet.echo_once(&mut |_| ())?, server)?;
    fleet.close_all(&mut |_| ())?;
    measure::wait_until_empty(server.admin, UNTIL_EMPTY);
    let warm = Rest::of(&server.watched())?;
    visit.warm = warm.to_process();

    for &asked in &plan.settings.levels {
        if let Some(reason) = subject.lacks_memory_for(asked) {
            visit.stopped = Some(reason.into());
            break;
        }
        let (asked, limit) = subject.goal(asked);
        show.phase("connecting", Goal::Connections(asked));
        let opened = fleet.connect_to(asked, None, &mut |progress| show.tick(progress))?;
        check_interrupted(plan)?;
        server.check_alive()?;
        let level = level(&mut fleet, server, &warm, &opened, show)?;
        visit.held = visit.held.max(level.open);
        let full = level.is_full();
        visit.levels.push(level);
        visit.rejected = measure::rejected(server.admin);
        if !full {
            visit.stopped = Some(reason(subject, &visit.rejected, &opened));
            break;
        }
        if let Some(limit) = limit {
            visit.stopped = Some(limit.into());
            break;
        }
    }
    close(&mut fleet, show)?;
    measure::wait_until_empty(server.admin, UNTIL_EMPTY);
    measure::wait_until_given_back(&server.watched())?;
    visit.after_close = Some(Rest::of(&server.watched())?.to_process());
    Ok(())
}

/// Measures at one number of connections: idle, and after an echo per connection.
fn level(
    fleet: &mut Fleet,
    server: &Server,
    warm: &Rest,
    opened: &ConnectPhase,
    show: &mut Show,
) -> Result<Level> {
    /// Fewer are opened too quickly to measure a rate.
    const ENOUGH_FOR_A_RATE: u64 = 500;
    show.step(&format!("memory at {} connections", count(opened.connected as f64)));
    let idle = Rest::of(&server.watched())?;
    let echoed = fleet.echo_once(&mut |_| ())?;
    let after = Rest::of(&server.watched())?;
    let (kernel_bytes, kernel_source) = idle.kernel_bytes_above(warm).unzip();
    Ok(Level {
        asked: opened.requested,
        open: opened.connected,
        connects_per_s: (opened.opened >= ENOUGH_FOR_A_RATE).then(|| opened.connects_per_s.round()),
        idle_bytes: idle.user_bytes_above(warm),
        echoed_bytes: (echoed.echoes == opened.connected).then(|| after.user_bytes_above(warm)),
        kernel_bytes,
        kernel_source: kernel_source.map(str::to_owned),
        threads: idle.process.threads,
        failures: measure::by_class(&opened.failures),
    })
}

/// What stopped a server before a level: the reason in its metrics, and the limit behind it, or else the most frequent
/// failure.
fn reason(subject: &Subject, rejected: &BTreeMap<String, u64>, opened: &ConnectPhase) -> String {
    let most = rejected.iter().max_by_key(|(_, count)| **count).map(|(reason, _)| reason.as_str());
    match (most, subject.capacity) {
        (Some("threads"), Some((_, limit))) => limit.into(),
        (Some("full"), _) => "its --max-connections".into(),
        (Some(reason), _) => reason.replace('_', " "),
        (None, _) => match opened.failures.classes().max_by_key(|(_, count)| *count) {
            Some((class, _)) => class.name().replace('_', " "),
            None => "an interruption".into(),
        },
    }
}

/// Measures throughput, then latency, at a number of connections that all servers hold.
fn load(plan: &Plan, server: &mut Server, visit: &mut Visit, show: &mut Show) -> Result<()> {
    let settings = &plan.settings;
    let mut fleet = fleet(plan, server, settings.load_connections)?;
    show.phase("connecting", Goal::Connections(settings.load_connections));
    fleet.connect_to(settings.load_connections, None, &mut |progress| show.tick(progress))?;
    check_interrupted(plan)?;
    let run = loops::closed_loop(plan, server, &mut fleet, ("closed loop", settings.active), show)?;
    let closed = visit.closed_loop.insert(run);
    match loops::instructions(plan, server, &mut fleet, show)? {
        Ok(each) => closed.user_instructions_per_echo = Some(each),
        Err(note) => closed.instructions_note = Some(note),
    }
    if let Some(rate) = settings.open_rate {
        let length = Duration::from_secs_f64(settings.open_loop_s);
        show.measured("open loop", plan.warmup, length);
        let on_tick = &mut |progress: &Progress| show.tick(progress);
        let run = fleet.open_loop(settings.active, rate, plan.warmup, length, on_tick)?;
        check_interrupted(plan)?;
        check_echoes(&run, server)?;
        visit.open_loop = Some(measure::open_loop(&run, rate));
    }
    close(&mut fleet, show)
}

fn close(fleet: &mut Fleet, show: &mut Show) -> Result<()> {
    show.phase("closing", Goal::Close);
    fleet.close_all(&mut |progress| show.tick(progress))?;
    Ok(())
}

fn two_digits(rate: f64) -> f64 {
    let step = 10f64.powf(rate.max(10.0).log10().floor() - 1.0);
    ((rate / step).floor() * step).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_rate_is_round_and_below_what_the_slowest_does() {
        assert_eq!(two_digits(41_987.0), 41_000.0);
        assert_eq!(two_digits(990.0), 990.0);
        assert_eq!(two_digits(0.2), 1.0);
    }
}
