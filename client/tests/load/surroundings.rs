//! The client with closed, stalled and slow readers, full devices, and closed streams: output for people never fails or
//! blocks a run, and no result is lost.

use crate::local::{CLIENT, LOAD, a_result, client, output, scratch, text, url};
use client::run::RunReport;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write, pipe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What standard output and standard error are connected to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Streams {
    Full,
    NoReader,
    Closed,
}

impl Streams {
    fn status(self, arguments: &str) -> Option<i32> {
        let mut command = client(arguments);
        match self {
            Streams::Full => {
                let full = || OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
                command.stdout(full()).stderr(full());
            }
            Streams::NoReader => {
                let (reader, writer) = pipe().expect("a pipe");
                drop(reader);
                command.stdout(writer.try_clone().expect("a copy")).stderr(writer);
            }
            Streams::Closed => {
                let script = format!("exec {CLIENT} {arguments} >&- 2>&-");
                command = Command::new("sh");
                command.args(["-c", &script]).stdin(Stdio::null());
            }
        }
        command.status().expect("it runs").code()
    }
}

#[track_caller]
fn assert_whole(file: &Path) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(text.ends_with('\n') && text.len() > 100, "{}: {text:?}", file.display());
    if file.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    }
}

/// Every subcommand, with its exit status if its messages are lost, and if its standard output is a full device.
#[test]
fn lost_messages_change_no_status_and_no_file() {
    let (url, pid) = (url(), std::process::id());
    let (one, own) = (a_result(&url), scratch("man"));
    let files =
        ["run.json", "run.hdr", "merged.json", "merged.hdr", "race.json", "anatomy.json"].map(scratch);
    let [run_json, run_hdr, merged_json, merged_hdr, race_json, anatomy_json] =
        files.each_ref().map(|file| file.display());
    let (one, man) = (one.display(), own.display());
    let race = format!("race {url} {url} --connections 4 --hold 0s --duration 100ms");
    let anatomy = format!("anatomy --pid {pid} --url {url} --connections 4");
    for (arguments, lost, full) in [
        (format!("run --url {url} {LOAD} --json {run_json} --hdr {run_hdr}"), 0, 0),
        (format!("run --url {url} {LOAD} --json -"), 0, 1),
        (format!("run --url {url} {LOAD} --quiet --hdr -"), 0, 1),
        (format!("merge {one} --json {merged_json} --hdr {merged_hdr}"), 0, 0),
        (format!("merge {one} --json -"), 0, 1),
        (format!("{race} --json {race_json}"), 0, 0),
        (format!("{race} --quiet --json -"), 0, 1),
        (format!("{anatomy} --json {anatomy_json}"), 0, 0),
        (format!("{anatomy} --json -"), 0, 1),
        ("doctor --connections 10".into(), 0, 0),
        ("doctor --connections 10 --json".into(), 0, 1),
        (format!("man {man}"), 0, 0),
        ("completions bash".into(), 0, 1),
        ("--help".into(), 0, 0),
        ("run --help".into(), 0, 0),
        ("--version".into(), 0, 0),
        ("run --connections many".into(), 2, 2),
        ("compare --from /nowhere/results.json".into(), 1, 1),
        ("million --from /nowhere/million.json".into(), 1, 1),
    ] {
        for streams in [Streams::Full, Streams::NoReader, Streams::Closed] {
            files.iter().for_each(|file| drop(fs::remove_file(file)));
            let expected = if streams == Streams::Full { full } else { lost };
            assert_eq!(streams.status(&arguments), Some(expected), "{streams:?}: client {arguments}");
            let named = files.iter().filter(|file| arguments.contains(&file.display().to_string()));
            named.for_each(|file| assert_whole(file));
        }
    }
}

