//! `client compare`: the same load on one server after the other, in interleaved rounds, and a report.

mod args;
mod loops;
mod plan;
mod show;
mod visit;
mod workload;

pub use args::CompareArgs;

use crate::report::{self, RESULTS_FILE};
use crate::results::compare::{Results, SCHEMA, Target};
use crate::subject::{self, Subject};
use crate::{cli, file, words};
use anyhow::Result;
use plan::Plan;
use show::Show;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

/// Begins error lines.
const PROGRAM: &str = "client compare";

/// Compares. The exit status is 0 for a complete comparison, else 1.
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

/// Measures and reports. Returns whether the comparison is complete.
fn compare(args: &CompareArgs, stop: &'static AtomicBool) -> Result<bool> {
    let mut plan = Plan::new(args, stop)?;
    if !args.no_build {
        subject::build_stages(&plan.subjects)?;
        subject::build_peers(&plan.subjects, args.quiet)?;
    }
    // Fail before the first minute is spent: where the report cannot be written, or a server does not start or echo.
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

/// Visits every server in every round. The report is written after each visit, so that an interrupted comparison keeps
/// its figures.
fn rounds(plan: &Plan, show: &mut Show, results: &mut Results, out: &Path, began: Instant) {
    let mut failed: Vec<&str> = Vec::new();
    for round in 1..=plan.settings.rounds {
        for subject in &plan.subjects {
            if failed.contains(&subject.name.as_str()) || plan.stop.load(Relaxed) {
                continue;
            }
            show.visit(round, &subject.name);
            // A workload that failed once is not tried again.
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
            // Not fatal: the next visit writes it again.
            if let Err(error) = report::write(results, out) {
                words::complain(PROGRAM, &format!("{error:#}"));
            }
        }
    }
    if plan.stop.load(Relaxed) && results.failures.is_empty() {
        results.failures.push("interrupted before the last round was over".into());
    }
}

/// Writes the report, and the table to standard output. Returns whether the comparison is complete.
fn finish(results: &Results, out: &Path) -> Result<bool> {
    let written = report::write(results, out);
    words::print(&cli::fitted(&report::table(results, cli::columns())));
    for failure in &results.failures {
        words::complain(PROGRAM, failure);
    }
    written?;
    let took = report::format::time(results.elapsed_s);
    let [page, data] = ["index.html", RESULTS_FILE].map(|name| out.join(name).display().to_string());
    words::line(&format!("measured in {took}; report: {page}, data: {data}"));
    Ok(results.failures.is_empty())
}

fn blank(plan: &Plan) -> Results {
    let target = |subject: &Subject| Target { name: subject.name.clone(), command: subject.command_line() };
    Results {
        origin: subject::origin(SCHEMA),
        elapsed_s: 0.0,
        machine: subject::machine(),
        settings: plan.settings.clone(),
        targets: plan.subjects.iter().map(target).collect(),
        visits: Vec::new(),
        failures: Vec::new(),
    }
}
