//! The programs accept every command in README, docs, slides and the stages' READMEs.
//!
//! Checked are the lines of fenced blocks in `sh`, `console` or without a language (of these, only lines that begin with
//! `cargo`, `git` or a path: others may be drawings). This workspace's programs parse their own commands, with `--help`
//! appended: clap parses in order, so an unknown flag or a bad value fails before the help. Loads (`client run`), at a
//! small size, and `client doctor` are also executed. Named tests, benches, scripts and folders have to exist.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const STAGES: [&str; 4] =
    ["stage1-thread-per-conn", "stage2-task-per-conn", "stage3-mio-epoll", "stage4-zero-buffer"];

/// Replacements for the documented sizes of a load.
const SMALL: [(&str, Option<&str>); 17] = [
    ("--connections", Some("20")),
    ("--duration", Some("100ms")),
    ("--warmup", Some("0s")),
    ("--hold", None),
    ("--rate", None),
    ("--verify", None),
    ("--expect", None),
    ("--ramp", None),
    ("--connect-ramp", None),
    ("--active", None),
    ("--url", None),
    ("--pid", None),
    ("--metrics-url", None),
    ("--ca", None),
    ("--source-ip", None),
    ("--proxy", None),
    ("--start-at", None),
];

/// A file of the reader's; the tests give an empty one.
const A_FILE: &str = "message.json";

/// Folders with generated, third-party, or dated Markdown that is never edited.
const LEFT_OUT: [&str; 6] = ["target", "node_modules", "out", "results", "report", ".git"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

fn binary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_client")).with_file_name(name)
}

/// A documented command and its place.
struct Documented {
    place: String,
    words: Vec<String>,
}

/// All documented commands; `cargo run -p NAME -- ARGUMENTS` becomes `NAME ARGUMENTS`.
fn commands() -> Vec<Documented> {
    let mut commands = Vec::new();
    for file in pages(&root()) {
        let text = fs::read_to_string(&file).expect("text");
        let lines = logical_lines(&text);
        let mut language: Option<&str> = None;
        for (at, line) in &lines {
            match (line.trim_start().strip_prefix("```"), language) {
                (Some(name), None) => language = Some(name.trim()),
                (Some(_), Some(_)) => language = None,
                (None, Some(shell @ ("" | "sh" | "console"))) => {
                    let words = words(line);
                    let program = |word: &String| word == "client" || STAGES.contains(&word.as_str());
                    if !(shell.is_empty() && words.first().is_some_and(program)) {
                        let name = file.strip_prefix(root()).expect("below").display();
                        commands.push(Documented { place: format!("{name}:{}", at + 1), words });
                    }
                }
                _ => {}
            }
        }
        assert_eq!(language, None, "{}: a block without an end", file.display());
    }
    commands.retain(|command| !command.words.is_empty());
    for command in &mut commands {
        command.words.iter_mut().filter(|word| *word == A_FILE).for_each(|word| *word = "/dev/null".into());
        if let Some(run) = cargo_run(&command.words) {
            command.words = run;
        }
    }
    commands
}

/// Lines with their numbers from 0, those that end in a backslash joined with the next, as a shell reads them.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        match lines.last_mut() {
            Some((_, begun)) if begun.ends_with('\\') => {
                begun.pop();
                begun.push_str(line.trim_start());
            }
            _ => lines.push((at, line.to_owned())),
        }
    }
    lines
}

/// All Markdown files under a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut pages = Vec::new();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !LEFT_OUT.contains(&name) {
            pages.extend(self::pages(&path));
        } else if name.ends_with(".md") {
            pages.push(path);
        }
    }
    pages
}

/// Splits a line as a shell does: quotes, comments, and `$(…)`, which becomes 1. Drops assignments before the command.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = line.trim().trim_start_matches("$ ").chars();
    while let Some(letter) = rest.next() {
        match (letter, quote) {
            ('$', _) if rest.as_str().starts_with('(') => {
                rest.by_ref().find(|&letter| letter == ')');
                word.get_or_insert_default().push('1');
            }
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (end, Some(begin)) if end == begin => quote = None,
            ('#', None) if word.is_none() => break,
            (' ', None) => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    let setting = |word: &String| {
        word.split_once('=')
            .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
    };
    // The rest is another command, or a redirection.
    let operator = |word: &String| [">", ">>", "<", "|", "&", "&&", ";"].contains(&word.as_str());
    words.into_iter().skip_while(setting).take_while(|word| !operator(word)).collect()
}

/// Turns `cargo run … -p NAME -- ARGUMENTS` into `NAME ARGUMENTS`.
fn cargo_run(words: &[String]) -> Option<Vec<String>> {
    if words.first()? != "cargo" || words.get(1)? != "run" {
        return None;
    }
    let package = words.get(words.iter().position(|word| word == "-p")? + 1)?;
    let arguments = words.iter().position(|word| word == "--").map_or(&[][..], |at| &words[at + 1..]);
    Some([std::slice::from_ref(package), arguments].concat())
}

/// Has the program parse a command line without executing it.
fn parse(program: &str, arguments: &[String]) -> Output {
    Command::new(binary(program)).args(arguments).arg("--help").output().expect("it runs")
}

#[track_caller]
fn accepted(place: &str, words: &[String], output: &Output) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{place}: {}\n{error}", words.join(" "));
}

