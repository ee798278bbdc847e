//! A server under test: how it is named on a command line, built, started and stopped, and on which machine.

mod build;
mod built;
mod host;
mod peers;
mod provenance;
mod server;
mod target;

pub use build::{peers as build_peers, stages as build_stages};
pub use host::machine;
pub use peers::{Peer, choose as choose_peers};
pub use provenance::{command_line, origin};
pub use server::Server;
pub use target::{Other, Stages, parse_stages, parse_target};

use crate::doctor::{self, Machine};
use crate::report::STAGES;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// How a server is started.
#[derive(Clone, Debug)]
pub enum Start {
    /// A stage: its binary.
    Stage(PathBuf),
    /// A peer: its binary.
    Peer(PathBuf),
    /// Any other: the words of its command, and the path at which it echoes.
    Other(Vec<String>, String),
}

/// A server to be measured.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The package of a stage, the crate of a peer, or the name given with `--target`.
    pub name: String,
    /// How it is started.
    pub start: Start,
    /// Its estimated capacity on this machine, in connections, and the limit that sets it; `None` with `--target`.
    pub capacity: Option<(u64, &'static str)>,
}

impl Subject {
    /// The stage of this number, in this program's own directory.
    ///
    /// # Errors
    /// Where the path of this program is unknown.
    pub fn stage(number: u8, machine: &Machine) -> Result<Self> {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let directory = own.parent().context("this program is in no directory")?;
        let package = STAGES[usize::from(number) - 1].package;
        let verdict = doctor::examine(machine, 1, Some(number)).stages.remove(0);
        Ok(Self {
            name: package.into(),
            start: Start::Stage(directory.join(package)),
            capacity: Some((verdict.holds, verdict.stopped_by)),
        })
    }

    /// A peer: all its connections are in one descriptor table.
    pub fn peer(peer: Peer, machine: &Machine) -> Self {
        /// Descriptors of its runtime, its listener and the standard streams.
        const RESERVE: u64 = 64;
        let holds = machine.nofile.1.saturating_sub(RESERVE);
        Self {
            name: peer.name,
            start: Start::Peer(peer.binary),
            capacity: Some((holds, "nofile, hard limit")),
        }
    }

    /// A server given by its command, which echoes at `path`.
    pub fn other(other: &Other, path: &str) -> Self {
        Self {
            name: other.name.clone(),
            start: Start::Other(other.words.clone(), path.into()),
            capacity: None,
        }
    }

    /// Whether it is one of ours, which ends with exit 0 on SIGTERM.
    pub fn is_stage(&self) -> bool {
        matches!(self.start, Start::Stage(_))
    }

    /// How many of these connections to try for, and the limit that stops a peer there. A peer out of descriptors leaves
    /// connections in the backlog, and it takes minutes until all of them have timed out.
    pub fn goal(&self, connections: u64) -> (u64, Option<&'static str>) {
        match (&self.start, self.capacity) {
            (Start::Peer(_), Some((holds, by))) if connections > holds => (holds, Some(by)),
            _ => (connections, None),
        }
    }

    /// How it is started, for people to read; without the directory of this machine's builds.
    pub fn command_line(&self) -> String {
        match &self.start {
            Start::Stage(_) => {
                format!("{} --addr 127.0.0.1:0 --admin-addr 127.0.0.1:0 --max-connections N", self.name)
            }
            Start::Peer(_) => format!("{} 127.0.0.1:{{port}}", self.name),
            Start::Other(words, _) => words.join(" "),
        }
    }

    /// The limit on memory that this many connections would exceed, if there is one.
    pub fn lacks_memory_for(&self, connections: u64) -> Option<&'static str> {
        self.capacity.filter(|(holds, by)| connections > *holds && by.contains("memory")).map(|(_, by)| by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_loaded_as_far_as_its_descriptors_go() {
        let mut machine = Machine::here();
        machine.nofile.1 = 20_000;
        let peer = Peer { name: "axum".into(), binary: "/nowhere".into() };
        let mut peer = Subject::peer(peer, &machine);
        assert_eq!(peer.goal(10_000), (10_000, None));
        assert_eq!(peer.goal(30_000), (19_936, Some("nofile, hard limit")));
        peer.start = Start::Stage("/nowhere".into());
        assert_eq!(peer.goal(30_000), (30_000, None), "a stage has a table for each shard");
    }
}
