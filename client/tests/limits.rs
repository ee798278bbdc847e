//! A fleet that reaches the limits on descriptors and ports. Both are per process or per network namespace, so these
//! tests have their own process.

use client::fleet::{ConnectPhase, Fleet, FleetConfig, Url};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// A listener that never accepts, and a fleet to connect to it.
fn fleet(connections: u64, source_ips: Vec<SocketAddr>) -> (TcpListener, Fleet) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url: Url = format!("ws://{}/", listener.local_addr().expect("address")).parse().expect("url");
    let config = FleetConfig {
        shards: Some(1),
        source_ips,
        connect_timeout: Duration::from_millis(100),
        ..FleetConfig::new(url.resolve().expect("an address"), connections)
    };
    (listener, Fleet::start(config).expect("start"))
}

fn connect(mut fleet: Fleet, connections: u64) -> ConnectPhase {
    fleet.connect_to(connections, None, &mut |_| {}).expect("connect")
}

#[test]
fn limits_are_detected_and_named() {
    descriptors();
    thread::spawn(ports).join().expect("ports");
}

fn descriptors() {
    let (_listener, fleet) = fleet(60, Vec::new());
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(32), ..limit }).expect("setrlimit");
    let phase = connect(fleet, 60);
    setrlimit(Resource::Nofile, limit).expect("setrlimit");
    // Attempts that got a descriptor time out: the listener never answers.
    assert!(phase.failures.descriptors > 0, "{phase:?}");
    assert_eq!(phase.failures.descriptors + phase.failures.timeout, 60, "{phase:?}");
}

/// Reports what was not tested. Writes to stderr directly: the harness hides the output of tests that pass.
fn skip(why: &str) {
    let _ = std::io::stderr().write_all(format!("skipped: {why} (limits)\n").as_bytes());
}

/// Moves this thread to a network namespace with ten ports, which only root can create.
fn ports() {
    // SAFETY: only this thread is moved, and no object of it depends on the network namespace it was in.
    if unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.is_err() {
        return skip("a new network namespace requires root");
    }
    let up =
        Command::new("ip").args(["link", "set", "lo", "up"]).status().is_ok_and(|status| status.success());
    if !up || fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").is_err() {
        return skip("a namespace without ip(8), or without its own range of ports");
    }
    let (_listener, fleet) = fleet(30, vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)]);
    let phase = connect(fleet, 30);
    assert!(phase.failures.ports_exhausted >= 20, "{phase:?}");
    assert_eq!(phase.failures.ports_exhausted + phase.failures.timeout, 30, "{phase:?}");
}
