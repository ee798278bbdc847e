//! Conflicting flags, and the text of results: no figures that were not measured, no characters that the terminal cannot
//! show.

use crate::local::{LOAD, a_result, client, echo_server, output, scratch, text, url};
use client::run::RunReport;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[test]
fn conflicting_flags_are_rejected() {
    let url = url();
    let one = a_result(&url);
    let link = scratch("link.json");
    std::os::unix::fs::symlink(&one, &link).expect("a link");
    let (one, link, new) = (one.display(), link.display(), scratch("new"));
    let (new, at) = (new.display(), Path::new(env!("CARGO_TARGET_TMPDIR")).display());
    for (arguments, named) in [
        (format!("run --active 5 --connections 2 --url {url}"), "--active 5 is more than --connections 2"),
        (format!("race --active 5 --connections 2 {url} {url}"), "--active 5 is more than --connections 2"),
        (format!("race --in-flight 2 --rate 5 {url} {url}"), "--in-flight 2 is for the closed loop"),
        ("run --in-flight 2 --rate 5".into(), "--in-flight 2 is for the closed loop"),
        ("run --in-flight 2 --scenario burst".into(), "--in-flight 2 is for the closed loop"),
        ("run --in-flight 5 --payload 16MiB".into(), "80 MiB on each connection"),
        (format!("run --json {new} --hdr {new}"), "--json and --hdr are both to be written to"),
        (format!("run --json {at}/../tmp/x --hdr {at}/./x"), "--json and --hdr"),
        (format!("run --json {one} --hdr {link}"), "--json and --hdr"),
        ("run --json - --hdr -".into(), "--json and --hdr"),
        ("run --json - --hdr /dev/stdout".into(), "--json and --hdr"),
        (format!("merge {one} --json {new} --hdr {new}"), "--json and --hdr"),
        (format!("merge {one} {one}"), "are the same result"),
        (format!("merge {one} {link}"), "are the same result"),
        ("run --url ws://::1:9101/".into(), "brackets"),
        ("run --url ws://[::1]:9101/ --source-ip 127.0.0.1".into(), "--source-ip 127.0.0.1"),
        ("run --url ws://127.0.0.1:9101/ --source-ip ::1".into(), "--source-ip ::1"),
        ("compare --target-path ws".into(), "--target-path"),
        ("race 1 2 --target-path ws".into(), "--target-path"),
        ("race 1 2 --target-path /a#b".into(), "--target-path"),
        ("compare --stages none".into(), "nothing to compare"),
        ("compare --workload 1KiB --levels 100".into(), "--levels and --open-rate are for --workload small"),
        ("compare --workload huge".into(), "'huge'"),
        ("compare --stages none --target a=x --target a=y".into(), "the same name, a"),
        ("compare --stages 4 --target stage4-zero-buffer=x".into(), "the same name, stage4-zero-buffer"),
        ("race a=x a=y".into(), "the same name, a"),
        ("doctor --connections 1_000_000_001".into(), "more than"),
    ] {
        let refused = output(&arguments);
        let said = text(&refused.stderr);
        assert_eq!((refused.status.code(), said.lines().count()), (Some(2), 1), "{arguments}: {said}");
        assert!(said.starts_with("client: ") && said.contains(named), "{arguments}: {said}");
    }
    for good in ["doctor --connections 1_0 --stage 4", "doctor --connections 1,0"] {
        assert_eq!(output(good).status.code(), Some(0), "{good}");
    }
}

#[test]
fn ipv6_source_addresses_work() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        conformance::note("skipped: this machine has no IPv6");
        return;
    };
    drop(listener);
    let url = format!("ws://{}/echo", echo_server("[::1]:0"));
    let ran = output(&format!("run --url {url} {LOAD} --quiet --source-ip ::1 --json -"));
    let report: RunReport =
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", text(&ran.stderr)));
    assert_eq!((report.exit_status, report.connect.expect("connected").connected), (0, 4));
    let short = output(&format!("run --url {url} --connections 200_000"));
    assert!(text(&short.stderr).contains("addresses with --source-ip"), "{}", text(&short.stderr));
}