/// The same for subcommands that write a directory, from results in this repository.
#[test]
fn reports_are_complete_before_messages_are_printed() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    let below = |name: &str| {
        let runs = fs::read_dir(&results).expect("results").flatten().map(|run| run.path().join(name));
        runs.filter(|file| file.exists()).max()
    };
    for (subcommand, name) in [("compare", "results.json"), ("million", "million.json")] {
        let Some(from) = below(name) else {
            conformance::note(&format!("skipped: there is no {name} in results/"));
            continue;
        };
        for streams in [Streams::Full, Streams::NoReader, Streams::Closed] {
            let out = scratch(subcommand);
            let arguments = format!("{subcommand} --from {} --out {}", from.display(), out.display());
            assert!(streams.status(&arguments).is_some_and(|status| status <= 1), "{streams:?}: {arguments}");
            ["index.html", name].iter().for_each(|file| assert_whole(&out.join(file)));
            let left = fs::read_dir(&out).expect("a directory").flatten();
            assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".tmp")));
        }
    }
}

#[test]
fn a_lost_result_is_one_line() {
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let (url, good) = (url(), scratch("good.hdr"));
    let load = format!("run --url {url} {LOAD} --quiet");
    for (arguments, named) in [
        (
            format!("{load} --json - --hdr {}", good.display()),
            "cannot write to standard output: No space left",
        ),
        (
            format!("{load} --json /dev/full --hdr {}", good.display()),
            "cannot write /dev/full: No space left",
        ),
        ("doctor --connections 10 --json".into(), "cannot write to standard output: No space left"),
        ("completions zsh".into(), "cannot write to standard output: No space left"),
    ] {
        let _ = fs::remove_file(&good);
        let output = client(&arguments).stdout(full()).output().expect("the client runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {said}");
        assert_eq!(said.lines().filter(|line| line.contains(named)).count(), 1, "{arguments}: {said}");
        if arguments.contains("--hdr") {
            assert_whole(&good);
        }
    }
}

/// The client with a timeout.
fn within_seconds(seconds: u32, arguments: &str) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["--signal=KILL", &seconds.to_string(), CLIENT])
        .args(arguments.split_whitespace())
        .stdin(Stdio::null());
    command
}

/// A full pipe that is not read.
fn stalled() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("O_NONBLOCK");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).expect("O_NONBLOCK");
    (reader, writer)
}

#[test]
fn a_stalled_reader_does_not_stall_the_load() {
    let url = url();
    let (_reader, writer) = stalled();
    let file = scratch("stalled.json");
    let arguments = format!(
        "run --url {url} --connections 4 --warmup 0s --duration 7s --rate 100 --json {}",
        file.display()
    );
    let run = within_seconds(20, &arguments).stderr(writer).output().expect("the client runs");
    assert_eq!(run.status.code(), Some(0));
    let report: RunReport = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
    let echo = report.echo.expect("echoes");
    assert_eq!((echo.sent, echo.missing), (700, 0));
    assert!(text(&run.stdout).contains("failures     none"));
}

/// A terminal that is stopped (Ctrl-S), or whose emulator does not read.
#[test]
fn a_stalled_terminal_does_not_stall_the_load() {
    let url = url();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut terminal = fs::File::from(open(name.as_c_str(), flags, Mode::empty()).expect("the other end"));
    let filler = thread::spawn({
        let mut terminal = terminal.try_clone().expect("a copy");
        move || while terminal.write(&[b'x'; 512]).is_ok() {}
    });
    // The terminal is full once this makes no progress. The blocked write ends with the test.
    thread::sleep(Duration::from_millis(300));
    assert!(!filler.is_finished());
    let _ = terminal.flush();
    let load = format!("run --url {url} --connections 4 --warmup 0s --duration 1s --rate 100");
    let mut command = within_seconds(15, &load);
    let run = command.env("TERM", "xterm").stderr(terminal).output().expect("the client runs");
    assert_eq!(run.status.code(), Some(0));
    assert!(text(&run.stdout).contains("100 in 1 s"), "{}", text(&run.stdout));
}

#[test]
fn the_summary_blocks_on_a_pager_and_the_files_do_not() {
    let url = url();
    let (mut reader, writer) = stalled();
    let file = scratch("paged.json");
    let arguments = format!("run --url {url} {LOAD} --quiet --json {}", file.display());
    let mut child = client(&arguments).stdout(writer).spawn().expect("the client runs");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !file.exists() {
        assert!(Instant::now() < deadline, "no file");
        thread::sleep(Duration::from_millis(10));
    }
    assert_whole(&file);
    assert!(child.try_wait().expect("a status").is_none(), "it blocks");
    let mut paged = Vec::new();
    reader.read_to_end(&mut paged).expect("a summary");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let (paged, sentence) = (text(&paged), "99% within");
    assert!(paged.contains("failures     none\n\nAll ") && paged.contains(sentence), "all of it: {paged}");
}

