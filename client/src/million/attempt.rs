//! One stage, from the forecast to the exit of the server.

use super::Task;
use super::drain::Drain;
use super::forecast::Forecast;
use super::load::Load;
use super::record::{Memory, Raw, Run};
use super::room;
use crate::fleet::Progress;
use crate::measure::{Sampler, wait_until_empty};
use crate::progress::{Bar, Goal, Look};
use crate::raw;
use crate::subject::Server;
use crate::watch::Watched;
use anyhow::{Result, ensure};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

/// How long a server may take to notice that all connections have closed.
const UNTIL_EMPTY: Duration = Duration::from_secs(3);
/// The same where all were reset at once.
const UNTIL_EMPTY_CUT_OFF: Duration = Duration::from_secs(15);
/// A server returns memory within two quiescent seconds, and needs some seconds for the memory of a million connections.
const UNTIL_GIVEN_BACK: Duration = Duration::from_secs(5);

/// Loads a stage. What was measured before an error is kept, with the error.
pub fn attempt(task: &Task, stage: u8, forecast: &Forecast) -> Run {
    let mut run = Run {
        stage,
        package: forecast.subject.name.clone(),
        asked: task.settings.connections,
        goal: forecast.goal,
        advice: forecast.lines.clone(),
        server_flags: task.settings.server_flags.clone(),
        memory: Memory { client_start_bytes: task.client_start_bytes, ..Memory::default() },
        ..Run::default()
    };
    if let Err(error) = measure(task, forecast, &mut run) {
        run.error = Some(format!("{error:#}"));
    }
    run.interrupted = task.stop.load(Relaxed);
    run
}

fn measure(task: &Task, forecast: &Forecast, run: &mut Run) -> Result<()> {
    if task.settings.raw {
        run.raw = Some(floor(task, forecast.goal)?);
    }
    if task.stop.load(Relaxed) {
        return Ok(());
    }
    // Both ends are on this machine: with --pin, each connection is served on the core of its packets.
    let flags = [&["--pin".to_owned()], &task.settings.server_flags[..]].concat();
    let mut server = Server::start_with(&forecast.subject, forecast.goal, &flags)?;
    run.shards = server.shards;
    // The fleet is dropped here, and resets the connections that are still open.
    let outcome = Load::start(task, forecast, &server, run).and_then(|mut load| load.all());
    server.outlived(outcome)?;
    run.memory.server_closed_bytes = Some(emptied(task, &server)?);
    let ending = server.stop()?;
    run.exit = Some(ending.clone());
    ensure!(ending == "exit 0", "the server ended with {ending} on SIGTERM, and not with exit 0");
    Ok(())
}

/// Measures the floor for as many pairs; returns once the kernel has freed their sockets.
fn floor(task: &Task, pairs: u64) -> Result<Raw> {
    let drain = Drain::before();
    let mut bar = Bar::new(Look::new(task.quiet), "raw TCP".into(), Sampler::Unwatched)
        .with_memory_left(room::available_bytes);
    bar.begin("raw TCP", Goal::Connections(pairs));
    let floor =
        raw::floor(pairs, task.stop, |open| bar.tick(&Progress { connected: open, ..Progress::default() }));
    bar.finish();
    let floor = floor?;
    drain.wait(pairs, task.stop);
    let (setup_s, echoes_s) = (floor.setup.as_secs_f64(), floor.echoes.as_secs_f64());
    Ok(Raw { pairs: floor.pairs, setup_s, echoes_s })
}

/// Resident memory of the server after the last connection was closed.
fn emptied(task: &Task, server: &Server) -> Result<u64> {
    let stopped = task.stop.load(Relaxed);
    wait_until_empty(server.admin, if stopped { UNTIL_EMPTY_CUT_OFF } else { UNTIL_EMPTY });
    if !stopped {
        thread::sleep(UNTIL_GIVEN_BACK);
    }
    Ok(Watched::new(server.pid()).read()?.rss_bytes)
}
