//! What a comparison measures, on which servers.

use super::args::CompareArgs;
use super::workload;
use crate::doctor::Machine;
use crate::results::compare::Settings;
use crate::subject::Subject;
use crate::watch::InstructionCount;
use anyhow::Result;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What a comparison measures, on which servers.
pub struct Plan {
    /// The servers, in the order of each round.
    pub subjects: Vec<Subject>,
    /// Sizes and times of the load.
    pub settings: Settings,
    /// The time before each measured loop that is not recorded.
    pub warmup: Duration,
    /// Why instructions cannot be counted on this machine; `None` where they can.
    pub no_instructions: Option<String>,
    /// Set by Ctrl-C.
    pub stop: &'static AtomicBool,
}

impl Plan {
    /// The plan for these arguments.
    ///
    /// # Errors
    /// Where this program cannot tell where it is.
    pub fn new(args: &CompareArgs, stop: &'static AtomicBool) -> Result<Self> {
        let settings = settings(args);
        let subjects = subjects(args)?;
        Ok(Self {
            subjects,
            settings,
            warmup: Duration::from_millis(if args.quick { 150 } else { 500 }),
            no_instructions: InstructionCount::probe().err(),
            stop,
        })
    }

    /// The most connections that any visit may open.
    pub fn most_connections(&self) -> u64 {
        let settings = &self.settings;
        settings
            .levels
            .iter()
            .copied()
            .chain([settings.load_connections, settings.warm_connections])
            .chain(settings.workloads.iter().map(|workload| workload.connections))
            .max()
            .unwrap_or(1)
    }
}

fn settings(args: &CompareArgs) -> Settings {
    let mut levels = match (args.levels.is_empty(), args.quick) {
        (false, _) => args.levels.clone(),
        (true, false) => vec![1_000, 3_000, 10_000, 30_000],
        (true, true) => vec![1_000, 5_000],
    };
    if !workload::has_small(&args.workload) {
        levels.clear();
    }
    levels.sort_unstable();
    levels.dedup();
    // As many as in the talk's tables, unless all levels are lower.
    let load_connections = levels.last().map_or(0, |&most| most.min(2_000));
    Settings {
        rounds: args.rounds as u32,
        quick: args.quick,
        levels,
        warm_connections: 200,
        load_connections,
        active: load_connections.div_ceil(4),
        payload_bytes: 32,
        closed_loop_s: if args.quick { 0.4 } else { 3.0 },
        open_loop_s: if args.quick { 0.5 } else { 4.0 },
        open_rate: args.open_rate,
        workloads: workload::others(&args.workload),
    }
}

fn subjects(args: &CompareArgs) -> Result<Vec<Subject>> {
    let machine = Machine::here();
    let stages = args.stages.0.iter().map(|&number| Subject::stage(number, &machine));
    let peers = args.chosen_peers().map_err(anyhow::Error::msg)?;
    let peers = peers.into_iter().map(|peer| Ok(Subject::peer(peer, &machine)));
    let others = args.target.iter().map(|other| Ok(Subject::other(other, &args.target_path)));
    stages.chain(peers).chain(others).collect()
}
