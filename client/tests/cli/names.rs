//! Host names instead of addresses, from outside.

use crate::local::{LOAD, client, echo_server, output, text};
use client::run::RunReport;
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::thread;

#[track_caller]
fn report(ran: &Output) -> RunReport {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", text(&ran.stderr)))
}

/// A listener on ::1, and the same port of 127.0.0.1, on which an echo server listens; `None` without IPv6.
fn both_families() -> Option<(TcpListener, SocketAddr)> {
    for _ in 0..20 {
        let Ok(six) = TcpListener::bind("[::1]:0") else {
            conformance::note("skipped: this machine has no IPv6");
            return None;
        };
        let port = six.local_addr().expect("address").port();
        // The port may be in use there.
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Some((six, echo_server(&format!("127.0.0.1:{port}"))));
        }
    }
    panic!("no port is free in both families")
}

#[test]
fn localhost_is_both_families() {
    let Some((six, four)) = both_families() else { return };
    let (port, six_addr) = (four.port(), six.local_addr().expect("address"));
    drop(six);
    echo_server(&six_addr.to_string());
    let ran = output(&format!("run --url ws://localhost:{port}/echo {LOAD} --quiet --json -"));
    let report = report(&ran);
    assert_eq!((report.exit_status, report.connections), (0, 4), "{}", text(&ran.stderr));
    let addresses: Vec<_> =
        report.addresses.iter().map(|found| (found.address.clone(), found.opened, found.failed)).collect();
    assert_eq!(addresses, [(four.to_string(), 2, 0), (six_addr.to_string(), 2, 0)]);
    let summary = text(&ran.stderr);
    assert!(summary.contains(&format!("addresses    {four}: 2 opened, 0 failed")), "{summary}");
    let source = output(&format!("run --url ws://localhost:{port}/ {LOAD} --quiet --source-ip ::1 --json -"));
    assert_eq!(source.status.code(), Some(0), "{}", text(&source.stderr));
}

/// One that accepts the connection that tries the address, and no other.
#[test]
fn failures_are_counted_per_address() {
    let Some((six, four)) = both_families() else { return };
    let six_addr = six.local_addr().expect("address");
    thread::spawn(move || six.accept().map(drop));
    let ran = output(&format!("run --url ws://localhost:{}/echo {LOAD} --quiet --json -", four.port()));
    let (report, said) = (report(&ran), text(&ran.stderr));
    assert_eq!((ran.status.code(), report.failures.total()), (Some(1), 2), "{said}");
    let addresses: Vec<_> = report.addresses.iter().map(|address| (address.opened, address.failed)).collect();
    assert_eq!(addresses, [(2, 0), (0, 2)], "{said}");
    assert!(said.contains(&format!("by address: 2 on {six_addr}")), "{said}");
}

#[test]
fn a_server_on_one_family_only_is_enough_for_localhost() {
    let address = echo_server("127.0.0.1:0");
    let url = format!("ws://LocalHost:{}/echo", address.port());
    let ran = output(&format!("run --url {url} {LOAD} --quiet --source-ip 127.0.0.5 --json -"));
    let report = report(&ran);
    assert_eq!((report.exit_status, report.url), (0, url.clone()), "{}", text(&ran.stderr));
    assert!(!text(&ran.stdout).contains("\"addresses\""), "there is only one");
    let ran = output(&format!("run --url {url} {LOAD} --quiet --source-ip ::1"));
    let said = text(&ran.stderr);
    assert_eq!((ran.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(
        said.contains("the source address ::1 is IPv6") && said.contains("IPv4 addresses only"),
        "{said}"
    );
    let load = "--connections 4 --hold 0s --duration 100ms --quiet";
    let ran = output(&format!("race {url} {url} {load}"));
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let ran = output(&format!("anatomy --pid {} --url {url} --connections 4", std::process::id()));
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
}

#[test]
fn a_name_without_an_address_is_explained_in_one_line() {
    let address = echo_server("127.0.0.1:0");
    for arguments in [
        "run --url ws://name.invalid:8000/echo --quiet".into(),
        format!("run --url ws://{address}/ --metrics-url http://name.invalid/metrics --quiet"),
        "race --no-build ws://name.invalid/ ws://127.0.0.1:1/".into(),
        format!("anatomy --url ws://name.invalid/ --pid {}", std::process::id()),
    ] {
        let ran = client(&arguments).env("LC_ALL", "C").output().expect("the client runs");
        let said = text(&ran.stderr);
        assert_eq!((ran.status.code(), said.lines().count()), (Some(1), 1), "{arguments}: {said}");
        assert!(
            said.contains("cannot resolve 'name.invalid' (") && said.contains("give an IP address"),
            "{said}"
        );
    }
}
