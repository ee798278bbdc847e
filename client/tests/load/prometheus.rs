//! The monitoring of `deploy/` with a real Prometheus under load: its configuration, its alerts, and every query of the
//! dashboard. Without an installed Prometheus, prints a note and tests nothing.

use crate::stage::{Stage, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Duration of load before the dashboard's queries are checked.
const LOAD: Duration = Duration::from_secs(20);

/// A process, killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only if the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

fn is_installed() -> bool {
    let is_there =
        |program| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    let both = ["prometheus", "promtool"].into_iter().all(is_there);
    if !both {
        conformance::note(
            "prometheus and promtool are not installed (Debian's package prometheus has both): skipped",
        );
    }
    both
}

#[track_caller]
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(deploy("prometheus")).output();
    let output = output.expect("promtool runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?} says:\n{text}");
}

#[test]
fn configuration_and_alerts_are_valid() {
    if is_installed() {
        promtool(&["check", "config", "prometheus.yml"]);
        promtool(&["check", "config", "fleet.yml"]);
        promtool(&["check", "rules", "alerts.yml"]);
        promtool(&["test", "rules", "alerts_test.yml"]);
    }
}

#[test]
fn alertmanager_notifies_by_severity() {
    let amtool = |arguments: &[&str]| {
        let output = Command::new("amtool").args(arguments).current_dir(deploy("prometheus")).output();
        output
            .ok()
            .map(|output| (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let Some((is_valid, text)) = amtool(&["check-config", "alertmanager.yml"]) else {
        conformance::note(
            "amtool is not installed (Debian's package prometheus-alertmanager has it): skipped",
        );
        return;
    };
    assert!(is_valid, "amtool says:\n{text}");
    for (severity, receiver) in [("critical", "on-call"), ("warning", "tickets")] {
        let label = format!("severity={severity}");
        let route = amtool(&["config", "routes", "test", "--config.file", "alertmanager.yml", &label]);
        assert_eq!(route, Some((true, format!("{receiver}\n"))), "the receiver of a {severity} alert");
    }
    let alerts = fs::read_to_string(deploy("prometheus/alerts.yml")).expect("alerts");
    let severities: BTreeSet<_> =
        alerts.lines().filter(|line| line.contains("severity:")).map(str::trim).collect();
    assert_eq!(severities.len(), 2, "severities without a receiver? {severities:?}");
}

/// Starts a client with `--metrics-addr`; returns its address.
fn load(stage: &Stage, arguments: &str) -> (Killed, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["run", "--url", &stage.url, "--metrics-addr", "127.0.0.1:0", "--duration", "1h"]);
    command.args(arguments.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the client runs");
    let mut lines = drained(child.stderr.take().expect("piped"), "metrics on http://");
    let line = lines.pop().expect("a line with the address");
    let addr = line.split("http://").nth(1).and_then(|url| url.split('/').next()?.parse().ok());
    (Killed(child), addr.unwrap_or_else(|| panic!("no address in {line:?}")))
}

/// The lines up to the first with `mark`. A thread reads the rest, so that the writer does not block.
fn drained(stderr: ChildStderr, mark: &str) -> Vec<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut seen = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        seen.push(line);
        if seen[seen.len() - 1].contains(mark) {
            thread::spawn(move || lines.for_each(drop));
            return seen;
        }
    }
    panic!("it ended before it said {mark:?}:\n{}", seen.join("\n"));
}

/// The directory of the Prometheus of these tests.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("prometheus")
}

fn targets(clients: &[SocketAddr]) -> String {
    format!("targets: {clients:?}")
}

struct Prometheus {
    _process: Killed,
    addr: SocketAddr,
}

impl Prometheus {
    /// Starts Prometheus with the repository's configuration, except for the targets and shorter intervals.
    fn start(server: SocketAddr, clients: &[SocketAddr]) -> Prometheus {
        let folder = folder();
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        let copy = |file: &str, changes: &[(&str, &str)]| {
            let mut text =
                fs::read_to_string(deploy("prometheus").join(file)).expect("a file of the repository");
            for (from, to) in changes {
                assert!(text.contains(from), "{file} has no {from:?}");
                text = text.replace(from, to);
            }
            fs::write(folder.join(file), text).expect("written");
        };
        copy("prometheus.yml", &[("server:8001", &server.to_string()), (": 5s", ": 1s")]);
        copy("clients.yml", &[("targets: []", &targets(clients))]);
        copy("alerts.yml", &[("for: 30s", "for: 2s"), ("for: 1m", "for: 2s"), ("[1m]", "[10s]")]);
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg("--web.listen-address=127.0.0.1:0").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("prometheus runs");
        let lines = drained(child.stderr.take().expect("piped"), "\"Listening on\"");
        let process = Killed(child);
        let line = &lines[lines.len() - 1];
        let addr =
            line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let prometheus =
            Prometheus { _process: process, addr: addr.unwrap_or_else(|| panic!("no address in {line:?}")) };
        until("prometheus is ready", Duration::from_secs(20), || {
            let answer = prometheus.get("/-/ready");
            if answer.starts_with("HTTP/1.0 200") { Ok(()) } else { Err(answer) }
        });
        prometheus
    }

    /// Sets the clients to scrape: Prometheus reloads the file when it changes.
    fn watch(clients: &[SocketAddr]) {
        fs::write(folder().join("clients.yml"), format!("- {}\n", targets(clients))).expect("written");
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).expect("prometheus listens");
        // HTTP/1.0, so that the response is not chunked.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.addr).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// The data of an API endpoint.
    #[track_caller]
    fn api(&self, path: &str) -> Value {
        let answer = self.get(&format!("/api/v1/{path}"));
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let json: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {answer}"));
        assert_eq!(json["status"], "success", "{path}: {json}");
        json["data"].clone()
    }

