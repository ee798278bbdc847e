//! The files of `client million`: writing, reading, merging.

use super::page;
use super::picture;
use super::record::{Record, SCHEMA};
use crate::file;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// The name of the file that the others are made from.
pub const FILE: &str = "million.json";

/// Writes all files to a directory, which is created if it does not exist.
///
/// # Errors
/// Where the directory or a file cannot be written.
pub fn write(record: &Record, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    let put = |name: &str, text: &str| file::write(&directory.join(name), text);
    put(FILE, &format!("{}\n", serde_json::to_string_pretty(record)?))?;
    let plot = picture::plot(record);
    if let Some(plot) = &plot {
        put(&format!("{}.svg", plot.name), &plot.svg.alone(plot.name, plot.title, &plot.description))?;
    }
    put("index.html", &page::render(record, plot.as_ref()))
}

/// Reads a record.
///
/// # Errors
/// Where the file cannot be read, or has another [`SCHEMA`].
pub fn read(path: &Path) -> Result<Record> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let record: Record = serde_json::from_str(&text)
        .with_context(|| format!("{} holds no record of `client million`", path.display()))?;
    ensure!(
        record.origin.schema == SCHEMA,
        "{} has layout {}, and this program reads layout {SCHEMA}",
        path.display(),
        record.origin.schema
    );
    Ok(record)
}

/// Merges records into one, with one run per stage. Of two runs of one stage, the later record's is used.
///
/// # Errors
/// Where there is none, or they are from different machines, whose figures are not comparable.
pub fn merge(records: Vec<Record>) -> Result<Record> {
    let mut records = records.into_iter();
    let mut all = records.next().context("there is no record to merge")?;
    for record in records {
        let machine = |record: &Record| (record.machine.cpu.clone(), record.machine.kernel.clone());
        ensure!(
            machine(&all) == machine(&record),
            "the records of {} and {} are from different machines: give only those of one",
            all.origin.date,
            record.origin.date
        );
        let (one, other) = (&mut all.origin, record.origin);
        one.date = joined(&one.date, &other.date, ", ");
        one.command = joined(&one.command, &other.command, "\n");
        one.commit = match (one.commit.take(), other.commit) {
            (Some(one), Some(other)) => Some(joined(&one, &other, ", ")),
            (one, other) => one.or(other),
        };
        all.runs.extend(record.runs);
    }
    let runs = std::mem::take(&mut all.runs);
    for run in runs {
        all.runs.retain(|earlier| earlier.stage != run.stage);
        all.runs.push(run);
    }
    all.runs.sort_by_key(|run| run.stage);
    all.settings.stages = all.runs.iter().map(|run| run.stage).collect();
    all.settings.connections = all.runs.iter().map(|run| run.asked).max().unwrap_or(all.settings.connections);
    Ok(all)
}

/// Both texts, or one if it contains the other.
fn joined(one: &str, other: &str, between: &str) -> String {
    if one.split(between).any(|part| part == other) { one.into() } else { [one, other].join(between) }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn runs_are_merged_by_stage() {
        let (mut first, mut second) = (sample::record(), sample::record());
        first.runs.truncate(2);
        first.settings.connections = 10;
        second.runs.drain(..1);
        second.runs[0].held = 77;
        second.origin.commit = Some("fedcba".into());
        let merged = merge(vec![first.clone(), second]).expect("merged");
        assert_eq!(merged.settings.stages, [1, 2, 3, 4]);
        assert_eq!((merged.runs[1].held, merged.settings.connections), (77, 1_000_000));
        assert_eq!(merged.origin.commit.as_deref(), Some("0123abc, fedcba"));
        assert_eq!(
            (&merged.origin.command, &merged.origin.date),
            (&first.origin.command, &first.origin.date)
        );
        assert!(merge(Vec::new()).is_err());
    }

    #[test]
    fn different_machines_are_not_merged() {
        let (first, mut second) = (sample::record(), sample::record());
        second.machine.kernel = "Linux 9".into();
        assert!(merge(vec![first, second]).unwrap_err().to_string().contains("different machines"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = std::env::temp_dir().join(format!("client-million-store-{}", std::process::id()));
        let mut record = sample::record();
        write(&record, &directory).expect("writes");
        let again = read(&directory.join(FILE)).expect("reads");
        assert_eq!((again.runs.len(), &again.settings.stages), (4, &record.settings.stages));
        let handshake = |record: &Record| record.runs[3].setup.as_ref().map(|setup| setup.handshake.clone());
        assert_eq!((&again.origin.date, handshake(&again)), (&record.origin.date, handshake(&record)));
        for file in ["million.svg", "index.html"] {
            let text = fs::read_to_string(directory.join(file)).expect("written");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{file}");
        }
        record.origin.schema = SCHEMA + 1;
        write(&record, &directory).expect("writes");
        assert!(read(&directory.join(FILE)).unwrap_err().to_string().contains("layout 2"));
        fs::remove_dir_all(&directory).expect("removes");
    }
}
