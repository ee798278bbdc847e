//! The invariants of ARCHITECTURE.md that can be read off the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const STAGES: [&str; 4] =
    ["stage1-thread-per-conn", "stage2-task-per-conn", "stage3-mio-epoll", "stage4-zero-buffer"];
/// What a connection goes through, in this order in every stage's connection.rs.
const FUNCTIONS: [&str; 4] = ["fn open(", "fn handshake(", "fn echo(", "fn close("];
const MAX_LINES: usize = 350;
const MAX_FUNCTION_LINES: usize = 60;

/// All packages of the workspace.
fn packages() -> impl Iterator<Item = &'static str> {
    STAGES.into_iter().chain(["common", "client", "conformance"])
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files of a package's `src`.
fn sources(package: &str) -> Vec<PathBuf> {
    let mut folders = vec![root().join(package).join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                files.push(entry);
            }
        }
    }
    files
}

#[test]
fn stages_do_not_depend_on_one_another() {
    for stage in STAGES {
        let manifest = read(format!("{stage}/Cargo.toml"));
        for other in STAGES.iter().filter(|&&other| other != stage) {
            assert!(!manifest.contains(other), "{stage} names {other}");
        }
        assert!(
            !read("client/Cargo.toml").contains(stage),
            "the client knows a stage's address, and no more"
        );
    }
}

#[test]
fn stages_have_the_same_files_and_order() {
    for stage in STAGES {
        read(format!("{stage}/src/server.rs"));
        let connection = read(format!("{stage}/src/connection.rs"));
        let places = FUNCTIONS.map(|function| {
            connection.find(function).unwrap_or_else(|| panic!("{stage}/src/connection.rs has no {function}"))
        });
        assert!(places.is_sorted(), "{stage}/src/connection.rs is in another order than {FUNCTIONS:?}");
    }
}

/// Public functions of a file, in their order.
fn public_functions(path: &str) -> Vec<String> {
    let names = |line: &str| Some(line.trim_start().strip_prefix("pub fn ")?.split_once('(')?.0.to_owned());
    read(path).lines().filter_map(names).collect()
}

#[test]
fn the_loops_of_stages_3_and_4_are_one_text() {
    let [third, fourth] = ["stage3-mio-epoll", "stage4-zero-buffer"].map(|stage| format!("{stage}/src"));
    assert!(
        read(format!("{third}/server.rs")) == read(format!("{fourth}/server.rs")),
        "compare them with cmp"
    );
    // What one connection does with an event: in stage 4 its bits are in a file of their own.
    let of_slot = public_functions(&format!("{fourth}/slot.rs"));
    let mut of_third = public_functions(&format!("{third}/connection.rs"));
    of_third.retain(|name| !of_slot.contains(name));
    let mut of_fourth = public_functions(&format!("{fourth}/connection.rs"));
    of_fourth.retain(|name| of_third.contains(name));
    assert_eq!(of_third, of_fourth, "stage 3 (left) and stage 4 (right)");
}

/// Lines that differ between the sources of two stages: added and removed, as `git diff --no-index --numstat` counts.
fn changed_lines(from: &str, to: &str) -> u32 {
    let diff = Command::new("git")
        .args([
            "diff",
            "--no-index",
            "--numstat",
            "--diff-algorithm=default",
            &format!("{from}/src"),
            &format!("{to}/src"),
        ])
        .current_dir(root())
        .output()
        .expect("git");
    let text = String::from_utf8(diff.stdout).expect("text");
    let counts = text.lines().flat_map(|line| line.split('\t').take(2).map(|count| count.parse::<u32>()));
    counts.map(|count| count.expect("a number")).sum()
}

/// A ratchet: lower a number when a difference gets smaller.
#[test]
fn the_difference_of_two_stages_is_the_lesson() {
    for (pair, most) in STAGES.windows(2).zip([551, 746, 799]) {
        let changed = changed_lines(pair[0], pair[1]);
        assert!(changed > 0 && changed <= most, "{changed} lines from {} to {}", pair[0], pair[1]);
    }
}

#[test]
fn the_fast_path_knows_nothing_of_the_slow_one() {
    assert!(!read("stage4-zero-buffer/src/echo.rs").contains("crate::"));
}

/// The names of functions that are longer than `most` lines, by the indentation that rustfmt gives.
fn long_functions(text: &str, most: usize) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = |line: &str| {
        let words = line.trim_start().split(' ').take_while(|word| *word != "fn");
        line.contains("fn ")
            && words
                .clone()
                .all(|word| word.starts_with("pub") || ["async", "const", "unsafe"].contains(&word))
    };
    let long = |(at, line): (usize, &&'_ str)| {
        let end = " ".repeat(line.len() - line.trim_start().len()) + "}";
        begins(line) && lines[at..].iter().position(|line| **line == *end).is_some_and(|len| len + 1 > most)
    };
    lines.iter().enumerate().filter(|&(at, line)| long((at, line))).map(|(_, line)| *line).collect()
}

#[test]
fn functions_fit_a_screen() {
    let sixty = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(59));
    assert_eq!((long_functions(&sixty, MAX_FUNCTION_LINES).len(), long_functions(&sixty, 61).len()), (1, 0));
    for file in packages().flat_map(sources) {
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(long_functions(&text, MAX_FUNCTION_LINES), [""; 0], "{}", file.display());
    }
}

#[test]
fn files_are_short_and_finished() {
    for package in packages() {
        for file in sources(package) {
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().count();
            let is_stage = STAGES.contains(&package);
            assert!(!is_stage || !text.contains("#[cfg(test)]"), "{}: tests go to tests/", file.display());
            assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
            for unfinished in [
                concat!("TO", "DO"),
                concat!("FIX", "ME"),
                concat!("todo", "!("),
                concat!("unimpl", "emented!("),
            ] {
                assert!(!text.contains(unfinished), "{} has a {unfinished}", file.display());
            }
        }
    }
}

#[test]
fn the_readme_says_how_long_the_stages_are() {
    let lines = |stage: &str| -> usize {
        sources(stage).iter().map(|file| fs::read_to_string(file).expect("text").lines().count()).sum()
    };
    let [one, two, three, four] = STAGES.map(lines);
    let said = format!("The stages have {one}, {two}, {three} and {four} lines, comments included.");
    let readme = read("README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(readme.contains(&said), "README.md does not say: {said}");
}

#[test]
fn unsafe_code_is_listed_with_its_reason() {
    let mut written = BTreeMap::new();
    for package in packages() {
        for file in sources(package) {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            // Blocks and implementations; an `unsafe fn` asks for a block wherever it is called.
            let blocks =
                code.filter(|code| code.contains("unsafe {") || code.contains("unsafe impl")).count();
            if blocks > 0 {
                let file = file.strip_prefix(root()).unwrap();
                written.insert(file.to_str().unwrap().to_owned(), blocks);
            }
        }
    }
    let security = read("SECURITY.md");
    let listed: BTreeMap<String, usize> = security
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(file, row)| Some((file.to_owned(), row.split(" | ").next()?.parse().ok()?)))
        .collect();
    assert_eq!(listed, written, "the table of SECURITY.md (left), and the sources (right)");
}
