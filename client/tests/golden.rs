//! The published JSON: what an earlier version wrote is read, and written again as it was.

use client::anatomy::Anatomy;
use client::find::FindReport;
use client::million::Record;
use client::race::RaceReport;
use client::report::results::Results;
use client::run::RunReport;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A directory of this test's own, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let directory =
            Directory(std::env::temp_dir().join(format!("client-golden-{name}-{}", std::process::id())));
        fs::create_dir_all(&directory.0).expect("a directory");
        directory
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the client in a directory, and expects this exit status.
fn client(directory: &Directory, arguments: &[&str], status: i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_client"))
        .args(arguments)
        .current_dir(&directory.0)
        .output()
        .expect("the client runs");
    assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Reads a golden file as what it is, and writes it again.
fn again<T: Serialize + DeserializeOwned>(name: &str) {
    let text = read(&golden(name));
    let record: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_alike(name, &text, &(serde_json::to_string_pretty(&record).expect("to JSON") + "\n"));
}

/// Compares two texts line by line. A number may be off in its last binary digit, as serde_json reads it.
fn assert_alike(name: &str, golden: &str, text: &str) {
    assert_eq!(golden.lines().count(), text.lines().count(), "{name}");
    for (golden, line) in golden.lines().zip(text.lines()) {
        assert!(golden == line || are_near(golden, line), "{name}: {line}, and not {golden}");
    }
}

/// Whether two lines are the same but for the last binary digit of the number at their end.
fn are_near(golden: &str, line: &str) -> bool {
    let split = |line: &str| {
        let (before, number) = line.trim_end_matches(',').rsplit_once([' ', ','])?;
        Some((before.to_owned(), number.parse().ok()?))
    };
    let both = split(golden).zip(split(line));
    both.is_some_and(|((golden, one), (line, other))| golden == line && is_near((one, other)))
}

fn is_near((one, other): (f64, f64)) -> bool {
    (one - other).abs() <= 2.0 * f64::EPSILON * one.abs()
}

#[test]
fn what_was_written_is_written_again() {
    again::<Results>("results.json");
    again::<Record>("million.json");
    again::<RunReport>("run-1.json");
    again::<RunReport>("run-2.json");
    again::<RunReport>("ramp.json");
    again::<FindReport>("find.json");
    again::<RaceReport>("race.json");
    again::<Anatomy>("anatomy.json");
}

#[test]
fn reports_of_earlier_results_have_the_same_data() {
    let directory = Directory::new("from");
    client(&directory, &["compare", "--from", &golden("results.json").to_string_lossy(), "--out", "c"], 0);
    client(&directory, &["million", "--from", &golden("million.json").to_string_lossy(), "--out", "m"], 0);
    for (written, name) in [
        ("c/results.json", "results.json"),
        ("c/results.csv", "results.csv"),
        ("m/million.json", "million.json"),
    ] {
        assert_alike(name, &read(&golden(name)), &read(&directory.0.join(written)));
    }
}

/// The command line has this machine's paths.
fn without_command(json: &str) -> String {
    let (before, rest) = json.split_once("\"command\": [").expect("a command line");
    let (_, after) = rest.split_once(']').expect("its end");
    format!("{before}\"command\": []{after}")
}

#[test]
fn merged_results_are_the_golden_ones() {
    let directory = Directory::new("merge");
    let [one, other] = ["run-1.json", "run-2.json"].map(|name| golden(name).to_string_lossy().into_owned());
    client(&directory, &["merge", &one, &other, "--json", "merged.json", "--hdr", "merged.hdr"], 1);
    let merged = without_command(&read(&directory.0.join("merged.json")));
    for (text, name) in [(merged, "merged.json"), (read(&directory.0.join("merged.hdr")), "merged.hdr")] {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(golden(name), &text).expect("written");
        }
        assert!(text == read(&golden(name)), "{name}: {text}");
    }
}

/// Reads a published result as `T`, and checks that what is written again has all that it had. Fields that it had not yet
/// may be added.
fn kept<T: Serialize + DeserializeOwned>(path: &Path, published: &Value) {
    let record: T = serde_json::from_value(published.clone())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let written = serde_json::to_value(&record).expect("to JSON");
    assert_kept(&path.display().to_string(), published, &written);
}

fn assert_kept(place: &str, published: &Value, written: &Value) {
    match (published, written) {
        (Value::Object(published), Value::Object(written)) => {
            for (name, value) in published {
                let again = written.get(name).unwrap_or_else(|| panic!("{place}: {name} is lost"));
                assert_kept(&format!("{place}: {name}"), value, again);
            }
        }
        (Value::Array(published), Value::Array(written)) => {
            assert_eq!(published.len(), written.len(), "{place}");
            for (index, (value, again)) in published.iter().zip(written).enumerate() {
                assert_kept(&format!("{place}: {index}"), value, again);
            }
        }
        (Value::Number(published), Value::Number(written)) => {
            let both = published.as_f64().zip(written.as_f64());
            assert!(both.is_some_and(is_near), "{place}: {written}, and not {published}");
        }
        _ => assert_eq!(published, written, "{place}"),
    }
}

/// All JSON files below a directory.
fn json_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            json_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
}

#[test]
fn published_results_keep_their_values() {
    let mut files = Vec::new();
    json_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../results"), &mut files);
    let mut kinds = [0; 5];
    for path in &files {
        let Ok(value) = serde_json::from_str::<Value>(&read(path)) else {
            panic!("{} is no JSON", path.display());
        };
        let kind = if value.get("visits").is_some() {
            kept::<Results>(path, &value);
            0
        } else if value.get("runs").is_some() {
            kept::<Record>(path, &value);
            1
        } else if value.get("scenario").is_some() {
            kept::<RunReport>(path, &value);
            2
        } else if value.get("parts").is_some() {
            kept::<Anatomy>(path, &value);
            3
        } else if value.get("steps").is_some() {
            kept::<FindReport>(path, &value);
            4
        } else {
            panic!("{} is of no kind that the client writes", path.display());
        };
        kinds[kind] += 1;
    }
    assert!(kinds.iter().all(|&count| count > 0), "some of each kind: {kinds:?}");
}
