//! From `results.json` to the page, the plots, the CSV file and the terminal table.

pub mod format;

mod columns;
mod csv;
mod ladder;
mod loads;
mod metrics;
pub(crate) mod page;
pub(crate) mod plot;
pub(crate) mod stats;
mod table;

pub use crate::results::compare as results;
pub use ladder::{STAGES, stage};
pub use loads::{Draw, ReportArgs, run};
pub use stats::median;
pub use table::render as table;

use crate::file;
use anyhow::{Context, Result};
use results::{Results, SCHEMA};
use std::fs;
use std::path::Path;

/// The file from which all others can be regenerated.
pub const RESULTS_FILE: &str = "results.json";

/// Writes the whole report into a directory, which is created if missing.
///
/// # Errors
/// If the directory or a file cannot be written.
pub fn write(results: &Results, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create the directory {}", directory.display()))?;
    let put = |name: &str, text: &str| file::write(&directory.join(name), text);
    put(RESULTS_FILE, &format!("{}\n", serde_json::to_string_pretty(results)?))?;
    put("results.csv", &csv::render(results))?;
    let plots = plot::all(results);
    for plot in &plots {
        put(&format!("{}.svg", plot.name), &plot.svg.alone(plot.name, plot.title, &plot.description))?;
    }
    put("index.html", &page::render(results, &plots))
}

/// Reads the results of an earlier comparison.
///
/// # Errors
/// If the file cannot be read, or has another [`SCHEMA`].
pub fn read(path: &Path) -> Result<Results> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let results: Results = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a results file of `client compare`", path.display()))?;
    anyhow::ensure!(
        results.origin.schema == SCHEMA,
        "{} has layout {}, and this program reads layout {SCHEMA}",
        path.display(),
        results.origin.schema
    );
    Ok(results)
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
