//! From `results.json` to the page, the plots, the CSV file and the table on the terminal.

pub mod format;

mod csv;
mod ladder;
mod metrics;
pub(crate) mod page;
pub(crate) mod plot;
mod stats;
mod table;

pub use crate::results::compare as results;
pub use ladder::{STAGES, stage};
pub use stats::median;
pub use table::render as table;

use crate::file;
use anyhow::{Context, Result};
use results::{Results, SCHEMA};
use std::fs;
use std::path::Path;

/// The name of the file from which all the others can be made again.
pub const RESULTS_FILE: &str = "results.json";

/// Writes the whole report into a directory, which is made if it is missing.
///
/// # Errors
/// Where the directory or a file cannot be written.
pub fn write(results: &Results, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
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
/// Where the file cannot be read, or is none of this [`SCHEMA`].
pub fn read(path: &Path) -> Result<Results> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let results: Results = serde_json::from_str(&text)
        .with_context(|| format!("{} holds no results of `client compare`", path.display()))?;
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
