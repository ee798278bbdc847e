//! Reading results, of any kind that has a load.

use super::super::plot::COLOUR_COUNT;
use crate::report::{self, results::Results};
use crate::results::find::{self, FindReport};
use crate::results::run::{self, RunReport};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// A file, and the name to show its result by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name.
    pub name: String,
    /// The file.
    pub file: PathBuf,
}

/// A result.
pub(super) struct Loaded {
    pub name: String,
    /// Index of its colour.
    pub colour: usize,
    pub kind: Kind,
}

pub(super) enum Kind {
    Run(Box<RunReport>),
    Find(Box<FindReport>),
}

/// Reads results of `client compare`; `None` if the file has others.
///
/// # Errors
/// If the file cannot be read, or is of another version.
pub(super) fn comparison(file: &Path) -> Result<Option<Results>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // What else it may be is not for this function to say.
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    value.get("visits").is_some().then(|| report::read(file)).transpose()
}

/// Parses FILE or NAME=FILE. A file whose name contains `=` is a file.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn source(text: &str) -> Result<Source, String> {
    let (name, file) = match text.split_once('=') {
        Some(("", _) | (_, "")) => return Err("neither FILE nor NAME=FILE".into()),
        Some((name, file)) if !Path::new(text).exists() => (name.to_owned(), file),
        _ => (Path::new(text).file_stem().unwrap_or_default().to_string_lossy().into_owned(), text),
    };
    Ok(Source { name, file: file.into() })
}

/// Reads the result with this number.
///
/// # Errors
/// The file, and what is wrong with it, in one line.
pub(super) fn read(number: usize, Source { name, file }: &Source) -> Result<Loaded> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let kind = parse(&text).with_context(|| {
        format!("{} is not a complete result of `client run`, `merge` or `find` with --json", file.display())
    })?;
    Ok(Loaded { name: name.clone(), colour: number % COLOUR_COUNT, kind })
}

fn parse(text: &str) -> Result<Kind> {
    let value: serde_json::Value = serde_json::from_str(text)?;
    let is_find = value.get("steps").is_some();
    let schema = if is_find { find::SCHEMA } else { run::SCHEMA };
    match value.get("schema").map(serde_json::Value::as_u64) {
        None => bail!("it has no schema"),
        Some(version) => ensure!(
            version == Some(schema.into()),
            "it has schema {}, and this program reads {schema}",
            value["schema"]
        ),
    }
    Ok(if is_find {
        Kind::Find(Box::new(serde_json::from_value(value)?))
    } else {
        Kind::Run(Box::new(serde_json::from_value(value)?))
    })
}
