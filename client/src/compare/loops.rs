//! The loops of a visit: how a fleet loads a server, the cost at the server, and whether every echo arrived.

use super::plan::Plan;
use super::show::Show;
use crate::fleet::{ConnectPhase, EchoPhase, Fleet, FleetConfig, Progress};
use crate::measure;
use crate::progress::Goal;
use crate::results::compare::{ClosedLoop, Workload};
use crate::subject::Server;
use crate::watch::InstructionCount;
use anyhow::{Result, bail, ensure};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A fleet of up to this many connections, with the messages of the default workload.
pub fn fleet(plan: &Plan, server: &Server, connections: u64) -> Result<Fleet> {
    let mut config = FleetConfig::new(server.endpoint.clone(), connections);
    config.payload_len = plan.settings.payload_bytes as usize;
    config.stop = plan.stop;
    Fleet::start(config)
}

/// Runs a workload on a server, over connections of its own.
///
/// # Errors
/// Where the server does not accept the connections, or an echo is wrong or missing.
pub fn run(plan: &Plan, server: &mut Server, workload: &Workload, show: &mut Show) -> Result<ClosedLoop> {
    let mut fleet = Fleet::start(FleetConfig {
        payload_len: workload.payload_bytes as usize,
        in_flight: workload.in_flight as u32,
        stop: plan.stop,
        ..FleetConfig::new(server.endpoint.clone(), workload.connections)
    })?;
    let opened = fleet.connect_to(workload.connections, None, &mut |_| ())?;
    check_interrupted(plan)?;
    check_connected(&opened, server)?;
    let run = closed_loop(plan, server, &mut fleet, (&workload.name, workload.connections), show)?;
    fleet.close_all(&mut |_| ())?;
    Ok(run)
}

/// A closed loop over `active` connections, and its cost at the server.
///
/// # Errors
/// Where an echo is wrong or missing, or on Ctrl-C.
pub fn closed_loop(
    plan: &Plan,
    server: &mut Server,
    fleet: &mut Fleet,
    (what, active): (&str, u64),
    show: &mut Show,
) -> Result<ClosedLoop> {
    let watched = server.watched();
    let length = Duration::from_secs_f64(plan.settings.closed_loop_s);
    let before = (watched.read()?, fleet.progress());
    show.measured(what, plan.warmup, length);
    let on_tick = &mut |progress: &Progress| show.tick(progress);
    let run = fleet.closed_loop(active, plan.warmup, length, on_tick)?;
    let after = (watched.read()?, fleet.progress());
    check_interrupted(plan)?;
    check_echoes(&run, server)?;
    Ok(measure::closed_loop(&run, before, after))
}

/// User-space instructions per echo, or why they cannot be counted. They have a loop of their own, because counting slows
/// down each context switch.
pub fn instructions(
    plan: &Plan,
    server: &Server,
    fleet: &mut Fleet,
    show: &mut Show,
) -> Result<Result<f64, String>> {
    if let Some(reason) = &plan.no_instructions {
        return Ok(Err(reason.clone()));
    }
    let count = match InstructionCount::start(server.pid()) {
        Ok(count) => count,
        Err(reason) => return Ok(Err(reason)),
    };
    let before = fleet.progress().echoes;
    let length = Duration::from_secs_f64(plan.settings.closed_loop_s / 4.0);
    show.phase("counting instructions", Goal::Time(length));
    let show = &mut |progress: &Progress| show.tick(progress);
    fleet.closed_loop(plan.settings.active, Duration::ZERO, length, show)?;
    let echoes = fleet.progress().echoes.saturating_sub(before).max(1) as f64;
    Ok(count.finish().map(|instructions| (instructions / echoes).round()))
}

/// Fails where not all connections were opened.
///
/// # Errors
/// The death of the server, or else the failures, in one line.
pub fn check_connected(opened: &ConnectPhase, server: &mut Server) -> Result<()> {
    server.check_alive()?;
    measure::ensure_connected(opened)
}

/// Fails where an echo is wrong or missing.
///
/// # Errors
/// The death of the server, or else the failures, in one line.
pub fn check_echoes(run: &EchoPhase, server: &mut Server) -> Result<()> {
    server.check_alive()?;
    match run.failures.classes().next() {
        Some((class, count)) => {
            let first = run.failures.first.as_deref().unwrap_or_default();
            bail!("{count} echoes failed ({}: {first}): {}", class.name(), run.failures.advice(class))
        }
        None if run.missing > 0 => bail!("{} echoes are missing", run.missing),
        None => Ok(()),
    }
}

/// Fails after Ctrl-C.
pub fn check_interrupted(plan: &Plan) -> Result<()> {
    ensure!(!plan.stop.load(Relaxed), "interrupted");
    Ok(())
}