#[test]
fn a_reader_may_close_after_the_first_line() {
    let url = url();
    // In the second case, the reader has closed before the summary.
    for (duration, pipe, first) in [("100ms", "", "ws://"), ("4s", "2>&1", "echoing: ")] {
        let file = scratch("head.json");
        let load = format!("--connections 4 --warmup 0s --rate 100 --duration {duration}");
        let run = format!("{CLIENT} run --url {url} {load} --json {} {pipe}", file.display());
        let script = format!("{{ {run}; echo $? >&3; }} 3>{0}.status | head -1", file.display());
        let head = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
        assert!(text(&head.stdout).starts_with(first), "{}", text(&head.stdout));
        assert_eq!(fs::read_to_string(format!("{}.status", file.display())).expect("a status"), "0\n");
        assert_whole(&file);
    }
}

#[test]
fn ctrl_c_writes_a_complete_result_without_a_reader() {
    let url = url();
    let file = scratch("interrupted.json");
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let arguments = format!("run --url {url} --connections 4 --duration 1h --json {}", file.display());
    let mut command = client(&arguments);
    command.stdout(writer.try_clone().expect("a copy")).stderr(writer);
    let mut child = command.spawn().expect("the client runs");
    thread::sleep(Duration::from_millis(500));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let report: RunReport = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
    assert!(report.interrupted);
}

#[test]
fn a_run_that_cannot_start_keeps_the_old_result() {
    let (url, file) = (url(), scratch("old.json"));
    fs::write(&file, "old").expect("written");
    for (arguments, named) in [
        (format!("run --url {url} --connections 1_000_000_000_000"), "ask for at most"),
        (format!("run --url {url} --pid 4194304"), "cannot be watched"),
        (format!("anatomy --pid 4194304 --url {url}"), "cannot read process"),
        ("merge /nowhere/a.json".into(), "cannot read"),
        ("race x=/nonexistent/server y=/nonexistent/server".into(), "is the command right?"),
    ] {
        let refused = output(&format!("{arguments} --json {}", file.display()));
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains(named), "{arguments}: {said}");
        assert_eq!(fs::read_to_string(&file).expect("the old file"), "old", "{arguments}");
    }
}

#[test]
fn results_can_be_written_to_devices_pipes_and_open_files() {
    let url = url();
    let load = format!("run --url {url} {LOAD} --quiet");
    let shell = |script: &str| Command::new("bash").args(["-c", script]).output().expect("bash runs");
    // A device, a FIFO, an open descriptor, and standard output.
    let (fifo, open, both) = (scratch("fifo"), scratch("open.json"), scratch("both.json"));
    for (script, file) in [
        (format!("{CLIENT} {load} --json /dev/null"), None),
        (
            format!("{CLIENT} {load} --json >(cat >{0}) | cat; wait $!; sleep 0.2", fifo.display()),
            Some(&fifo),
        ),
        (format!("{CLIENT} {load} --json /dev/fd/3 3>{}", open.display()), Some(&open)),
        (format!("{CLIENT} {load} --json /dev/stdout >{}", both.display()), Some(&both)),
    ] {
        let ran = shell(&script);
        assert!(ran.status.success(), "{script}: {}", text(&ran.stderr));
        if let Some(file) = file {
            let json = fs::read(file).expect("a file");
            serde_json::from_slice::<RunReport>(&json).unwrap_or_else(|error| panic!("{script}: {error}"));
        }
    }
    let ran = output(&format!("{load} --hdr -"));
    assert!(
        text(&ran.stdout).trim_start().starts_with("Value")
            && text(&ran.stderr).contains("failures     none")
    );
    assert!(!Path::new("-").exists(), "no file of that name");
}
