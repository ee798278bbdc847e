//! `client report`: a page for results of `client run`, `client merge` and `client find`, side by side, or for one of `client
//! compare` or `client million`.

mod figures;
mod page;
mod plots;
mod read;

use crate::{cli, file, report, words};
use anyhow::{Context, Result};
use clap::Args;
use read::Source;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Begins error lines.
const PROGRAM: &str = "client report";

/// Draws a page of results: of client run, merge and find, as they wrote them with --json, or of client compare or million
///
/// Several are shown side by side, but results.json and million.json alone. Exit status: 0 if the page was written, 1 if a
/// result cannot be read or the page not be written, 2 if an argument is wrong.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true)]
pub struct ReportArgs {
    /// Results, each FILE, which is shown by its name without .json, or NAME=FILE
    #[arg(value_name = "RESULT", required = true, value_parser = read::source)]
    pub results: Vec<Source>,

    /// Write index.html, the plots and results.csv to this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "report/load")]
    pub out: PathBuf,
}

impl ReportArgs {
    /// Fails where two results have the same name.
    ///
    /// # Errors
    /// Which ones, in one line.
    pub fn check(&self) -> Result<(), String> {
        for (number, result) in self.results.iter().enumerate() {
            if self.results[..number].iter().any(|other| other.name == result.name) {
                return Err(format!("two results have the name {}: give NAME=FILE", result.name));
            }
        }
        Ok(())
    }
}

/// Draws the page of a file in a directory, and returns its table; `None` if the file is not for it.
pub type Draw = fn(&Path, &Path) -> Result<Option<String>>;

/// Reads the results, writes the page, and prints the table. `elsewhere` draws what another subcommand draws.
pub fn run(args: &ReportArgs, elsewhere: Draw) -> ExitCode {
    match try_run(args, elsewhere) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            words::complain(PROGRAM, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn draw_comparison(file: &Path, out: &Path) -> Result<Option<String>> {
    let Some(results) = read::comparison(file)? else { return Ok(None) };
    report::write(&results, out)?;
    Ok(Some(report::table(&results, cli::columns())))
}

fn try_run(args: &ReportArgs, elsewhere: Draw) -> Result<()> {
    if let [Source { file, .. }] = &args.results[..] {
        for draw in [draw_comparison, elsewhere] {
            if let Some(table) = draw(file, &args.out)? {
                return tell(args, &cli::fitted(&table));
            }
        }
    }
    let results = args.results.iter().enumerate().map(|(number, source)| read::read(number, source));
    let results = results.collect::<Result<Vec<_>>>()?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create the directory {}", args.out.display()))?;
    let put = |name: &str, text: &str| file::write(&args.out.join(name), text);
    let plots = plots::all(&results);
    for plot in &plots {
        put(&format!("{}.svg", plot.name), &plot.svg.alone(plot.name, plot.title, &plot.description))?;
    }
    put("results.csv", &figures::csv(&results))?;
    put("index.html", &page::render(&results, &plots))?;
    tell(args, &figures::table(&results, cli::columns()))
}

fn tell(args: &ReportArgs, table: &str) -> Result<()> {
    let page = args.out.join("index.html");
    words::print(&format!("{table}\n{}\n", page.display()));
    Ok(())
}

#[cfg(test)]
mod tests;
