//! What is to be measured, on which servers.

use super::CompareArgs;
use super::peers::Peer;
use crate::doctor::{self, Machine};
use crate::report::STAGES;
use crate::report::results::Settings;
use crate::watch::InstructionCount;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Which stages, as `--stages` has it: their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stages(pub Vec<u8>);

/// A server given with `--target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// The words of its command.
    pub words: Vec<String>,
}

/// Reads `1,3` or `none`.
pub fn parse_stages(text: &str) -> Result<Stages, String> {
    if text == "none" {
        return Ok(Stages(Vec::new()));
    }
    let number = |word: &str| match word.trim().parse() {
        Ok(number @ 1..=4) => Ok(number),
        _ => Err(format!("'{word}' is none of the stages 1, 2, 3 and 4")),
    };
    let mut stages = text.split(',').map(number).collect::<Result<Vec<u8>, _>>()?;
    stages.sort_unstable();
    stages.dedup();
    Ok(Stages(stages))
}

/// Reads `NAME=COMMAND`.
pub fn parse_target(text: &str) -> Result<Other, String> {
    let (name, command) = text.split_once('=').ok_or("write NAME=COMMAND")?;
    let words = words(command)?;
    if name.trim().is_empty() || words.is_empty() {
        return Err("write NAME=COMMAND, neither of them empty".into());
    }
    Ok(Other { name: name.trim().into(), words })
}

/// Splits a command at spaces, but for those in single or double quotes: a path may have some.
fn words(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in command.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(format!("there is no second {open} in {command:?}")),
        None => Ok(words),
    }
}

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
    /// Its package, its crate, or the name given with `--target`.
    pub name: String,
    /// How it is started.
    pub start: Start,
    /// The most connections it is reckoned to hold here, and what stops it; `None` for those of `--target`.
    pub reckoned: Option<(u64, &'static str)>,
}

impl Subject {
    /// The stage of this number, beside this program.
    ///
    /// # Errors
    /// Where this program cannot tell where it is.
    pub fn stage(number: u8, machine: &Machine) -> Result<Self> {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let directory = own.parent().context("this program is in no directory")?;
        let package = STAGES[usize::from(number) - 1].package;
        let verdict = doctor::examine(machine, 1, Some(number)).stages.remove(0);
        Ok(Self {
            name: package.into(),
            start: Start::Stage(directory.join(package)),
            reckoned: Some((verdict.holds, verdict.stopped_by)),
        })
    }

    /// A peer: all its connections are in one descriptor table.
    fn peer(peer: Peer, machine: &Machine) -> Self {
        /// For what else it has open: its runtime's, the listener, standard streams.
        const RESERVE: u64 = 64;
        let holds = machine.nofile.1.saturating_sub(RESERVE);
        Self {
            name: peer.name,
            start: Start::Peer(peer.binary),
            reckoned: Some((holds, "nofile, hard limit")),
        }
    }

    /// How many of these connections to try for, and what stops a peer there: one out of descriptors lets connections
    /// wait in the backlog, and it takes minutes until all of those have timed out.
    pub fn goal(&self, connections: u64) -> (u64, Option<&'static str>) {
        match (&self.start, self.reckoned) {
            (Start::Peer(_), Some((holds, by))) if connections > holds => (holds, Some(by)),
            _ => (connections, None),
        }
    }

    /// How it is started, to be shown; without the place where this machine keeps its builds.
    pub fn command_line(&self) -> String {
        match &self.start {
            Start::Stage(_) => {
                format!("{} --addr 127.0.0.1:0 --admin-addr 127.0.0.1:0 --max-connections N", self.name)
            }
            Start::Peer(_) => format!("{} 127.0.0.1:{{port}}", self.name),
            Start::Other(words, _) => words.join(" "),
        }
    }

    /// Whether memory would run out before so many connections: nothing is to be learned from trying.
    pub fn lacks_memory_for(&self, connections: u64) -> Option<&'static str> {
        self.reckoned.filter(|(holds, by)| connections > *holds && by.contains("memory")).map(|(_, by)| by)
    }
}

/// All that is to be done.
pub struct Plan {
    /// The servers, in the order of each round.
    pub subjects: Vec<Subject>,
    /// Sizes and times.
    pub settings: Settings,
    /// What precedes each measured loop, and is not recorded.
    pub warmup: Duration,
    /// Why instructions cannot be counted here, if they cannot.
    pub no_instructions: Option<String>,
    /// Set when the user wants an end.
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
    if !super::workload::has_small(&args.workload) {
        levels.clear();
    }
    levels.sort_unstable();
    levels.dedup();
    // As many as the talk's tables have, unless fewer are wanted anywhere.
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
        workloads: super::workload::others(&args.workload),
    }
}

fn subjects(args: &CompareArgs) -> Result<Vec<Subject>> {
    let machine = Machine::here();
    let stage = |number: &u8| Subject::stage(*number, &machine);
    let other = |other: &Other| {
        Ok(Subject {
            name: other.name.clone(),
            start: Start::Other(other.words.clone(), args.target_path.clone()),
            reckoned: None,
        })
    };
    let peers = args.chosen_peers().map_err(anyhow::Error::msg)?;
    let peers = peers.into_iter().map(|peer| Ok(Subject::peer(peer, &machine)));
    args.stages.0.iter().map(stage).chain(peers).chain(args.target.iter().map(other)).collect()
}

/// The command line that repeats a comparison.
pub fn command_line() -> String {
    let release = if cfg!(debug_assertions) { "" } else { "--release " };
    let words = std::env::args().skip(1).map(|word| quoted(&word));
    format!("cargo run {release}-p client -- {}", words.collect::<Vec<_>>().join(" "))
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_./:,=@%+".contains(letter);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted() {
        assert_eq!(quoted("--levels=20,60"), "--levels=20,60");
        assert_eq!(quoted("x='/opt/my server' {port}"), r"'x='\''/opt/my server'\'' {port}'");
        assert_eq!(quoted(""), "''");
    }

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

    #[test]
    fn stages_and_targets_parse() {
        assert_eq!(parse_stages("4,1,1"), Ok(Stages(vec![1, 4])));
        assert_eq!(parse_stages("none"), Ok(Stages(Vec::new())));
        assert!(parse_stages("5").is_err() && parse_stages("").is_err() && parse_stages("1,x").is_err());
        let target = parse_target("gorilla=/opt/server -p {port}").expect("a target");
        assert_eq!(target.name, "gorilla");
        assert_eq!(target.words, ["/opt/server", "-p", "{port}"]);
        let target = parse_target("x='/opt/my server' -a \"it's\" ''").expect("a target");
        assert_eq!(target.words, ["/opt/my server", "-a", "it's", ""]);
        for wrong in ["gorilla", "=x", "name=", " = ", "x='/opt/my server"] {
            assert!(parse_target(wrong).is_err(), "{wrong}");
        }
    }
}