    /// The current values of a query, one per series.
    #[track_caller]
    fn query(&self, query: &str) -> Vec<f64> {
        let data = self.api(&format!("query?query={}", encoded(query)));
        let series =
            data["result"].as_array().unwrap_or_else(|| panic!("no result of {query}: {data}")).clone();
        let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
        series.iter().map(|one| value(one).unwrap_or_else(|| panic!("no value in {one}"))).collect()
    }

    fn firing(&self) -> BTreeSet<String> {
        let data = self.api("alerts");
        let alerts = data["alerts"].as_array().expect("a list of alerts").iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        let names = firing.filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned()));
        // Depends on other load of the machine.
        names.filter(|name| name != "MemoryShort").collect()
    }

    #[track_caller]
    fn fires(&self, alerts: &[&str]) {
        let expected: BTreeSet<String> = alerts.iter().map(ToString::to_string).collect();
        until(&format!("firing: {alerts:?}"), Duration::from_secs(30), || match self.firing() {
            firing if firing == expected => Ok(()),
            firing => Err(format!("firing: {firing:?}")),
        });
    }
}

/// Percent-encodes a query (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn dashboard() -> Value {
    let text = fs::read_to_string(deploy("grafana/dashboards/connections.json")).expect("a dashboard");
    serde_json::from_str(&text).expect("JSON")
}

/// The dashboard's panels that have queries.
fn panels() -> Vec<Value> {
    let panels = dashboard()["panels"].as_array().expect("panels").clone();
    panels.into_iter().filter(|panel| panel["type"] != "row").collect()
}

fn queries(panel: &Value) -> impl Iterator<Item = &str> {
    let targets = panel["targets"].as_array().expect("queries");
    targets.iter().map(|target| target["expr"].as_str().expect("a query"))
}

#[test]
fn the_dashboard_is_complete() {
    let variables = dashboard()["templating"]["list"].as_array().expect("variables").clone();
    assert_eq!(variables[0]["name"], "datasource", "the others are asked of it");
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        let title = panel["title"].as_str().expect("a title");
        assert!(!panel["description"].as_str().unwrap_or_default().is_empty(), "{title} has no description");
        assert!(ids.insert(panel["id"].as_u64()), "the id of {title} is taken");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().expect(title);
        assert!(!["bytes", "short"].contains(&unit), "{title} has binary prefixes, or rounds counts");
        assert!(queries(&panel).count() > 0, "{title} asks nothing");
        let targets = panel["targets"].as_array().expect("queries");
        for of in targets.iter().chain([&panel]) {
            assert_eq!(of["datasource"]["uid"], "${datasource}", "{title} asks one data source only");
        }
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a place"));
        assert!(x + w <= 24, "{title} is beyond the right margin");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{title} lies on another panel");
        }
    }
}

#[test]
fn every_panel_has_data_and_alerts_fire() {
    if !is_installed() {
        return;
    }
    let Some(mut server) = Stage::start("stage4-zero-buffer", &["--max-connections", "1200"]) else { return };
    let (_echoing, echoing) = load(&server, "--connections 1000 --rate 2000 --warmup 0s");
    let (_churning, churning) = load(&server, "--connections 100 --scenario churn --rate 50");
    let prometheus = Prometheus::start(server.admin, &[echoing, churning]);
    let loaded = Instant::now();
    until("three targets are scraped", Duration::from_secs(20), || match &prometheus.query("up")[..] {
        [1.0, 1.0, 1.0] => Ok(()),
        up => Err(format!("up: {up:?}")),
    });
    until("1,100 connections", Duration::from_secs(20), || {
        let [active, asked] =
            ["ws_connections_active", "sum(ws_client_connections_asked)"].map(|q| prometheus.query(q));
        // Churn is replacing some connections.
        if active[0] >= 1_050.0 && asked == [1_100.0] {
            Ok(())
        } else {
            Err(format!("{active:?} of {asked:?}"))
        }
    });
    assert_eq!(prometheus.firing(), BTreeSet::new(), "nothing is wrong yet");

    // 100 connections are admitted; the others, and all further attempts, are rejected.
    let filling = load(&server, "--connections 400 --scenario idle");
    let knocking = load(&server, "--connections 1200 --connect-rate 20 --scenario idle");
    Prometheus::watch(&[echoing, churning, knocking.1]);
    prometheus.fires(&["ServerFull", "ServerRejecting"]);
    thread::sleep(LOAD.saturating_sub(loaded.elapsed()));
    every_panel_has_data(&prometheus);

    // Alerts resolve once their cause is over.
    drop((filling, knocking));
    prometheus.fires(&[]);
    server.kill();
    prometheus.fires(&["ServerDown"]);
}

#[track_caller]
fn every_panel_has_data(prometheus: &Prometheus) {
    let mut asked = 0;
    for panel in panels() {
        let title = panel["title"].as_str().expect("a title");
        let mut highest = f64::MIN;
        for query in queries(&panel) {
            let variables = [("$__rate_interval", "10s"), ("$instance", ".*"), ("$job", "ws-server")];
            let query = variables.iter().fold(query.to_owned(), |text, (from, to)| text.replace(from, to));
            assert!(!query.contains('$'), "a variable that is not known to this test: {query}");
            let values = prometheus.query(&query);
            assert!(!values.is_empty(), "{title} has no data: {query}");
            assert!(values.iter().all(|value| value.is_finite()), "{title} has {values:?}: {query}");
            highest = values.into_iter().fold(highest, f64::max);
            asked += 1;
        }
        assert!(highest > 0.0, "{title} shows nothing but {highest}");
    }
    assert!(asked >= 30, "only {asked} queries");
}
