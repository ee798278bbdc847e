//! `client compare`: the same load against one server after the other, in interleaved rounds, and a report.

pub(crate) mod build;
pub(crate) mod host;
pub(crate) mod measure;
mod peers;
pub(crate) mod plan;
pub(crate) mod server;
mod show;
mod visit;
mod workload;

use crate::report::results::{Results, SCHEMA, Target};
use crate::report::{self, RESULTS_FILE, STAGES};
use crate::{cli, file, words};
use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use plan::{Plan, Subject};
use show::Show;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

/// Begins the lines that say what went wrong.
const PROGRAM: &str = "client compare";

/// Builds and starts each stage in turn, drives the same load against each, and writes a report.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Fewer connections and shorter runs: under 40 seconds, and rougher figures
    #[arg(long)]
    pub quick: bool,

    /// Rounds, each of which visits every server once
    #[arg(long, value_name = "N", default_value = "3", value_parser = cli::count_to(1_000))]
    pub rounds: u64,

    /// What to load the servers with; without `small` memory is not measured
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

    /// Which stages, or `none`
    #[arg(long, value_name = "N,N,...", default_value = "1,2,3,4", value_parser = plan::parse_stages)]
    pub stages: plan::Stages,

    /// Servers on other crates beside the stages: all of the folder `peers`, or those named
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', num_args = 0..=1, require_equals = true)]
    pub peers: Option<Vec<String>>,

    /// Another WebSocket echo server: a name and the command that starts it, in which {port} becomes a free port.
    /// It is split at spaces that are not quoted, and started without a shell. May be given several times
    #[arg(long, value_name = "NAME=COMMAND", value_parser = plan::parse_target)]
    pub target: Vec<plan::Other>,

    /// The path at which those servers echo
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = cli::path)]
    pub target_path: String,

    /// Messages a second in open loop [default: 40% of what the slowest does in closed loop]
    #[arg(long, value_name = "N", value_parser = cli::rate_per_s)]
    pub open_rate: Option<f64>,

    /// Where the report goes
    #[arg(long, value_name = "DIRECTORY", default_value = "report")]
    pub out: PathBuf,

    /// Take the stages and peers as they are built
    #[arg(long)]
    pub no_build: bool,

    /// Show no progress
    #[arg(long)]
    pub quiet: bool,

    /// Measure nothing: write the report anew from the results.json of an earlier comparison
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
            return Err(
                "--levels and --open-rate are for --workload small: add it, or leave them away".into()
            );
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

    /// The peers that `--peers` names.
    ///
    /// # Errors
    /// Those of [`peers::choose`].
    fn chosen_peers(&self) -> Result<Vec<peers::Peer>, String> {
        self.peers.as_ref().map_or(Ok(Vec::new()), |names| peers::choose(names))
    }
}

/// Compares. The exit status is 0 for a complete comparison, and 1 for any other.
pub fn run(args: &CompareArgs) -> ExitCode {
    let outcome = match &args.from {
        Some(results) => report::read(results).and_then(|results| finish(&results, &args.out)),
        None => compare(args, cli::stop_on_ctrl_c()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            words::complain(PROGRAM, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures and reports; says whether all went well.
fn compare(args: &CompareArgs, stop: &'static AtomicBool) -> Result<bool> {
    let mut plan = Plan::new(args, stop)?;
    if !args.no_build {
        build::stages(&plan.subjects)?;
        build::peers(&plan.subjects, args.quiet)?;
    }
    // Before the first minute is spent: can the report be written, and does every server start and echo?
    file::check_directory(&args.out)?;
    let began = Instant::now();
    let mut results = blank(&plan);
    let mut show = Show::new(&plan, args.quiet);
    visit::rehearse(&mut plan, &mut show)?;
    results.settings = plan.settings.clone();
    rounds(&plan, &mut show, &mut results, &args.out, began);
    show.finish();
    finish(&results, &args.out)
}

/// Visits every server in every round. The report is written after each visit, so that an end at any moment keeps
/// what was measured.
fn rounds(plan: &Plan, show: &mut Show, results: &mut Results, out: &Path, began: Instant) {
    let mut failed: Vec<&str> = Vec::new();
    for round in 1..=plan.settings.rounds {
        for subject in &plan.subjects {
            if failed.contains(&subject.name.as_str()) || plan.stop.load(Relaxed) {
                continue;
            }
            show.visit(round, &subject.name);
            // One that a server cannot do it need not be asked again.
            let mut workloads = plan.settings.workloads.clone();
            workloads.retain(|workload| {
                results.visits_to(&subject.name).all(|visit| visit.workloads.contains_key(&workload.name))
            });
            let visit::Visited { visit, failed_workloads, error } =
                visit::visit(plan, subject, &workloads, round, show);
            match error {
                Some(_) => {
                    show.failed();
                    failed.push(&subject.name);
                }
                None => show.visited(&visit),
            }
            let failures = failed_workloads.into_iter().chain(error);
            let place = format!("{}, round {round}", subject.name);
            results.failures.extend(failures.map(|error| format!("{place}: {error:#}")));
            results.visits.push(visit);
            results.elapsed_s = began.elapsed().as_secs_f64().round();
            // Room may be made before the end, where it is written again.
            if let Err(error) = report::write(results, out) {
                words::complain(PROGRAM, &format!("{error:#}"));
            }
        }
    }
    if plan.stop.load(Relaxed) && results.failures.is_empty() {
        results.failures.push("interrupted before the last round was over".into());
    }
}

/// Writes the report, and the table to the terminal; says whether the comparison was complete.
fn finish(results: &Results, out: &Path) -> Result<bool> {
    let written = report::write(results, out);
    words::print(&cli::fitted(&report::table(results)));
    for failure in &results.failures {
        words::complain(PROGRAM, failure);
    }
    written?;
    let took = report::format::seconds(results.elapsed_s);
    let [page, data] = ["index.html", RESULTS_FILE].map(|name| out.join(name).display().to_string());
    words::line(&format!("measured in {took}; report: {page}, data: {data}"));
    Ok(results.failures.is_empty())
}

fn blank(plan: &Plan) -> Results {
    let target = |subject: &Subject| Target { name: subject.name.clone(), command: subject.command_line() };
    Results {
        schema: SCHEMA,
        date: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        commit: build::commit(),
        command: plan::command_line(),
        elapsed_s: 0.0,
        machine: host::machine(),
        settings: plan.settings.clone(),
        targets: plan.subjects.iter().map(target).collect(),
        visits: Vec::new(),
        failures: Vec::new(),
    }
}
