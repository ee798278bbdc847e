//! The flags of `client compare`.

use super::workload;
use crate::report::STAGES;
use crate::{cli, subject};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;

/// Builds and starts each stage in turn, drives the same load against each, and writes a report.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Fewer connections and shorter runs: under 40 seconds, and rougher figures
    #[arg(long)]
    pub quick: bool,

    /// Rounds, each of which visits every server once
    #[arg(long, value_name = "N", default_value = "3", value_parser = cli::count_to(1_000))]
    pub rounds: u64,

    /// The messages to load the servers with; memory is measured with `small` only
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = workload::SMALL,
        value_parser = PossibleValuesParser::new(workload::names())
    )]
    pub workload: Vec<String>,

    /// Numbers of connections to measure at, ascending [default: 1000,3000,10000,30000; quick: 1000,5000]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = cli::count_to(10_000_000))]
    pub levels: Vec<u64>,

    /// Stages to compare, or `none`
    #[arg(long, value_name = "N,N,...", default_value = "1,2,3,4", value_parser = subject::parse_stages)]
    pub stages: subject::Stages,

    /// Compare servers on other crates too: all in the folder `peers`, or those named
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', num_args = 0..=1, require_equals = true)]
    pub peers: Option<Vec<String>>,

    /// Another WebSocket echo server: a name and the command that starts it, in which {port} becomes a free port.
    /// It is split at spaces that are not quoted, and started without a shell. May be given several times
    #[arg(long, value_name = "NAME=COMMAND", value_parser = subject::parse_target)]
    pub target: Vec<subject::Other>,

    /// The path at which the servers given by --target echo
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = cli::path)]
    pub target_path: String,

    /// Messages per second in open loop [default: 40% of the slowest server's rate in closed loop]
    #[arg(long, value_name = "N", value_parser = cli::rate_per_s)]
    pub open_rate: Option<f64>,

    /// Write the report to this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "report")]
    pub out: PathBuf,

    /// Do not build the stages and peers
    #[arg(long)]
    pub no_build: bool,

    /// Do not show progress
    #[arg(long)]
    pub quiet: bool,

    /// Do not measure: write the report from the results.json of an earlier comparison
    #[arg(long, value_name = "RESULTS.JSON")]
    pub from: Option<PathBuf>,
}

impl CompareArgs {
    /// Fails where there is nothing to compare, a peer is unknown, or there are two servers of one name.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub fn check(&self) -> Result<(), String> {
        if !workload::has_small(&self.workload) && (!self.levels.is_empty() || self.open_rate.is_some()) {
            return Err("--levels and --open-rate are for --workload small: add it, or omit them".into());
        }
        let stages = self.stages.0.iter().map(|&number| STAGES[usize::from(number) - 1].package);
        let targets = self.target.iter().map(|target| target.name.as_str());
        let peers = self.chosen_peers()?;
        let peers = peers.iter().map(|peer| peer.name.as_str());
        let mut names: Vec<_> = stages.chain(peers).chain(targets).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            _ if self.from.is_some() => Ok(()),
            _ if names.is_empty() => Err("nothing to compare: give --stages, --peers or --target".into()),
            Some(pair) => Err(format!("two servers have the same name, {}: give each another", pair[0])),
            None => Ok(()),
        }
    }

    /// The peers given with `--peers`.
    ///
    /// # Errors
    /// Those of [`subject::choose_peers`].
    pub(super) fn chosen_peers(&self) -> Result<Vec<subject::Peer>, String> {
        self.peers.as_ref().map_or(Ok(Vec::new()), |names| subject::choose_peers(names))
    }
}
