//! `client million` from outside: against the stages if they are built, with fewer connections.

use conformance::cgroup::Group;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const CLIENT: &str = env!("CARGO_BIN_EXE_client");
const STAGES: [&str; 4] =
    ["stage1-thread-per-conn", "stage2-task-per-conn", "stage3-mio-epoll", "stage4-zero-buffer"];

/// A temporary directory, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("client-million-{name}-{}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn record(&self) -> Value {
        serde_json::from_str(&self.read("million.json")).expect("JSON")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the stages are built; prints a note if not.
fn stages_are_built() -> bool {
    let folder = Path::new(CLIENT).parent().expect("a directory");
    let built = STAGES.iter().all(|stage| folder.join(stage).exists());
    if !built {
        conformance::note("the stages are not built: run the tests of the whole workspace");
    }
    built
}

fn million(directory: &Directory, arguments: &str) -> Command {
    let mut command = Command::new(CLIENT);
    command.args(["million", "--no-build", "--out", directory.path()]).args(arguments.split_whitespace());
    command
}

fn run(directory: &Directory, arguments: &str) -> Output {
    million(directory, arguments).output().expect("the client runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_stages_hold_all_connections() {
    if !stages_are_built() {
        return;
    }
    let directory = Directory::new("two");
    let arguments = "--stage 1,4 --connections 300 --hold 0s --duration 1s --rate 500 --raw --quiet";
    let output = run(&directory, arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let record = directory.record();
    assert_eq!((&record["schema"], &record["settings"]["connections"]), (&1.into(), &300.into()));
    for (run, stage) in [0, 1].into_iter().zip([1, 4]) {
        let run = &record["runs"][run];
        assert_eq!((&run["stage"], &run["held"], &run["goal"]), (&stage.into(), &300.into(), &300.into()));
        assert!(run["stopped"].is_null() && run["error"].is_null(), "{run}");
        assert_eq!(run["exit"], "exit 0");
        assert_eq!(run["raw"]["pairs"], 300);
        assert_eq!(run["curve"].as_array().map(Vec::len), Some(21), "{}", run["curve"]);
        assert_eq!(run["curve"][20]["connections"], 300);
        assert_eq!(
            (&run["setup"]["opened"], &run["setup"]["handshake"]["count"]),
            (&300.into(), &300.into())
        );
        assert_eq!((&run["each"]["echoes"], &run["burst"]["echoes"]), (&300.into(), &300.into()));
        assert_eq!(run["open_loop"]["missing"], 0);
        assert_eq!((&run["close"]["closed"], &run["close"]["forced"]), (&300.into(), &0.into()));
        assert_eq!(run["counts"]["connections"]["agree"], true, "{}", run["counts"]);
        assert_eq!(run["counts"]["messages"]["agree"], true, "{}", run["counts"]);
        for point in ["server_start_bytes", "server_connected_bytes", "server_closed_bytes"] {
            assert!(run["memory"][point].as_u64() > Some(100_000), "{point}: {}", run["memory"]);
        }
    }
    let summary = stdout(&output);
    assert!(summary.contains("stage4-zero-buffer: 300 connections in one process"), "{summary}");
    assert!(summary.contains("agree at both ends: connections, messages, echoes"), "{summary}");
    assert!(directory.read("million.svg").starts_with("<svg"));
    assert!(directory.read("index.html").contains("300 WebSockets in one process"));
}

#[test]
fn records_are_merged() {
    if !stages_are_built() {
        return;
    }
    let (second, third) = (Directory::new("second"), Directory::new("third"));
    for (directory, stage) in [(&second, 2), (&third, 3)] {
        let arguments =
            format!("--stage {stage} --connections 200 --hold 0s --duration 1s --rate 500 --quiet");
        let output = run(directory, &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let merged = Directory::new("merged");
    let output = Command::new(CLIENT)
        .args(["million", "--out", merged.path(), "--from"])
        .args([&third, &second].map(|directory| directory.0.join("million.json")))
        .output()
        .expect("the client runs");
    assert!(output.status.success(), "{}", stderr(&output));
    let record = merged.record();
    assert_eq!(record["settings"]["stages"], serde_json::json!([2, 3]));
    for (index, original) in [&second, &third].into_iter().enumerate() {
        let (merged, original) = (&record["runs"][index], &original.record()["runs"][0]);
        for part in ["stage", "held", "counts", "exit"] {
            assert_eq!(merged[part], original[part], "{part}");
        }
        let histogram = |run: &Value| run["setup"]["handshake"]["histogram"].clone();
        assert_eq!(histogram(merged), histogram(original));
    }
    let picture = merged.read("million.svg");
    assert!(picture.contains("stage 2: ") && picture.contains("stage 3: "));
    assert!(stdout(&output).contains("stage3-mio-epoll: 200 connections"), "{}", stdout(&output));
}

#[test]
fn lost_connections_are_counted() {
    if !stages_are_built() {
        return;
    }
    let directory = Directory::new("lost");
    // The server closes idle connections after one second, which is less than `--hold`.
    let arguments =
        "--stage 3 --connections 50 --hold 20s --duration 1s --rate 50 --quiet -- --idle-timeout 1s";
    let output = run(&directory, arguments);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let run = &directory.record()["runs"][0];
    assert_eq!((&run["held"], &run["hold"]["lost"]), (&50.into(), &50.into()));
    assert_eq!(run["server_flags"], serde_json::json!(["--idle-timeout", "1s"]));
    assert_eq!((&run["exit"], &run["each"]), (&"exit 0".into(), &Value::Null));
    let said = stderr(&output);
    assert!(said.contains("stage3-mio-epoll: ") && said.contains("50 connections lost while idle"), "{said}");
}

#[test]
fn the_live_page_has_the_address_asked_for() {
    if !stages_are_built() {
        return;
    }
    let directory = Directory::new("live");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let arguments = format!(
        "--stage 4 --connections 20 --hold 0s --duration 1s --rate 20 --quiet -- --admin-addr {free}"
    );
    let output = run(&directory, &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(directory.record()["runs"][0]["held"], 20);
}

#[test]
fn a_server_that_cannot_start_reports_why() {
    if !stages_are_built() {
        return;
    }
    let directory = Directory::new("refused");
    // A single table of 64 descriptors is too small, and `--shards 1` forbids another.
    let script = "ulimit -n 64; exec \"$@\"";
    let client =
        [CLIENT, "million", "--no-build", "--quiet", "--connections", "300", "--out", directory.path()];
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .args(client)
        .args(["--", "--shards", "1"])
        .output()
        .expect("a shell");
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let run = &directory.record()["runs"][0];
    assert_eq!((&run["held"], &run["setup"]), (&0.into(), &Value::Null));
    let error = run["error"].as_str().expect("an error");
    assert!(error.contains("it died: exit") && error.contains("--shards"), "{error}");
    assert!(stderr(&output).contains(error), "{}", stderr(&output));
    assert!(directory.read("index.html").contains("No connection was held"));
}

/// In a control group with little memory, the predicted number of connections is held, and the limit is named.
#[test]
fn a_control_group_holds_the_predicted_connections() {
    if !stages_are_built() {
        return;
    }
    let Some(group) = Group::new("memory") else { return };
    group.limit(&["memory.max", "memory.limit_in_bytes"], "128M");
    let directory = Directory::new("group");
    let load =
        "million --no-build --quiet --stage 4 --connections 300000 --hold 0s --duration 1s --rate 500 --out";
    let output = Command::new("sh")
        .args(["-ec", "echo $$ >\"$0\"; exec \"$@\""])
        .arg(group.path().join("cgroup.procs"))
        .arg(CLIENT)
        .args(load.split(' '))
        .arg(directory.path())
        .output()
        .expect("a shell");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let run = &directory.record()["runs"][0];
    assert!(run["held"].as_u64() > Some(5_000) && run["held"] == run["goal"], "{said}");
    assert_eq!(run["stopped"], "memory of the control group: 128 MiB");
    assert_eq!((&run["exit"], &run["error"]), (&"exit 0".into(), &Value::Null), "{said}");
}

/// Starts a load and returns once it holds its connections idle, with the rest of its standard error.
fn held(directory: &Directory) -> (Child, BufReader<impl Read>) {
    let mut command = million(directory, "--stage 4 --connections 200 --hold 60s");
    let mut client = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client runs");
    let mut progress = BufReader::new(client.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.starts_with("holding: 200 connections") {
        line.clear();
        assert!(progress.read_line(&mut line).expect("text") > 0, "it ended before it held anything");
    }
    (client, progress)
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it is running");
}

/// Waits for the end: the exit status, and the output since [`held`].
fn end(mut client: Child, mut progress: BufReader<impl Read>) -> (Option<i32>, String) {
    let mut said = String::new();
    progress.read_to_string(&mut said).expect("text");
    (client.wait().expect("ended").code(), said)
}

#[test]
fn an_interrupted_load_reports_its_results() {
    if !stages_are_built() {
        return;
    }
    let directory = Directory::new("interrupted");
    let (client, progress) = held(&directory);
    signal(client.id(), Signal::INT);
    let (status, said) = end(client, progress);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("stage4-zero-buffer: interrupted with 200 connections"), "{said}");
    let run = &directory.record()["runs"][0];
    assert_eq!((&run["interrupted"], &run["held"]), (&true.into(), &200.into()));
    assert_eq!((&run["setup"]["opened"], &run["exit"]), (&200.into(), &"exit 0".into()), "{run}");
    assert_eq!((&run["each"], &run["close"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_server_that_dies_is_reported_and_the_results_are_kept() {
    if !stages_are_built() {
        return;
    }
    let directory = Directory::new("killed");
    let (client, progress) = held(&directory);
    signal(child_of(client.id()), Signal::KILL);
    let (status, said) = end(client, progress);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("stage4-zero-buffer: it died: signal 9"), "{said}");
    let run = &directory.record()["runs"][0];
    assert_eq!((&run["held"], &run["setup"]["opened"]), (&200.into(), &200.into()));
    assert!(run["error"].as_str().is_some_and(|error| error.contains("signal 9")), "{run}");
}

/// The only child of a process. In /proc/PID/stat, the parent's id is the second field after the name (proc(5)).
fn child_of(parent: u32) -> u32 {
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(is_child).expect("the server")
}

#[test]
fn bad_flags_are_one_line_and_exit_2() {
    for arguments in [
        "--stage 5",
        "--stage x",
        "--connections 0",
        "--connections many",
        "--connections 2000000000",
        "--rate 0",
        "--duration 0s",
        "--hold soon",
        "--nonsense",
    ] {
        let output = run(&Directory::new("bad"), arguments);
        let said = stderr(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{arguments}: {said}");
    }
}

#[test]
fn an_unreadable_or_unwritable_file_is_one_line_and_exit_1() {
    let nowhere = Directory(PathBuf::from("/proc/nowhere"));
    for arguments in ["--from /nonexistent/million.json", "--from /etc/hostname", "--connections 10"] {
        let output = run(&nowhere, arguments);
        let said = stderr(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{arguments}: {said}");
    }
}