#[test]
fn a_process_that_is_not_the_server_causes_a_warning() {
    let url = url();
    let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat runs");
    for (pid, doubted) in [(other.id(), true), (std::process::id(), false)] {
        let ran = output(&format!("run --url {url} {LOAD} --quiet --pid {pid} --json -"));
        let report: RunReport = serde_json::from_slice(&ran.stdout).expect("JSON");
        let doubt = report.server.expect("it was watched").doubt;
        assert_eq!((ran.status.code(), doubt.is_some()), (Some(0), doubted), "{doubt:?}");
        let said = text(&ran.stderr);
        assert_eq!(
            said.contains("client: process") && said.contains("does not listen on port"),
            doubted,
            "{said}"
        );
        let summary = text(&output(&format!("run --url {url} {LOAD} --quiet --pid {pid}")).stdout);
        assert_eq!(summary.contains("its figures are not the server's"), doubted, "{summary}");
    }
    other.kill().expect("it runs");
    other.wait().expect("it has ended");
}

#[test]
fn without_samples_there_are_no_percentiles() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        let opened = listener.incoming().flatten().filter_map(|stream| tungstenite::accept(stream).ok());
        opened.collect::<Vec<_>>()
    });
    let file = scratch("silent.json");
    let silent = format!("run --url ws://{address}/ --connections 2 --warmup 0s --duration 50ms --quiet");
    let ran = output(&format!("{silent} --message-timeout 100ms --json {}", file.display()));
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran.stderr));
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    let latency = &json["echo"]["latency"];
    assert_eq!(latency["count"], 0, "{json}");
    for field in ["mean_us", "p50_us", "p90_us", "p99_us", "p99_9_us", "p99_99_us", "max_us"] {
        assert!(latency[field].is_null(), "{field}: {latency}");
    }
    let merged = output(&format!("merge {}", file.display()));
    for summary in [text(&ran.stdout), text(&merged.stdout)] {
        let row = summary.lines().find(|line| line.trim_start().starts_with("latency")).expect("a row");
        assert!(row.ends_with(" none"), "{summary}");
    }
}

/// In every subcommand and on both streams.
#[test]
fn output_is_ascii_where_unicode_cannot_be_shown() {
    let (url, pid) = (url(), std::process::id());
    let one = a_result(&url);
    let json = scratch("c.json");
    let commands = [
        format!("run --url {url} {LOAD} --json {}", json.display()),
        format!("run --url {url} {LOAD} --json -"),
        format!("race {url} {url} --connections 4 --hold 0s --duration 100ms"),
        format!("anatomy --pid {pid} --url {url} --connections 4"),
        format!("merge {}", one.display()),
        format!("report größe={} --out {}", one.display(), scratch("page").display()),
        "find --p99 50ms --url ws://größe/".into(),
        "doctor --connections 10".into(),
        "compare --help".into(),
        "million --help".into(),
        "run --url ws://größe/".into(),
        "merge /nowhere/größe.json".into(),
    ];
    for environment in [
        [("LC_ALL", "C"), ("LANG", "C.UTF-8"), ("TERM", "xterm")],
        [("LC_ALL", ""), ("LANG", "POSIX"), ("TERM", "xterm")],
        [("LC_ALL", ""), ("LANG", "de_DE.ISO-8859-1"), ("TERM", "xterm")],
        [("LC_ALL", "C.UTF-8"), ("LANG", ""), ("TERM", "dumb")],
    ] {
        for arguments in &commands {
            let mut command = client(arguments);
            command.env_remove("LC_CTYPE").envs(environment);
            let Output { stdout, stderr, .. } = command.output().expect("the client runs");
            let said = text(&stdout) + &text(&stderr);
            assert!(said.is_ascii() && !said.is_empty(), "{environment:?}: client {arguments}: {said}");
        }
    }
    let mut command = client("merge /nowhere/größe.json");
    let shown = command.env_remove("LC_CTYPE").envs([("LC_ALL", "C.UTF-8"), ("TERM", "xterm")]).output();
    assert!(text(&shown.expect("the client runs").stderr).contains("größe"), "elsewhere it is not");
    let report = fs::read_to_string(json).expect("a file");
    assert!(report.contains("\"schema\": 1"));
}