#[test]
fn programs_accept_the_documented_flags() {
    let mut checked = BTreeSet::new();
    for Documented { place, words } in commands() {
        let (program, arguments) = words.split_first().expect("not empty");
        if program != "client" && !STAGES.contains(&program.as_str()) {
            continue;
        }
        if !binary(program).exists() {
            conformance::note(&format!("{program} is not built: run the tests of the whole workspace"));
            continue;
        }
        let mut halves = arguments.splitn(2, |word| word == "--");
        accepted(&place, &words, &parse(program, halves.next().unwrap_or_default()));
        // A second `--` separates the flags of the server that `client million` starts.
        if let Some(flags) = halves.next().filter(|_| binary(STAGES[3]).exists()) {
            accepted(&place, &words, &parse(STAGES[3], flags));
        }
        checked.insert(program.clone());
    }
    assert!(checked.contains("client"), "no command was found: {checked:?}");
}

#[test]
fn documented_loads_and_doctor_commands_run() {
    let Some((_stage, url)) = server() else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documented");
    fs::create_dir_all(&folder).expect("a folder");
    let client = |words: &[String]| {
        Command::new(binary("client")).current_dir(&folder).args(words).output().expect("the client runs")
    };
    let mut loads = 0;
    for Documented { place, words } in commands().iter().filter(|command| command.words[0] == "client") {
        match words.get(1).map(String::as_str) {
            Some("run") => {
                accepted(place, words, &client(&small(&words[1..], &url)));
                loads += 1;
            }
            Some("doctor") => {
                let code = client(&words[1..]).status.code();
                assert!(matches!(code, Some(0 | 1)), "{place}: {} ended with {code:?}", words.join(" "));
            }
            _ => {}
        }
    }
    assert!(loads > 0, "no load was found");
}

/// A process, killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server and its URL.
fn server() -> Option<(Running, String)> {
    let binary = binary(STAGES[3]);
    if !binary.exists() {
        conformance::note(&format!("{} is not built: run the tests of the whole workspace", STAGES[3]));
        return None;
    }
    let mut command = Command::new(binary);
    command.args(["--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--log", "error"]);
    // The documented loads offer it.
    command.args(["--subprotocol", "chat"]);
    let mut server = Running(command.stdout(Stdio::piped()).spawn().expect("the server runs"));
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("a line that says it is ready");
    let url = line.split([' ', ',']).find(|word| word.starts_with("ws://")).expect("an address");
    Some((server, url.to_owned()))
}

/// The same load at a small size, against `url`.
fn small(words: &[String], url: &str) -> Vec<String> {
    let mut small = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if SMALL.iter().any(|(flag, _)| flag == word) {
            words.next();
        } else {
            small.push(word.clone());
        }
    }
    let given =
        SMALL.iter().filter_map(|(flag, value)| Some([flag.to_string(), value.as_ref()?.to_string()]));
    small.extend(given.flatten());
    small.extend(["--url".into(), url.into()]);
    small
}

#[test]
fn named_files_and_folders_exist() {
    for Documented { place, words } in commands() {
        let named: Vec<String> = match words[0].as_str() {
            "cargo" => cargo_targets(&words),
            "git" if words.contains(&"--no-index".into()) => words[words.len() - 2..].to_vec(),
            script
                if script.contains('/')
                    && script.starts_with(|letter: char| letter.is_ascii_alphanumeric()) =>
            {
                vec![script.to_owned()]
            }
            _ => continue,
        };
        for path in named {
            assert!(root().join(&path).exists(), "{place}: {}: there is no {path}", words.join(" "));
        }
    }
}

#[test]
fn quoted_figures_are_those_of_the_results() {
    let Ok(check) = Command::new("python3").arg(root().join("results/tables")).arg("--check").output() else {
        conformance::note("python3 is not installed: the figures of the READMEs are not checked");
        return;
    };
    let differs = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success(),
        "run results/tables --write:\n{differs}{}",
        String::from_utf8_lossy(&check.stderr)
    );
}

#[test]
fn the_workflow_runs_every_part_of_ci() {
    let between = |file: &str, before: &str, after: &str| {
        let text = fs::read_to_string(root().join(file)).expect(file);
        let (_, rest) = text.split_once(before).expect(before);
        rest.split_once(after).expect(after).0.replace(',', "")
    };
    assert_eq!(between(".github/workflows/ci.yml", "part: [", "]"), between(".ci/run", "parts=\"", "\""));
}

/// The files of `cargo test -p PACKAGE --test NAME` and `cargo bench -p PACKAGE --bench NAME`.
fn cargo_targets(words: &[String]) -> Vec<String> {
    let value = |flag: &str| words.get(words.iter().position(|word| word == flag)? + 1).cloned();
    // Skip packages named by a variable.
    let Some(package) = value("-p").filter(|name| !name.contains('$')) else { return Vec::new() };
    // A target is a file, or a directory with a `main.rs`.
    let file = |flag, folder| {
        value(flag).map(|name| {
            let directory = format!("{package}/{folder}/{name}");
            if root().join(&directory).is_dir() { directory + "/main.rs" } else { directory + ".rs" }
        })
    };
    [Some(package.clone()), file("--test", "tests"), file("--bench", "benches")]
        .into_iter()
        .flatten()
        .collect()
}
